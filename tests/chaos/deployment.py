"""The deployment under test: a real server, the sandbox, workers that can be killed, a producer."""

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
import requests
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.chaos.modes import Mode
from tests.chaos.stalls import Stalls
from tests.chaos.worker_log import LogLine, WorkerLog
from tests.integration.bench import printed_by
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer, eventually
from tests.workers import RunningWorker
from worker.gate.config import GateConfig
from worker.gate.gate import Gate
from worker.queue.codec import body_of
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue

if TYPE_CHECKING:
    from tests.chaos.producing import Producer

KEY = "sandbox-key"
READ_TIMEOUT_SECONDS = 1.0
READ_LAG_SECONDS = 10.0  # more than reads lag and writes come late under any fault
SETTINGS = {
    "MAILGUN_API_KEY": KEY,
    "MAILGUN_ALLOW_CUSTOM_HOST": "true",
    "MAILGUN_LIST_ADDRESS": "newsletter@mg.example.com",
    "MAILGUN_CONNECT_TIMEOUT_SECONDS": "0.3",
    "MAILGUN_READ_TIMEOUT_SECONDS": str(READ_TIMEOUT_SECONDS),
    "RETRY_BASE_SECONDS": "0.2",
    "RETRY_MAX_DELAY_SECONDS": "2",
    "RETRY_MAX_ATTEMPTS": "1000",
    "INCIDENT_PROBE_SECONDS": "1",
    "VISIBILITY_TIMEOUT_SECONDS": "7.5",
    "MAILGUN_READ_LAG_SECONDS": str(READ_LAG_SECONDS),
    "WORKER_CONCURRENCY": "12",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "debug",  # a line for each event, also if many were handled together
    "METRICS_PORT": "0",
}
DRAINED_WITHIN_SECONDS = 240.0
CONSUMES_AGAIN_WITHIN_SECONDS = 60.0
ABOUT_SECONDS = 0.5  # a stall within this time of a moment may have been of that moment


