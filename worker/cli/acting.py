"""What commands have in common that act on many messages: count, ask, act with progress."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated

import redis
import typer
from rich.progress import Progress

from worker.cli.console import CommandError, Stopped, err, out
from worker.cli.errors import redis_trouble
from worker.monitoring.hold_advice import advice_on
from worker.ops.paced import Batch, act_on
from worker.settings import Settings
from worker.wiring import gate_for

Rate = Annotated[
    float | None, typer.Option(min=0.01, max=1e6, help="Act on at most this many a second.")
]


def confirm(counts: Counter[str], what: str, *, yes: bool) -> int:
    """Print how many are meant, ask for confirmation, and return the number.

    Args:
        counts: How many are meant, by reason.
        what: What would be done, such as `dead letters would be deleted permanently`.
        yes: The operator has confirmed already.

    Raises:
        typer.Exit: The operator does not confirm (status 1).
    """
    print_counts(counts, what)
    if not yes and not typer.confirm("go on?"):
        raise typer.Exit(1)
    return counts.total()


def print_counts(counts: Counter[str], what: str) -> None:
    """Print how many are meant, by reason, and what would be done."""
    out.print("  ".join(f"{reason} {count}" for reason, count in counts.most_common()))
    out.print(f"{counts.total()} {what}")


def print_hold(settings: Settings, store: redis.Redis) -> None:
    """Print on standard error that the integration is on hold, if it is: cause, fix and effect."""
    hold = gate_for(settings, store).state()
    if advice := advice_on(hold):
        cause, fix = advice
        err.print(
            f"{settings.queue} is on hold ({hold.kind}): {cause}. {fix} "
            "What is put there waits until the hold ends."
        )


def each(
    batches: Iterable[Batch], count: int, rate: float | None, act: Callable[[Batch], int]
) -> int:
    """Call `act` on each batch.

    Args:
        batches: What to act on, each of at most `paced.batch_size(rate)`.
        count: How many they have together at most.
        rate: How many a second at most; None sets no limit.
        act: Returns how many of its batch it acted on.

    Returns:
        How many were acted on.

    Raises:
        Stopped: The operator pressed Ctrl-C. The batch that was under way is done and counted.
        CommandError: Redis failed. Of the batch that was under way nothing is known.
    """
    done = 0

    def act_whole(batch: Batch) -> int:
        nonlocal done
        with interrupts_deferred():
            acted = act(batch)
            done += acted
        return acted

    try:
        with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
            bar = progress.add_task("working", total=count)
            act_on(
                batches,
                rate,
                act_whole,
                lambda _, offered: progress.advance(bar, offered),
                time.sleep,
            )
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {done} of {count} done, the rest stays as it is") from None
    except redis.RedisError as error:
        trouble = redis_trouble(error)
        raise CommandError(f"at least {done} of {count} done; {trouble}") from None
    return done


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C take effect only at the end of the block."""
    pressed: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if pressed:
        signal.raise_signal(signal.SIGINT)
