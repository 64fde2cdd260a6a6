"""Commands that act on many messages say what they did, also if they end early."""

import signal
from collections.abc import Sequence

import pytest
import redis

from worker.cli.acting import each
from worker.cli.console import CommandError, Stopped

BATCHES = [["a", "b"], ["c"], ["d", "e"]]


def test_ctrl_c_within_a_batch_ends_after_it_and_counts_it() -> None:
    acted: list[str] = []

    def act(batch: Sequence[str]) -> int:
        if batch == ["c"]:
            signal.raise_signal(signal.SIGINT)
        acted.extend(batch)
        return len(batch)

    with pytest.raises(Stopped, match="stopped; 3 of 5 done"):
        each(BATCHES, 5, None, act)
    assert acted == ["a", "b", "c"]


def test_ctrl_c_that_the_shell_ignores_stays_ignored() -> None:
    def act(batch: Sequence[str]) -> int:
        signal.raise_signal(signal.SIGINT)
        return len(batch)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert each(BATCHES, 5, None, act) == 5
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_failure_of_redis_says_how_much_is_done_at_least() -> None:
    def act(batch: Sequence[str]) -> int:
        if batch == ["c"]:
            raise redis.ConnectionError("Connection reset by peer")
        return len(batch)

    with pytest.raises(CommandError, match=r"^at least 2 of 5 done; Redis at ") as failed:
        each(BATCHES, 5, None, act)
    assert "\n" not in str(failed.value)