class Deployment:
    """One integration under a fault. It kills only processes that it started itself.

    Attributes:
        unlucky: Spans (begin, end; epoch seconds) in which a worker was killed, stopped or without
            Redis, so that it may not have passed on a hold.
        in_flight_when_killed: When workers were killed, and the ids of the events that were in flight.
        backs: Seconds that each recovery took.
        notes: Lines printed below the table.
        further: Settings that override all others.
        brief: Whether each fault happens only once.
        bad: Addresses that Mailgun cannot answer; their events may wait as long as that lasts.
        clickers: Addresses that may opt out at Mailgun.
        stalls: When the machine stalled this process.
    """

    def __init__(
        self,
        server: RedisServer,
        sandbox: RunningSandbox,
        folder: Path,
        integration: str,
        mode: Mode,
    ) -> None:
        self.server = server
        self.sandbox = sandbox
        self.control = sandbox.control
        self.folder = folder
        self.integration = integration
        self.mode = mode
        self.queue = f"mailgun.{integration}"
        self.redis = patient_client(server.url)
        self.delay_queue = DelayQueue(self.redis, integration, self.queue)
        self.letters = DeadLetterQueue(self.redis, integration, self.queue)
        self.worker_logs: list[WorkerLog] = []
        self.ended_on_purpose: set[int] = set()
        self.unlucky: list[tuple[float, float]] = []
        self.in_flight_when_killed: list[tuple[float, set[str]]] = []
        self.backs: list[float] = []
        self.notes: list[str] = []
        self.further: dict[str, str] = {}
        self.brief = False
        self.bad: set[str] = set()
        self.clickers: set[str] = set()
        self.stalls = Stalls()
        self.producer: Producer

    # Workers

    @property
    def environment(self) -> dict[str, str]:
        return {
            **SETTINGS,
            **self.mode.settings,
            "REDIS_URL": self.server.url,
            "SIGNAL_INTEGRATION": self.integration,
            "MAILGUN_API_BASE_URL": self.sandbox.base_url,
            **self.further,
        }

    @property
    def threads(self) -> int:
        """The number of events that each worker has under way at once."""
        return int(self.environment["WORKER_CONCURRENCY"])

    def under_way_seconds(self, at: float) -> float:
        """Return the seconds within which requests that were decided on at this time were sent.

        A busy machine may stall a worker meanwhile, for as long as it stalled this process.

        Args:
            at: The time, epoch seconds.
        """
        stalled = self.stalls.longest(at - ABOUT_SECONDS, at + ABOUT_SECONDS)
        return 0.05 + 0.002 * self.threads + stalled

    @property
    def workers(self) -> list[RunningWorker]:
        """The workers that should be alive."""
        return [
            each.worker
            for each in self.worker_logs
            if each.worker.process.pid not in self.ended_on_purpose
        ]

    def put_on_list(self, addresses: Sequence[str]) -> None:
        """Put members on the list that no event has named yet."""
        url = f"{self.sandbox.base_url}/v3/lists/{SETTINGS['MAILGUN_LIST_ADDRESS']}/members.json"
        for start in range(0, len(addresses), 100):
            entries = [{"address": each} for each in addresses[start : start + 100]]
            form = {"members": json.dumps(entries), "upsert": "true"}
            answer = requests.post(url, data=form, auth=("api", KEY), timeout=60)
            assert answer.status_code == 200

    def start_workers(self, count: int) -> None:
        """Start `count` more workers and wait until they consume."""
        started = [self.start_worker() for _ in range(count)]
        for worker in started:
            worker.ready()

    def start_worker(self) -> RunningWorker:
        """Start one more worker; it is not ready yet."""
        worker = RunningWorker(
            self.environment, self.folder / f"worker-{len(self.worker_logs)}.log"
        )
        self.worker_logs.append(WorkerLog(worker))
        return worker

    def kill(self, *workers: RunningWorker) -> None:
        """Send SIGKILL to all these workers at once."""
        for worker in workers:
            self.ended_on_purpose.add(worker.process.pid)
            worker.process.kill()
        for worker in workers:
            worker.process.wait(10)
        self.unlucky.append((time.time() - 2, time.time() + 1))

    def terminate(self, worker: RunningWorker) -> int:
        """Send SIGTERM and return the exit status."""
        self.ended_on_purpose.add(worker.process.pid)
        return worker.stop()

    def alive(self) -> int:
        """Return how many of the workers that should be alive are."""
        return sum(each.process.poll() is None for each in self.workers)

    def start_redis(self) -> None:
        """Start Redis again with what it had stored."""
        eventually(self._redis_starts, 20, "a Redis that starts again")

    def _redis_starts(self) -> bool:
        try:
            self.server.start()
        except OSError:  # its port is not free yet
            return False
        return True

    def end_faults(self) -> None:
        """End all faults of the sandbox."""
        self.control.clear_faults()
        self.control.clear_refusals()
        self.control.limit(None)
        self.control.latency(0)

    def back(self, seconds: float) -> None:
        """Record that a recovery took so many seconds."""
        self.backs.append(seconds)

    def note(self, text: str, *figures: float) -> None:
        """Add a line to be printed below the table."""
        self.notes.append(text.format(*figures))

    def close(self) -> None:
        """End all that was started here."""
        self.producer.stop()
        self.stalls.stop()
        for worker in self.workers:
            worker.kill()
        self.redis.delete(self.queue, self.delay_queue.key)

    # What is going on

    def log_lines(self) -> list[LogLine]:
        """Return all lines about events that workers have logged, dead workers too."""
        return [line for worker_log in self.worker_logs for line in worker_log.catch_up()]

    def ended_ids(self) -> set[str]:
        """Return the ids of the events that have ended."""
        return {line.event for line in self.log_lines() if line.is_end}

    def in_flight(self) -> int:
        """Return the number of messages fetched and not acknowledged."""
        return int(self.redis.hlen(f"signal:{self.integration}:unacked"))

    def in_flight_ids(self) -> set[str]:
        """Return the ids of the events in flight."""
        messages = self.redis.hvals(f"signal:{self.integration}:unacked")
        return {event for each in messages for event in carried_ids(json.loads(each))}

    def lightly_loaded(self) -> bool:
        """Return True if the workers have events in flight and room for more than are queued."""
        queued, in_flight, _ = self.left()
        return not queued and len(self.workers) <= in_flight <= self.threads

    def left(self) -> tuple[int, int, int]:
        """Return the numbers of messages queued, in flight, and delayed, at one moment."""
        with self.redis.pipeline(transaction=True) as at_once:
            at_once.llen(self.queue)
            at_once.hlen(f"signal:{self.integration}:unacked")
            at_once.zcard(self.delay_queue.key)
            queued, in_flight, delayed = at_once.execute()
        return queued, in_flight, delayed

    def gate(self) -> Gate:
        """Return the gate, to pause and resume the integration."""
        rules = GateConfig(
            base=0.2,
            max_delay=2,
            rate_limit=0,
            incident_threshold=5,
            rejected_threshold=50,
            incident_probe=1,
            look_lease=8,
            event_cost=1.0,
        )
        return Gate(self.redis, self.integration, rules, lambda: 0.5)

    def requests(self) -> int:
        """Return the number of requests that the sandbox has had."""
        return int(self.control.totals()["requests"])

    def requests_for(self, events: int) -> int:
        """Return about how many requests `events` events need.

        The estimate is the number of requests so far for each event in flight or ended.
        """
        self.until(lambda: self._ended() > 0.05 * len(self.producer.sent), "some events' ends")
        return max(2, round(events * self.requests() / (self._ended() + len(self.in_flight_ids()))))

    def _ended(self) -> int:
        return sum(line.is_end for line in self.log_lines())

    # Waiting

    def moments(self, *shares: float) -> tuple[float, ...]:
        """Return the shares of all events at which a fault happens; if brief, only the first."""
        return shares[:1] if self.brief else shares

    def sparing(self) -> AbstractContextManager[None]:
        """Return a context in which, if brief, the producer puts only a few events.

        Some events are then left for what follows.
        """
        return self.producer.trickling() if self.brief else nullcontext()

    def when_put(self, share: float) -> None:
        """Wait until the producer has put this share of all events."""
        self.until(lambda: self.producer.share >= share, f"{share:.0%} of all events put", 180)

    def until(self, holds: Callable[[], Any], what: str, within: float = 60.0) -> float:
        """Wait until the condition holds and return the seconds that took.

        While Redis is away, the condition does not hold.

        Raises:
            AssertionError: The condition did not hold in time; says what was going on then.
        """
        began = time.monotonic()
        try:
            eventually(lambda: _unless_away(holds), within, what)
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.situation()}") from None
        return time.monotonic() - began

    def situation(self) -> str:
        """Return what is put, waits and is under way, and how long ago each worker ended an event."""
        left = _unless_away(self.left)
        waiting = "{} queued, {} in flight, {} delayed".format(*left) if left else "no Redis"
        gate = _unless_away(lambda: self.gate().state().kind)
        ends = (
            f"{each.worker.process.pid} {_age([line.at for line in each.catch_up() if line.is_end])}"
            for each in self.worker_logs
            if each.worker in self.workers
        )
        put = f"{self.producer.share:.0%} put"
        return f"{put}, {waiting}, gate {gate}, last ends of the workers: {', '.join(ends)}"

    def drain(self) -> None:
        """Wait until all events are put and have ended."""
        self.when_put(1.0)
        self.until(
            lambda: not any(self.left()),
            f"an end of all events of {self.integration}",
            DRAINED_WITHIN_SECONDS,
        )

    def settle(self) -> None:
        """Wait until no member has to be looked at again after a write."""
        key = f"signal:{self.integration}:look_after"
        self.until(lambda: not self.redis.zcard(key), "an end of all looks", DRAINED_WITHIN_SECONDS)

    def stop_for_a_while(self, worker: RunningWorker, seconds: float) -> None:
        """Send SIGSTOP, and SIGCONT after `seconds`."""
        worker.process.send_signal(signal.SIGSTOP)
        self.unlucky.append((time.time() - 2, time.time() + seconds + 1))
        time.sleep(seconds)  # the fault is a stop of this length
        worker.process.send_signal(signal.SIGCONT)

    def each_consumes_again(self, since: float) -> float:
        """Wait until each worker has ended an event after `since`.

        The producer puts events slowly meanwhile.

        Returns:
            The slowest worker's seconds.
        """

        def each_has() -> bool:
            worker_logs = [each for each in self.worker_logs if each.worker in self.workers]
            return all(
                any(line.is_end and line.at > since for line in each.catch_up()[-50:])
                for each in worker_logs
            )

        with self.producer.trickling(a_second=5 if self.brief else 20):
            self.until(each_has, "every worker consumes again", CONSUMES_AGAIN_WITHIN_SECONDS)
        return time.time() - since

    # Acts of an operator

    def run(self, *arguments: str) -> str:
        """Run `signal-mailgun ARGUMENTS`, which must succeed, and return what it printed."""
        ended = printed_by("-m", "worker", *arguments, folder=self.folder, **self.environment)
        assert ended.status == 0, ended.everything
        return ended.out

    def replay(self) -> None:
        """Replay all dead letters with the operator's command."""
        self.run("dead-letters", "replay", "--yes")

    def died(self) -> Counter[str]:
        """Return the number of dead letters by reason."""
        return Counter(each.letter.reason for each in self.letters.oldest_first())


def patient_client(url: str) -> "redis.Redis":
    """Return a client that tries each command again, on a new connection, if one is cut."""
    retry = Retry(ConstantBackoff(0.05), 3)
    return redis.Redis.from_url(
        url, decode_responses=True, retry=retry, retry_on_error=[redis.ConnectionError]
    )


def carried_ids(envelope: Mapping[str, Any]) -> list[str]:
    """Return the ids of the events that a message carries.

    The events of a bundle have ids of their own; a single event has the message's.
    """
    arguments, *_ = body_of(envelope)
    match arguments:
        case [[*events]]:
            return [str(event.get("messageId") or event.get("message_id")) for event in events]
    return [str(envelope["headers"]["id"])]


def _age(times: Sequence[float]) -> str:
    return f"{time.time() - max(times):.0f} s ago" if times else "never"


def _unless_away(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except redis.RedisError:
        return None


def resident_megabytes(worker: RunningWorker) -> float:
    """Return the memory that the worker's process has resident, in MB."""
    listed = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(worker.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(listed.stdout) / 1024
