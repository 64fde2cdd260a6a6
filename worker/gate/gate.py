"""When Mailgun may be asked: the hold and the pace of one integration, kept in Redis so that all workers agree.

    signal:<integration>:hold   hash   while it stands: not_before, throttled_since, throttled_why, read_at (a 429's hold);
                                       kind, since, why, length, look_at (unavailable or incident); paused.
                                       For good: relapses; open_seconds, ticked_at (the integration's own clock)
    signal:<integration>:pace   hash   Mailgun's allowance as learned, and whom failures are about; an hour after use

A 429's hold ends by time, or when the list can be read, which is tried once an hour. Failures about many members hold the
integration until the list can be read; where it can, and they come again, each hold is longer than the one before. A pause ends
by `resume`. After a hold the flow ramps up: two requests a second, doubling every second for ten seconds.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.gate.config import GateConfig
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.redis_client.keys import NEVER, Keys
from worker.redis_client.lua import script

if TYPE_CHECKING:
    import redis

LIBRARY = script("worker.gate", "pace", "gate")

ALLOW_WHEN_FULL = f"redis.call('DEL', '{NEVER}')\n"  # a script that has written may go on where memory is full; delivering frees it

# Scripts that only call one function of the library. The others are files.
ASK = "return tostring(held(true))"
GRANT = "return granted(tonumber(ARGV[2]))"
OPEN_SECONDS = "return tostring(open_seconds())"
REPORT_ALL = ALLOW_WHEN_FULL + "return reported(cjson.decode(ARGV[2]))"

LOOK_DUE = ALLOW_WHEN_FULL + script("worker.gate", "look_due")
LOOKED = ALLOW_WHEN_FULL + script("worker.gate", "looked")
PAUSE = ALLOW_WHEN_FULL + script("worker.gate", "pause")
# When a request besides those of events may be made, such as one for a page of members.
PAYABLE = script("worker.gate", "payable")
PAY = ALLOW_WHEN_FULL + PAYABLE + script("worker.gate", "pay")
REFUND = script("worker.gate", "refund")
REPORT_READING = ALLOW_WHEN_FULL + script("worker.gate", "report_reading")
RESUME = ALLOW_WHEN_FULL + script("worker.gate", "resume")
STATE = script("worker.gate", "state")


class RequestReport(NamedTuple):
    """What some requests that ended alike came to, as the scripts take it."""

    kind: str  # of the outcome
    requests: int
    seconds: float  # of Mailgun's hint, 0 without one
    why: str
    members: Sequence[str]  # marks of those whom a failure is about; empty: others will tell
    written: bool  # they were to be written, not only read


class HoldChange(NamedTuple):
    """A hold that a report began or ended."""

    kind: str  # throttled, unthrottled, unavailable, available, incident, over
    why: str


@dataclass(frozen=True)
class HoldState:
    """Whether the integration is held, and its pace. Times are epoch seconds by Redis's clock."""

    kind: str | None  # paused, incident, throttled, unavailable; None: it is open
    why: str
    since: float | None
    until: float | None  # None: until it is lifted, or not held
    rate: float | None  # requests a second allowed now; None: nothing limits them
    members: int = 0  # whom failures are about since the last success
    next_look: float | None = None  # when the list is read next, to see whether the hold is over


def keys(integration: str) -> tuple[str, str]:
    """The two keys that every script gets first."""
    keys = Keys(integration)
    return keys.hold, keys.pace


