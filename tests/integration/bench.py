"""One integration on the bench: a real server, the sandbox over HTTP, real workers."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from tests.preloaded import AnyProcess, started
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer, eventually
from tests.workers import RunningWorker
from worker.delivery.outcome_stats import OutcomeStats
from worker.queue.codec import decode, encode
from worker.queue.dead_letter import DeadLetter
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import DELIVER_MANY, Message, unbundle
from worker.queue.producer import EventQueue, message_for
from worker.redis_client.client import connect
from worker.sandbox.request_log import Record
from worker.sandbox.stored_member import StoredMember

KEY = "sandbox-key"
LIST = "newsletter@mg.example.com"
OURS = (
    "ALERT_",
    "MAILGUN_",
    "SIGNAL_",
    "REDIS_",
    "RETRY_",
    "VISIBILITY_",
    "WORKER_",
    "INCIDENT_",
    "METRICS_",
    "LEDGER_",
    "LOG_",
)
COMMAND_SECONDS = 120

# Retries come soon; a slow request on a busy machine does not time out.
QUICK = {
    "MAILGUN_CONNECT_TIMEOUT_SECONDS": "3",
    "MAILGUN_READ_TIMEOUT_SECONDS": "5",
    "MAILGUN_MEMBER_CACHE_SECONDS": "0",
    "RETRY_BASE_SECONDS": "0.1",
    "RETRY_MAX_DELAY_SECONDS": "0.4",
    "VISIBILITY_TIMEOUT_SECONDS": "60",
    "LOG_FORMAT": "json",
    "METRICS_PORT": "0",
}

# Hanging requests time out soon, and a killed worker's events come back soon.
IMPATIENT = {
    "MAILGUN_CONNECT_TIMEOUT_SECONDS": "0.3",
    "MAILGUN_READ_TIMEOUT_SECONDS": "0.6",
    "VISIBILITY_TIMEOUT_SECONDS": "5",
}

numbers = count(1)


@dataclass(frozen=True)
class Printed:
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str

    @property
    def everything(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Bench:
    """The parts of one integration. A test that needs a worker starts it.

    `workers` are all that were started here.
    """

    server: RedisServer
    sandbox: RunningSandbox
    folder: Path
    integration: str = "default"
    workers: list[RunningWorker] = field(default_factory=list)

    @property
    def queue(self) -> str:
        return f"mailgun.{self.integration}"

    @cached_property
    def redis(self) -> Any:
        return connect(self.server.url)

    @property
    def delay_queue(self) -> DelayQueue:
        return DelayQueue(self.redis, self.integration, self.queue)

    @property
    def dead_letters(self) -> DeadLetterQueue:
        return DeadLetterQueue(self.redis, self.integration, self.queue)

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the settings of a worker on this bench, with `settings` on top."""
        return {
            **QUICK,
            "REDIS_URL": self.server.url,
            "SIGNAL_INTEGRATION": self.integration,
            "MAILGUN_API_KEY": KEY,
            "MAILGUN_API_BASE_URL": self.sandbox.base_url,
            "MAILGUN_ALLOW_CUSTOM_HOST": "true",
            "MAILGUN_LIST_ADDRESS": LIST,
            **settings,
        }

    def worker(self, *command: str, **settings: str) -> RunningWorker:
        """Start one more worker.

        Args:
            command: Arguments of `python`; none: this program's worker, under a name of its own.
            settings: Settings that override the bench's.
        """
        number = next(numbers)
        command = command or ("-m", "worker", "worker", f"--name={self.integration}-{number}@%h")
        worker = RunningWorker(
            self.environment(**settings), self.folder / f"worker-{number}.log", command=command
        )
        self.workers.append(worker)
        return worker

    @contextmanager
    def working(self, *command: str, **settings: str) -> Iterator[RunningWorker]:
        """Run one more worker until the block ends.

        It is ready when the block begins, and is killed at the end, which is quicker than SIGTERM.
        """
        worker = self.worker(*command, **settings)
        try:
            yield worker.ready()
        finally:
            worker.kill()

    def end_workers(self) -> None:
        """Kill the workers that a test left running, as a failed test may."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()

    def run(self, *arguments: str, given: str | None = None, **settings: str | None) -> Printed:
        """Run `signal-mailgun ARGUMENTS` to its end; a setting of None is left out."""
        return printed_by(
            "-m", "worker", *arguments, given=given, folder=self.folder, **self._with(settings)
        )

    def _with(self, settings: dict[str, str | None]) -> dict[str, str]:
        every = {**self.environment(), **settings}
        return {name: value for name, value in every.items() if value is not None}

    def put(self, *events: Any, integration: str | None = None) -> list[str]:
        """Put the events on the queue and return their ids."""
        messages = [message_for(event) for event in events]
        EventQueue(self.redis, f"mailgun.{integration or self.integration}").put(messages)
        return [message.id for message in messages]

    def put_bundle(self, *events: Any, id: str = "b1") -> None:
        """Put one message with these events on the queue."""
        message = Message(
            id=id,
            args=(list(events),),
            kind=f"{len(events)} events",
            enqueued_at=time.time(),
            task=DELIVER_MANY,
        )
        self.put_raw(encode(message, self.queue))

    def put_raw(self, *texts: str | bytes) -> None:
        """Put these texts on the queue, as another program might."""
        self.redis.lpush(self.queue, *texts)

    def ended(self, within: float = 60) -> None:
        """Wait until no event is queued, in hand or delayed."""
        eventually(self._nothing_under_way, within, "an end of all events")

    def idle(self, within: float = 30) -> None:
        """Wait until no event is queued or in hand; delayed events may wait."""
        eventually(self._nothing_in_flight, within, "an idle worker")

    def _nothing_under_way(self) -> bool:
        with self.redis.pipeline(transaction=True) as at_once:
            at_once.llen(self.queue).hlen(f"signal:{self.integration}:unacked").zcard(
                self.delay_queue.key
            )
            return not any(at_once.execute())

    def _nothing_in_flight(self) -> bool:
        with self.redis.pipeline(transaction=True) as at_once:
            at_once.llen(self.queue).hlen(f"signal:{self.integration}:unacked")
            return not any(at_once.execute())

    def queued(self) -> int:
        """Return the number of messages on the queue."""
        return int(self.redis.llen(self.queue))

    def queued_events(self) -> list[Message]:
        """Return the events on the queue, those of bundles too, the next one first."""
        raws = reversed(self.redis.lrange(self.queue, 0, -1))
        return [event for raw in raws for event in unbundle(decode(raw)[0])]

    def unacknowledged(self) -> int:
        return int(self.redis.hlen(f"signal:{self.integration}:unacked"))

    def delayed(self) -> list[tuple[Message, float]]:
        """Return the delayed messages and when they are due, in epoch seconds."""
        return [(decode(raw)[0], due) for raw, due in self.delay_queue.waiting()]

    def letters(self) -> list[DeadLetter]:
        """Return the dead letters, oldest first."""
        return list(self.dead_letters.oldest_first())

    def the_dead_letter(self) -> DeadLetter:
        """Return the only dead letter once it is there."""
        eventually(self.dead_letters.count, what="a dead letter")
        self.ended()
        [letter] = self.letters()
        return letter

    def dead_letter_headers(self) -> list[dict[str, Any]]:
        """Return the headers of the messages on the dead-letter queue, as stored."""
        raw = cast("list[str]", self.redis.lrange(f"{self.queue}.dead_letter", 0, -1))
        return [json.loads(each)["headers"] for each in raw]

    def totals(self) -> dict[str, int]:
        """Return the stored number of events by outcome."""
        return OutcomeStats(self.redis, self.integration).totals()

    def counted(self, outcome: str, events: int = 1) -> None:
        """Wait until so many events have ended with this outcome."""
        eventually(lambda: self.totals().get(outcome, 0) >= events, what=f"{events} × {outcome}")

    def member(self, address: str) -> StoredMember:
        """Return the member once Mailgun holds it."""
        found = eventually(lambda: self.members().get(address.lower()), what=f"a member {address}")
        assert found
        return found

    def delivered(self) -> int:
        """Return the number of members on the list."""
        return int(self.sandbox.control.state()["lists"][0]["members"])

    def members(self) -> dict[str, StoredMember]:
        return self.sandbox.control.members()

    def requests(self, address: str | None = None) -> list[Record]:
        """Return the requests about one member, or all, oldest first."""
        records = self.sandbox.control.requests()
        return [
            each
            for each in records
            if address is None or (each.address or "").lower() == address.lower()
        ]

    def posts(self, address: str | None = None) -> list[Record]:
        return [each for each in self.requests(address) if each.method == "POST"]

    def clear(self) -> None:
        """Delete all that is stored and reset the sandbox."""
        self.sandbox.control.reset()
        self.redis.flushall()

    def settle(self) -> None:
        """Drop what is queued or delayed, and wait until workers have nothing in hand."""
        self.sandbox.control.reset()
        self.redis.delete(self.queue, self.delay_queue.key)
        eventually(lambda: not self.unacknowledged(), 30, "empty hands")


def printed_by(
    *arguments: str, given: str | None = None, folder: Path, **environment: str
) -> Printed:
    """Run `python ARGUMENTS` to its end and return its output.

    Args:
        arguments: The arguments.
        given: The text on stdin.
        folder: The working folder.
        environment: The program's settings; none come from this process.
    """
    every = clean_environment(**environment)
    with TemporaryFile("w+") as stdin, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        stdin.write(given or "")
        stdin.seek(0)
        return printed_at_end(started(arguments, every, folder, (stdin, out, err)), out, err)


def printed_at_end(
    process: AnyProcess, out: IO[str], err: IO[str], seconds: float = COMMAND_SECONDS
) -> Printed:
    """Wait for the end of a process, so many seconds at most; return what it wrote to these files."""
    try:
        status = process.wait(seconds)
    finally:
        process.kill()
    out.seek(0)
    err.seek(0)
    return Printed(status, out.read(), err.read())


@dataclass(frozen=True)
class Piped:
    """A running command with pipes as its stdin, stdout and stderr."""

    process: AnyProcess
    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]

    def ended(self) -> Printed:
        """Wait for the end and return what was not read yet, which must fit into the pipes."""
        status = self.process.wait(COMMAND_SECONDS)
        out = "" if self.stdout.closed else self.stdout.read()
        return Printed(status, out, self.stderr.read())


@contextmanager
def piped(*arguments: str, folder: Path, **environment: str) -> Iterator[Piped]:
    """Run `python ARGUMENTS` until the block ends.

    Args:
        arguments: The arguments.
        folder: The working folder.
        environment: The program's settings; none come from this process.
    """
    pipes = [os.pipe() for _ in range(3)]
    (given, writes), (reads, out), (reads_errors, err) = pipes
    with os.fdopen(given) as stdin, os.fdopen(out, "w") as stdout, os.fdopen(err, "w") as stderr:
        streams = stdin, stdout, stderr
        process = started(arguments, clean_environment(**environment), folder, streams)
    with (
        os.fdopen(writes, "w") as typed,
        os.fdopen(reads) as printed,
        os.fdopen(reads_errors) as told,
    ):
        try:
            yield Piped(process, typed, printed, told)
        finally:
            process.kill()
            process.wait()


def clean_environment(**settings: str) -> dict[str, str]:
    """Return this process's environment without the program's settings, plus `settings`."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(OURS)},
        **settings,
    }


def identified(address: str, **traits: Any) -> dict[str, Any]:
    """Return an identify event."""
    return {"type": "identify", "traits": {"email": address, **traits}}


def viewed(address: str, url: str, **fields: Any) -> dict[str, Any]:
    """Return a page event."""
    return {"type": "page", "traits": {"email": address}, "properties": {"url": url}, **fields}


def consenting(event: dict[str, Any], *, marketing: Any) -> dict[str, Any]:
    """Return the event with this marketing consent."""
    return {**event, "context": {"consent": {"canonical": {"marketing": marketing}}}}


def until(holds: Callable[[], Any], what: str, within: float = 30) -> None:
    """Wait until the condition holds."""
    eventually(holds, within, what)
