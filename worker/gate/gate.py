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
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.gate.config import GateConfig
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.privacy import digest
from worker.redis_client.keys import NEVER, Keys
from worker.redis_client.lua import script
from worker.redis_client.shared_trips import SharedTrips

if TYPE_CHECKING:
    import redis

LIBRARY = script("worker.gate", "pace", "gate")

# If Redis's memory is full, a script may go on once it has written. Delivering frees memory.
ALLOW_WHEN_FULL = f"redis.call('DEL', '{NEVER}')\n"

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


class RequestReport(NamedTuple):
    """The result of requests that ended alike, in the form that the scripts read.

    Attributes:
        kind: The kind of the outcome.
        requests: The number of requests.
        seconds: Seconds that Mailgun asks to wait; 0 without a hint.
        why: The outcome in one line, for people.
        members: Marks of the members that a failure is about; empty if another report names them.
        written: The requests were to write the members, not only to read them.
    """

    kind: str
    requests: int
    seconds: float
    why: str
    members: Sequence[str]
    written: bool


class HoldChange(NamedTuple):
    """A hold that a report began or ended.

    Attributes:
        kind: throttled, unavailable or incident if it began; unthrottled, available or over if it
            ended.
        why: The outcome that began or ended it, in one line.
    """

    kind: str
    why: str


@dataclass(frozen=True)
class HoldState:
    """The state of the hold, and the allowed rate. Times are epoch seconds by Redis's clock.

    Attributes:
        kind: paused, incident, throttled or unavailable; None: the integration is not on hold.
        why: Why the integration is on hold.
        since: When the hold began.
        until: When the hold ends; None: it lasts until it is lifted, or there is none.
        rate: Requests a second allowed now; None: they are not limited.
        members: The number of members that failures since the last success are about.
        next_look: When the next incident check is due; None: no check is planned.
    """

    kind: str | None
    why: str
    since: float | None
    until: float | None
    rate: float | None
    members: int = 0
    next_look: float | None = None


