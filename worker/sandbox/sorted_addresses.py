"""Addresses in ascending order, sorted when they are read and not at every change."""


class SortedAddresses:
    """A set of addresses that can be read in order.

    A read is cheap if little has changed since the last one.
    """

    def __init__(self) -> None:
        self._sorted: list[str] = []
        self._added: set[str] = set()
        self._gone: set[str] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._added) - len(self._gone)

    def add(self, address: str) -> None:
        """Add an address that the set does not have."""
        self._added.add(address)

    def remove(self, address: str) -> None:
        """Remove an address that the set has."""
        if address in self._added:
            self._added.remove(address)
        else:
            self._gone.add(address)

    def all(self) -> list[str]:
        """Return all addresses, ascending. The caller must not change the list."""
        if self._gone:
            self._sorted = [address for address in self._sorted if address not in self._gone]
            self._gone.clear()
        if self._added:
            self._sorted += sorted(self._added)
            self._sorted.sort()  # two runs, each sorted: one pass
            self._added.clear()
        return self._sorted
