"""Greenlets for tests: what one returns or raises, and a system that has no thread left."""

from collections.abc import Callable
from typing import Any, NoReturn

from worker.greenlet_pool import Pool


def in_greenlet(act: Callable[[], Any]) -> Any:
    """Return what `act` returns in a greenlet of its own, or raise what it raises."""
    (found,) = Pool(1).map(lambda _: act(), [None])
    return found


def no_thread(*_: object) -> NoReturn:
    """Stand for `_thread.start_new_thread` of a system that has no thread left."""
    raise RuntimeError("can't start new thread")