class Gate:
    """The hold and the pace of one integration. Safe to share between threads."""

    def __init__(
        self, redis: "redis.Redis", integration: str, rules: GateConfig, chance: Callable[[], float]
    ) -> None:
        """`chance` gives random numbers in [0, 1)."""
        self.redis = redis
        self.keys = keys(integration)
        self.rules = rules
        self.chance = chance
        self._unused = 0.0  # requests
        self._lock = Lock()

    def seconds_until_open(self) -> float:
        """May the event's first request be made, which was paid for when it was taken? 0, or the seconds for which none may."""
        return float(self._run(self._ask))

    def record(self, reports: Sequence[RequestReport]) -> list[HoldChange]:
        """What came of several requests, in the order in which they ended; gives the holds that this began or ended."""
        return (
            [HoldChange(*each) for each in self._run(self._report_all, json.dumps(reports))]
            if reports
            else []
        )

    def mark(self, address: str) -> str:
        """What stands for a member in a report: no address, and the same for every worker."""
        key = f"signal-mailgun/{self.keys[0]}".encode()[:64]
        return blake2b(address.encode("utf-8", "replace"), key=key, digest_size=6).hexdigest()

    def acquire(self, requests: int) -> int:
        """How many of so many requests may be made now; those are paid for."""
        return int(self._run(self._grant, requests))

    def acquire_background(self) -> tuple[float, float]:
        """May one request be made now that no event was taken for? 0 where it may, and it is charged; else seconds to wait.

        And the moment of this by Redis's clock, epoch seconds.
        """
        wait, at = self._run(self._pay)
        return float(wait), float(at)

    def record_page(self, outcome: Outcome, why: str, now: datetime) -> str:
        """What came of a page of members that was paid by `pay`; gives the hold that this began or ended, or ""."""
        report = reported(outcome, why, now, ["pages"], written=False)
        return str(
            self._run(
                self._report_reading, json.dumps(report), int(outcome.kind is OutcomeKind.UNCHANGED)
            )
        )

    def release(self, requests: float) -> None:
        """So many requests were paid for and not made; where negative, made and not paid for."""
        with self._lock:
            self._unused += requests

    def flush_released(self) -> None:
        """Give back what was not used since the last time."""
        with self._lock:
            unused, self._unused = self._unused, 0.0
        if unused:
            self._run(self._refund, unused)

    def pause(self) -> bool:
        """Hold the integration until `resume`; False when it was paused already."""
        return bool(self._run(self._pause))

    def resume(self, *, at_once: bool = False) -> bool:
        """Lift a pause, an incident, or a hold for unavailability; `at_once`, what Mailgun asked to wait, too.

        False: there was nothing to lift.
        """
        return bool(self._run(self._resume, int(at_once)))

    def claim_incident_check(self) -> str:
        """The hold for whose end the list is to be read now, by this caller alone, or "". To be called once a second.

        It also moves the clock of `open_seconds`.
        """
        return str(self._run(self._look_due))

    def record_incident_check(self, outcome: Outcome, why: str, now: datetime) -> str:
        """The list was read: gives the hold that this began or ended, or "". `unchanged`: it is there."""
        report = reported(outcome, why, now)
        return str(self._run(self._looked, report.kind, report.seconds, report.why))

    def open_seconds(self) -> float:
        """How long Mailgun might be asked in all: a clock that stands still in a hold, or while no worker is there."""
        return float(self._run(self._open_seconds))

    def state(self) -> HoldState:
        """Whether the integration is held now, and its pace."""
        pairs, wait, rate, now, members = self._run(self._state)
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        state = hold_state(fields, float(wait), float(rate) if rate else None, float(now))
        return replace(state, members=int(members))

    def script(self, body: str) -> Any:
        """`body` as a script that starts with the library; call it with `keys` and `args` after the first ones."""
        return self.redis.register_script(LIBRARY + body)

    def first_args(self) -> list[Any]:
        """What every script gets first."""
        return [self.rules.encoded(self.chance())]

    def _run(self, script: Any, *args: Any) -> Any:
        return script(keys=list(self.keys), args=[*self.first_args(), *args])

    _ask = cached_property(lambda self: self.script(ASK))
    _report_all = cached_property(lambda self: self.script(REPORT_ALL))
    _grant = cached_property(lambda self: self.script(GRANT))
    _pay = cached_property(lambda self: self.script(PAY))
    _report_reading = cached_property(lambda self: self.script(REPORT_READING))
    _refund = cached_property(lambda self: self.script(REFUND))
    _pause = cached_property(lambda self: self.script(PAUSE))
    _look_due = cached_property(lambda self: self.script(LOOK_DUE))
    _looked = cached_property(lambda self: self.script(LOOKED))
    _open_seconds = cached_property(lambda self: self.script(OPEN_SECONDS))
    _resume = cached_property(lambda self: self.script(RESUME))
    _state = cached_property(lambda self: self.script(STATE))


def reported(
    outcome: Outcome, why: str, now: datetime, members: Sequence[str] = (), *, written: bool = True
) -> RequestReport:
    """An outcome as the scripts take it."""
    seconds = (outcome.wait_until - now).total_seconds() if outcome.wait_until else 0.0
    return RequestReport(
        outcome.kind.value, outcome.requests, max(0.0, seconds), why, members, written
    )


def hold_state(fields: dict[str, str], wait: float, rate: float | None, now: float) -> HoldState:
    """What the fields of the hold mean."""
    kind = fields.get("kind")
    if "paused" in fields:
        return HoldState("paused", "an operator paused it", float(fields["paused"]), None, rate)
    if float(fields.get("not_before", 0)) > now and kind != "incident":
        until, read_at = float(fields["not_before"]), float(fields["read_at"])
        return HoldState(
            "throttled",
            fields["throttled_why"],
            float(fields["throttled_since"]),
            until,
            rate,
            next_look=read_at if read_at < until else None,
        )
    if kind is None:
        return HoldState(None, "", None, None, rate)
    since, look_at = float(fields["since"]), float(fields["look_at"])
    return HoldState(
        kind,
        fields["why"],
        since,
        now + wait if kind == "unavailable" else None,
        rate,
        next_look=look_at,
    )
