"""Odd moments at the command line: Redis goes away in the middle, the reader of a pipe leaves, there is nothing to show."""

import time
from pathlib import Path

import pytest

from tests.integration.bench import piped
from tests.servers import RedisServer, eventually
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.message import Message
from worker.redis_client.client import connect


def buried(letters: DeadLetterQueue, count: int) -> None:
    """So many dead letters."""
    for number in range(count):
        event = {"type": "identify", "traits": {"email": f"p{number}@example.com"}}
        message = Message(id=f"m{number}", args=(event,), kind="identify", enqueued_at=time.time())
        letter = dead_letter(
            DeadLetterReason.REJECTED,
            message,
            status=400,
            answer="no",
            died_at=time.time(),
            integration=letters.integration,
        )
        letters.bury([(message, letter)])


def test_replay_that_loses_redis_fails_in_one_line_and_loses_nothing(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis").start()
    try:
        letters = DeadLetterQueue(connect(server.url), "default", "mailgun.default")
        buried(letters, 40)
        command = "-m", "worker", "dead-letters", "replay", "--yes", "--rate", "20"
        with piped(*command, folder=tmp_path, REDIS_URL=server.url) as replaying:
            eventually(lambda: letters.count() < 40, what="the first replays")
            server.kill()
            printed = replaying.ended()
        server.start()
        queued = connect(server.url).llen("mailgun.default")
        assert printed.status == 1
        assert (printed.err.count("\n"), "does not answer" in printed.err) == (1, True)
        assert queued + letters.count() == 40
    finally:
        server.stop()


@pytest.mark.parametrize("command", ["list", "export"])
def test_reader_that_closes_the_pipe_gets_no_traceback(command: str, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis").start()
    try:
        buried(DeadLetterQueue(connect(server.url), "default", "mailgun.default"), 300)
        asked = "-m", "worker", "dead-letters", command
        with piped(*asked, folder=tmp_path, REDIS_URL=server.url) as printing:
            assert printing.stdout.readline()
            printing.stdout.close()  # as `head -1` does
            assert printing.ended().err == ""
    finally:
        server.stop()
