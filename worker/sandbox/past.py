"""Earlier versions of members, as far back as reads may lag.

Pure: the caller hands in the time.
"""

from collections.abc import Iterator
from math import inf

from worker.sandbox.stored_member import StoredMember


class Past:
    """Versions of the members that changed lately, by lowercase address."""

    def __init__(self) -> None:
        """Remember nothing until `reaches`, in seconds, is set."""
        self.reaches = 0.0
        self._versions: dict[str, list[tuple[float, StoredMember | None]]] = {}

    def note(
        self, key: str, before: StoredMember | None, after: StoredMember | None, at: float
    ) -> None:
        """Remember a change of one member at `at`, in epoch seconds; None stands for no member.

        `key` is the member's lowercase address.
        """
        if not self.reaches:
            return
        versions = self._versions.setdefault(key, [(-inf, before)])
        versions.append((at, after))
        while versions[1][0] <= at - self.reaches:
            del versions[0]

    def changed(self) -> Iterator[str]:
        """Return the addresses of the members that changed lately."""
        return iter(self._versions)

    def knows(self, key: str) -> bool:
        """Return True if the member changed lately."""
        return key in self._versions

    def member(self, key: str, moment: float) -> StoredMember | None:
        """Return the member as it was at `moment`, in epoch seconds, or None if there was none.

        `key` is the lowercase address of a member that changed lately.
        """
        versions = self._versions[key]
        return next((member for at, member in reversed(versions) if at <= moment), versions[0][1])
