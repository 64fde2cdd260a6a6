"""A member as the sandbox stores it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredMember:
    """One member of one list.

    `updated_at` is the epoch second of its last change, which Mailgun does not show.
    """

    address: str
    name: str
    subscribed: bool
    vars: dict[str, Any]
    updated_at: float

    def as_mailgun(self) -> dict[str, Any]:
        """Return the member as Mailgun shows it.

        An absent name is `""`, absent vars are `{}`.
        """
        return {
            "address": self.address,
            "name": self.name,
            "subscribed": self.subscribed,
            "vars": self.vars,
        }
