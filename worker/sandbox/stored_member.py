"""A member as the sandbox holds it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredMember:
    """One member of one list. `updated_at` is the epoch of the last change; Mailgun itself does not show it."""

    address: str
    name: str
    subscribed: bool
    vars: dict[str, Any]
    updated_at: float

    def as_mailgun(self) -> dict[str, Any]:
        """The member as Mailgun shows it: an absent name is `""`, absent vars are `{}`."""
        return {
            "address": self.address,
            "name": self.name,
            "subscribed": self.subscribed,
            "vars": self.vars,
        }
