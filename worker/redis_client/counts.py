"""Counts in a hash of Redis, which other programs may have written to."""

import re
from collections.abc import Mapping
from typing import Any

COUNT = re.compile(r"-?[0-9]{1,19}", re.ASCII)


def counts_in(stored: Mapping[Any, Any]) -> dict[str, int]:
    """Return the counts of a hash in Redis, without what another program wrote there that is none."""
    return {str(name): int(count) for name, count in stored.items() if COUNT.fullmatch(str(count))}