class Gate:
    """The circuit breaker and the token bucket of one integration. Safe to share between threads.

    Attributes:
        redis: The client of the Redis that holds the state.
        trips: The round trips of that client that threads share.
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

    def seconds_until_open(self) -> float:
        """Return 0.0 if requests of fetched events may be sent, else the seconds to wait.

        Nothing is charged: the requests of an event were charged when it was fetched.
        """
        return float(self._run(self._seconds_until_open))

    def record(self, reports: Sequence[RequestReport]) -> list[HoldChange]:
        """Record the results of requests.

        Args:
            reports: The results, in the order in which the requests ended.

        Returns:
            The holds that the reports began or ended, in the same order.
        """
        return (
            [HoldChange(*each) for each in self._run(self._record, json.dumps(reports))]
            if reports
            else []
        )

    def note_throttled(self) -> None:
        """Let the other threads ask the gate before they send what it has permitted."""
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
        charged, wait = self._run(self._acquire, requests)
        return int(charged), float(wait)

    def acquire_background(self) -> tuple[float, float]:
        """Charge one background request, one that belongs to no event, if it may be sent now.

        Returns:
            The seconds to wait, 0.0 if the request was charged; and the current time by Redis's
            clock, epoch seconds.
        """
        wait, at = self._run(self._acquire_background)
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
        change = str(self._run(self._record_page, json.dumps(report), page_came))
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
            self._run(self._refund, unused)

    def pause(self) -> bool:
        """Pause the integration until `resume`, and return False if it was paused already."""
        return bool(self._run(self._pause))

    def resume(self, *, at_once: bool = False) -> bool:
        """Lift a pause, an incident, or a hold for unavailability.

        Args:
            at_once: End the wait that Mailgun asked for, too.

        Returns:
            False if there was nothing to lift.
        """
        return bool(self._run(self._resume, int(at_once)))

    def claim_incident_check(self) -> str:
        """Claim the incident check that is due, if any, for this caller alone.

        The claim lapses after `GateConfig.look_lease` seconds, or an hour for a 429's hold. The
        call also moves the clock of `open_seconds`, so a worker makes it once a second.

        Returns:
            The kind of the hold that the check may end, or "" if no check is due.
        """
        return str(self._run(self._claim_incident_check))

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
        return str(self._run(self._record_incident_check, report.kind, report.seconds, report.why))

    def open_seconds(self) -> float:
        """Return the integration's own clock, in seconds.

        It stands still while the integration is on hold, and while no worker runs.
        """
        return float(self._run(self._open_seconds))

    def state(self) -> HoldState:
        """Return the state of the hold, and the allowed rate."""
        fields, wait, rate, now, members = self._read_state()
        return replace(hold_state(fields, wait, rate, now), members=members)

    def holds(self) -> list[HoldState]:
        """Return every hold that stands, first the one that `state` returns."""
        fields, wait, rate, now, _ = self._read_state()
        return standing_holds(fields, wait, rate, now)

    def _read_state(self) -> tuple[dict[str, str], float, float | None, float, int]:
        pairs, wait, rate, now, members = self._run(self._state)
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return fields, float(wait), float(rate) if rate else None, float(now), int(members)

    def script(self, body: str) -> Any:
        """Return a script of the library and `body`.

        Its caller passes `self.keys` and `first_args()` before the script's own keys and arguments.
        """
        return self.redis.register_script(LIBRARY + body)

    def first_args(self) -> list[Any]:
        """Return the arguments that every script gets first."""
        return [self.rules.to_json(self.jitter())]

    def _run(self, script: Any, *args: Any) -> Any:
        return self.trips.run(script, self.keys, [*self.first_args(), *args])

    _seconds_until_open = cached_property(lambda self: self.script(SECONDS_UNTIL_OPEN))
    _record = cached_property(lambda self: self.script(RECORD))
    _acquire = cached_property(lambda self: self.script(ACQUIRE))
    _acquire_background = cached_property(lambda self: self.script(ACQUIRE_BACKGROUND))
    _record_page = cached_property(lambda self: self.script(RECORD_PAGE))
    _refund = cached_property(lambda self: self.script(REFUND))
    _pause = cached_property(lambda self: self.script(PAUSE))
    _claim_incident_check = cached_property(lambda self: self.script(CLAIM_INCIDENT_CHECK))
    _record_incident_check = cached_property(lambda self: self.script(RECORD_INCIDENT_CHECK))
    _open_seconds = cached_property(lambda self: self.script(OPEN_SECONDS))
    _resume = cached_property(lambda self: self.script(RESUME))
    _state = cached_property(lambda self: self.script(STATE))


def report_of(
    outcome: Outcome, why: str, now: datetime, members: Sequence[str] = (), *, written: bool = True
) -> RequestReport:
    """Return `outcome` as a report.

    Args:
        outcome: The outcome of `outcome.requests` requests.
        why: The outcome in one line.
        now: The current time, UTC.
        members: Marks of the members that a failure is about.
        written: The requests were to write, not only to read.
    """
    seconds = (outcome.wait_until - now).total_seconds() if outcome.wait_until else 0.0
    return RequestReport(
        outcome.kind.value, outcome.requests, max(0.0, seconds), why, members, written
    )


def hold_state(fields: dict[str, str], wait: float, rate: float | None, now: float) -> HoldState:
    """Return the state that the fields of the hold describe, without the number of members.

    Args:
        fields: The hash `Keys.hold`.
        wait: Seconds for which no event may be fetched.
        rate: Requests a second allowed now; None: they are not limited.
        now: The current time by Redis's clock, epoch seconds.
    """
    standing = standing_holds(fields, wait, rate, now)
    return standing[0] if standing else HoldState(None, "", None, None, rate)


def standing_holds(
    fields: dict[str, str], wait: float, rate: float | None, now: float
) -> list[HoldState]:
    """Return every hold that the fields describe, first the one that operators see.

    The arguments are those of `hold_state`.
    """
    found = []
    if "paused" in fields:
        why, since = "an operator paused it", float(fields["paused"])
        found.append(HoldState("paused", why, since, None, rate))
    if fields.get("kind") == "incident":
        found.append(_checked_hold(fields, None, rate))
    if float(fields.get("not_before", 0)) > now:
        found.append(_throttled_hold(fields, rate))
    if fields.get("kind") == "unavailable":
        found.append(_checked_hold(fields, now + wait, rate))
    return found


def _checked_hold(fields: dict[str, str], until: float | None, rate: float | None) -> HoldState:
    """Return the hold that an incident check ends."""
    since, look_at = float(fields["since"]), float(fields["look_at"])
    return HoldState(fields["kind"], fields["why"], since, until, rate, next_look=look_at)


def _throttled_hold(fields: dict[str, str], rate: float | None) -> HoldState:
    until, read_at = float(fields["not_before"]), float(fields["read_at"])
    next_look = read_at if read_at < until else None
    why, since = fields["throttled_why"], float(fields["throttled_since"])
    return HoldState("throttled", why, since, until, rate, next_look=next_look)
