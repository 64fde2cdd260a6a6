"""Counts in a hash in Redis, which other programs may have changed."""

import re
from collections.abc import Mapping
from typing import Any

COUNT = re.compile(r"-?[0-9]{1,19}", re.ASCII)


def counts_in(stored: Mapping[Any, Any]) -> dict[str, int]:
    """Return the counts in `stored`; values that are no counts are left out."""
    return {str(name): int(count) for name, count in stored.items() if COUNT.fullmatch(str(count))}
