"""Addresses in ascending order, sorted when somebody looks and not at every change."""


class SortedAddresses:
    """A set of addresses that can be read in order. A look costs next to nothing where little changed since the last."""

    def __init__(self) -> None:
        self._sorted: list[str] = []
        self._added: set[str] = set()
        self._gone: set[str] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._added) - len(self._gone)

    def add(self, address: str) -> None:
        """The address, which was not there, is there."""
        self._added.add(address)

    def remove(self, address: str) -> None:
        """The address, which was there, is gone."""
        if address in self._added:
            self._added.remove(address)
        else:
            self._gone.add(address)

    def all(self) -> list[str]:
        """All of them, ascending. Not to be changed by the caller."""
        if self._gone:
            self._sorted = [address for address in self._sorted if address not in self._gone]
            self._gone.clear()
        if self._added:
            self._sorted += sorted(self._added)
            self._sorted.sort()  # two runs, each sorted: one pass
            self._added.clear()
        return self._sorted
