"""What a list held a while ago, as far back as what reads show may be old. Pure: the time is handed in."""

from collections.abc import Iterator
from math import inf

from worker.sandbox.stored_member import StoredMember


class Past:
    """The versions of members that changed lately, by address in lowercase."""

    def __init__(self) -> None:
        """Nothing is remembered until `reaches` is set."""
        self.reaches = 0.0  # seconds
        self._versions: dict[str, list[tuple[float, StoredMember | None]]] = {}

    def note(
        self, key: str, before: StoredMember | None, after: StoredMember | None, at: float
    ) -> None:
        """The member was `before`, and is `after` since the epoch `at`; None: there is none."""
        if not self.reaches:
            return
        versions = self._versions.setdefault(key, [(-inf, before)])
        versions.append((at, after))
        while versions[1][0] <= at - self.reaches:
            del versions[0]

    def changed(self) -> Iterator[str]:
        """The addresses of those that changed lately."""
        return iter(self._versions)

    def knows(self, key: str) -> bool:
        """Did the member change lately?"""
        return key in self._versions

    def member(self, key: str, moment: float) -> StoredMember | None:
        """A member that changed lately, as it was at the epoch `moment`."""
        versions = self._versions[key]
        return next((member for at, member in reversed(versions) if at <= moment), versions[0][1])
