"""Circuit breaker and token bucket of one integration, kept in Redis so that all workers agree.

Both decide when a request may be sent to Mailgun. The circuit breaker holds the integration; its
state is `Keys.hold`, which also keeps the integration's own clock. The token bucket limits the
rate; its state is `Keys.pace`, which expires an hour after its last use.

* A 429's hold ends by time, or when an incident check, tried once an hour, can read the list.
* Failures about many members hold the integration until an incident check can read the list. If
  they come again after that, each hold is longer than the one before.
* A pause lasts until an operator resumes the integration.

After a hold the rate ramps up: it begins with at least two requests a second, and doubles every
second for ten seconds.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from worker.gate.config import GateConfig
from worker.gate.holds import HoldState, standing_holds
from worker.gate.reports import HoldChange, RequestReport, report_of
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.privacy import digest
from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script
from worker.redis_client.shared_trips import SharedTrips

if TYPE_CHECKING:
    import redis

LIBRARY = script("worker.gate", "pace", "lessons", "throttling", "gate")

# Scripts that only call one function of the library. The others are files.
SECONDS_UNTIL_OPEN = "return tostring(hold_seconds(true))"
ACQUIRE = "return grant(tonumber(ARGV[2]))"
OPEN_SECONDS = "return tostring(open_seconds())"
RECORD = ALLOW_WHEN_FULL + "return report_all(cjson.decode(ARGV[2]))"

CLAIM_INCIDENT_CHECK = ALLOW_WHEN_FULL + script("worker.gate", "claim_incident_check")
RECORD_INCIDENT_CHECK = ALLOW_WHEN_FULL + script("worker.gate", "record_incident_check")
PAUSE = ALLOW_WHEN_FULL + script("worker.gate", "pause")
# When a background request may be sent, such as one for a page of members.
BACKGROUND = script("worker.gate", "background")
ACQUIRE_BACKGROUND = ALLOW_WHEN_FULL + BACKGROUND + script("worker.gate", "acquire_background")
REFUND = script("worker.gate", "refund")
RECORD_PAGE = ALLOW_WHEN_FULL + script("worker.gate", "record_page")
RESUME = ALLOW_WHEN_FULL + script("worker.gate", "resume")
STATE = script("worker.gate", "state")


class Gate:
    """The circuit breaker and the token bucket of one integration. Safe to share between threads.

    Attributes:
        redis: The client of the Redis that holds the state.
        trips: The round trips of that client that deliveries share.
        keys: The keys of the hold and of the pace.
        rules: The settings of the scripts.
        jitter: Returns random numbers in [0, 1).
        throttles: How often this process noted a 429. A request that the gate permitted while
            this had another value is not sent before the gate was asked again.

    Each method that runs a script raises `redis.RedisError` if Redis does not answer.
    """

    def __init__(
        self, redis: "redis.Redis", integration: str, rules: GateConfig, jitter: Callable[[], float]
    ) -> None:
        """Use the state of `integration` in Redis.

        Args:
            redis: The client of the Redis that holds the state.
            integration: The name of the integration.
            rules: The settings of the scripts.
            jitter: Returns random numbers in [0, 1).
        """
        self.redis = redis
        self.trips = SharedTrips(redis)
        keys = Keys(integration)
        self.keys = keys.hold, keys.pace
        self.rules = rules
        self.jitter = jitter
        self.throttles = 0
        # Requests that were charged and not made.
        self._unused = 0.0
        self._lock = Lock()
        self._scripts: dict[str, Any] = {}

    def seconds_until_open(self) -> float:
        """Return 0.0 if requests of fetched events may be sent, else the seconds to wait.

        Nothing is charged: the requests of an event were charged when it was fetched.
        """
        return float(self._run(SECONDS_UNTIL_OPEN))

    def record(self, reports: Sequence[RequestReport]) -> list[HoldChange]:
        """Record the results of requests.

        Args:
            reports: The results, in the order in which the requests ended.

        Returns:
            The holds that the reports began or ended, in the same order.
        """
        return (
            [HoldChange(*each) for each in self._run(RECORD, json.dumps(reports))]
            if reports
            else []
        )

    def note_throttled(self) -> None:
        """Let other deliveries ask the gate before they send what it has permitted."""
        with self._lock:
            self.throttles += 1

    def mark(self, address: str) -> str:
        """Return the mark of a member in reports: a digest, the same for every worker."""
        return digest(address, f"signal-mailgun/{self.keys[0]}".encode())

    def acquire(self, requests: int) -> tuple[int, float]:
        """Charge as many of `requests` requests as may be sent now.

        Returns:
            The number of charged requests; and the seconds after which to ask for the others if
            they only wait for the few under way near the usual limit, else 0.0.
        """
        charged, wait = self._run(ACQUIRE, requests)
        return int(charged), float(wait)

    def acquire_background(self) -> tuple[float, float]:
        """Charge one background request, one that belongs to no event, if it may be sent now.

        Returns:
            The seconds to wait, 0.0 if the request was charged; and the current time by Redis's
            clock, epoch seconds.
        """
        wait, at = self._run(ACQUIRE_BACKGROUND)
        return float(wait), float(at)

    def record_page(self, outcome: Outcome, why: str, now: datetime) -> str:
        """Record the result of a request for a page, which `acquire_background` charged.

        Args:
            outcome: The outcome; `unchanged` if a page came.
            why: The outcome in one line.
            now: The current time, UTC.

        Returns:
            The kind of the hold that this began or ended, or "".
        """
        report = report_of(outcome, why, now, ["pages"], written=False)
        page_came = int(outcome.kind is OutcomeKind.UNCHANGED)
        change = str(self._run(RECORD_PAGE, json.dumps(report), page_came))
        if outcome.kind is OutcomeKind.THROTTLED:
            self.note_throttled()
        return change

    def release(self, requests: float) -> None:
        """Note requests that were charged and not made, until `flush_released`.

        Args:
            requests: Their number; negative for requests that were made and not charged.
        """
        with self._lock:
            self._unused += requests

    def flush_released(self) -> None:
        """Refund the requests that `release` has noted since the last flush."""
        with self._lock:
            unused, self._unused = self._unused, 0.0
        if unused:
            self._run(REFUND, unused)

    def pause(self) -> bool:
        """Pause the integration until `resume`, and return False if it was paused already."""
        return bool(self._run(PAUSE))

    def resume(self, *, at_once: bool = False) -> bool:
        """Lift a pause, an incident, or a hold for unavailability.

        Args:
            at_once: End the wait that Mailgun asked for, too.

        Returns:
            False if there was nothing to lift.
        """
        return bool(self._run(RESUME, int(at_once)))

    def claim_incident_check(self) -> str:
        """Claim the incident check that is due, if any, for this caller alone.

        The claim lapses after `GateConfig.look_lease` seconds, or an hour for a 429's hold. The
        call also moves the clock of `open_seconds`, so a worker makes it once a second.

        Returns:
            The kind of the hold that the check may end, or "" if no check is due.
        """
        return str(self._run(CLAIM_INCIDENT_CHECK))

    def record_incident_check(self, outcome: Outcome, why: str, now: datetime) -> str:
        """Record the result of an incident check.

        Args:
            outcome: What reading the list came to; `unchanged` if the list is there.
            why: The outcome in one line.
            now: The current time, UTC.

        Returns:
            The kind of the hold that this began or ended, or "".
        """
        report = report_of(outcome, why, now)
        return str(self._run(RECORD_INCIDENT_CHECK, report.kind, report.seconds, report.why))

    def open_seconds(self) -> float:
        """Return the integration's own clock, in seconds.

        It stands still while the integration is on hold, and while no worker runs.
        """
        return float(self._run(OPEN_SECONDS))

    def state(self) -> HoldState:
        """Return the state of the hold, and the allowed rate."""
        holds, rate, members = self._read_state()
        seen = holds[0] if holds else HoldState(None, "", None, None, rate)
        return replace(seen, members=members)

    def holds(self) -> list[HoldState]:
        """Return every hold that stands, first the one that `state` returns."""
        return self._read_state()[0]

    def _read_state(self) -> tuple[list[HoldState], float | None, int]:
        pairs, wait, rate, now, members = self._run(STATE)
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        allowed = float(rate) if rate else None
        return standing_holds(fields, float(wait), allowed, float(now)), allowed, int(members)

    def run(self, body: str, keys: Sequence[str], *args: Any) -> Any:
        """Run a script of the library and `body`, and return its reply.

        Args:
            body: The script's own text.
            keys: Its keys, after those of the hold and of the pace.
            args: Its arguments, after the rules.
        """
        return self.script(body)(keys=[*self.keys, *keys], args=[self._rules_json(), *args])

    def run_shared(self, body: str, keys: Sequence[str], *args: Any) -> Any:
        """Run a script as `run` does, in a round trip that deliveries may share."""
        return self.trips.run(self.script(body), [*self.keys, *keys], [self._rules_json(), *args])

    def script(self, body: str) -> Any:
        """Return a script of the library and `body`, which gets the keys and arguments of `run`."""
        if body not in self._scripts:
            self._scripts[body] = self.redis.register_script(LIBRARY + body)
        return self._scripts[body]

    def _rules_json(self) -> str:
        return self.rules.to_json(self.jitter())

    def _run(self, body: str, *args: Any) -> Any:
        return self.run_shared(body, (), *args)
