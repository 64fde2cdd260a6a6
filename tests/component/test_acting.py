"""Commands that act on many messages say what they did, also if they end early."""

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis
import typer

from tests.integration.letter_samples import Sample, bury
from tests.integrations import OwnIntegration
from tests.servers import RedisServer
from worker.cli import commands
from worker.cli.acting import each
from worker.cli.console import CommandError, Stopped
from worker.queue.dead_letters import DeadLetterQueue

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


@pytest.mark.parametrize("act", ["purge", "replay"])
def test_letters_that_die_after_the_count_stay(
    own: OwnIntegration,
    server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    act: str,
) -> None:
    letters = DeadLetterQueue(own.redis, own.name, own.queue)
    bury(letters, Sample("m-1"), Sample("m-2"))

    def confirm(_: str) -> bool:
        letters.purge(letters.oldest(1))
        bury(letters, Sample("m-3", age=0.0))
        return True

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setenv("SIGNAL_INTEGRATION", own.name)
    monkeypatch.setattr(typer, "confirm", confirm)
    commands()(["dead-letters", act], standalone_mode=False)
    assert [each.message.id for each in letters.oldest_first()] == ["m-3"]
