"""Act on many messages, a batch at a time, limited in rate: what replay, purge and bury share."""

from collections.abc import Callable, Iterable, Sized
from typing import TypeVar

BATCH = 200
BATCHES_A_SECOND = 5  # with a limited rate
Batch = TypeVar("Batch", bound=Sized)


def batch_size(rate: float | None) -> int:
    """Return how many messages a batch has if `rate` of them may go in a second."""
    return BATCH if rate is None else max(1, min(BATCH, int(rate / BATCHES_A_SECOND)))


def act_on(
    batches: Iterable[Batch],
    rate: float | None,
    act: Callable[[Batch], int],
    on_batch: Callable[[int, int], None],
    wait: Callable[[float], object],
) -> None:
    """Call `act` on each batch.

    Args:
        batches: The messages, in batches of at most `batch_size(rate)`.
        rate: How many a second at most; None sets no limit.
        act: Returns how many of its batch it acted on. Another command may have removed others.
        on_batch: Called after each batch, with how many were acted on and how many it had.
        wait: Waits for so many seconds. What it raises ends the work after a whole batch.
    """
    for batch in batches:
        on_batch(act(batch), len(batch))
        wait(len(batch) / rate if rate else 0.0)
