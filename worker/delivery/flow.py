"""When Mailgun may be asked: the hold and the pace of one integration, kept in Redis so that all workers agree.

    signal:<integration>:hold   hash   while it stands: not_before, throttled_since, throttled_why (a 429's hold);
                                       kind, since, until, why, length, probe, probe_at (unavailable or incident); paused
    signal:<integration>:pace   hash   Mailgun's allowance as learned, and the runs that lead to a hold; an hour after use

A 429 holds the integration until its hint says, or with backoff; it ends by time. A run of unavailable answers holds it with
growing length; after each a single event goes ahead as a probe. An incident ends when the list can be read again, a pause by
`resume`. After a hold the flow ramps up: two requests a second, doubling every second for ten seconds.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.resources import files
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.mailgun.outcome import Outcome

if TYPE_CHECKING:
    import redis

UNAVAILABLE_RUN = 10  # unavailable answers in a row, over all workers, that hold the integration
LONGEST_UNAVAILABLE_SECONDS = 60.0  # so that recovery is noticed within a minute
UNTIL_LIFTED_SECONDS = 3600.0  # stands for "nobody knows how long"
PACE_LIVES_SECONDS = 3600
SLOWEST_RATE = 0.2  # requests a second: what is learned from a 429 never stops the flow
FASTEST_RATE = 5000.0  # requests a second: a learned rate that has grown beyond is forgotten

LIBRARY = files("worker.delivery").joinpath("flow.lua").read_text(encoding="utf-8")

FREES = "redis.call('DEL', 'signal:never')\n"  # a script that has written may go on where memory is full; delivering frees it

ASK = "return tostring(held(true))"
REPORT = FREES + "return report(ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5])"
REPORT_ALL = FREES + "return reported(cjson.decode(ARGV[2]))"
GRANT = "return granted(tonumber(ARGV[2]))"
REFUND = "charge(-tonumber(ARGV[2])) return 1"
NOT_A_PROBE = "not_a_probe() return 1"
# One more refusal makes it an incident again: a key may read the list and yet not write its members.
LIFT = """
lift()
redis.call('HDEL', PACE, 'unavailable')
redis.call('HSET', PACE, 'refused', math.max(0, rules.incident_threshold - 1))
return 1
"""
PAUSE = FREES + "return redis.call('HSETNX', HOLD, 'paused', now)"
RESUME = """
local lifted = redis.call('HDEL', HOLD, 'paused')
if redis.call('HEXISTS', HOLD, 'kind') == 1 then redis.call('HDEL', PACE, 'unavailable', 'refused') lifted = 1 end
if lifted == 1 then lift() end
return lifted
"""
PROBE_DUE = """
if redis.call('HGET', HOLD, 'kind') ~= 'incident' or now < number(HOLD, 'probe_at') then return 0 end
if (number(HOLD, 'not_before') or 0) > now then return 0 end
redis.call('HSET', HOLD, 'probe_at', now + rules.incident_probe)
return 1
"""
# What may be asked besides events, such as pages of members.
PAYABLE = """
-- Seconds for which it may not. It needs no whole token, or many workers would leave it none, but takes every other one at most.
local function payable()
    local wait = held(false)
    if wait > 0 then return wait end
    -- The next event is the probe. None has been for so long: there is none, and any answer ends this hold.
    if redis.call('HGET', HOLD, 'kind') == 'unavailable' then
        wait = number(HOLD, 'until') + rules.longest_unavailable - now
        if wait > 0 then return wait end
    end
    local left, allowed = tokens()
    if not left then return 0 end
    return math.max(0, -left / allowed, (number(PACE, 'paid_at') or 0) + 2 / allowed - now)
end
"""
PAY = (
    FREES
    + PAYABLE
    + """
local wait = payable()
if wait == 0 and tokens() then
    charge(1)
    redis.call('HSET', PACE, 'paid_at', now)
end
return {tostring(wait), string.format('%.6f', now)}
"""
)
# That the list can be read does not show that its members can be written: refusals of events go on counting.
REPORT_READING = (
    FREES
    + """
local refused = redis.call('HGET', PACE, 'refused')
local changed = report(ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5])
if refused and redis.call('HEXISTS', PACE, 'refused') == 0 then redis.call('HSET', PACE, 'refused', refused) end
return changed
"""
)
STATE = "local state = redis.call('HGETALL', HOLD) return {state, tostring(held(false)), tostring(rate() or ''), tostring(now)}"


@dataclass(frozen=True)
class Rules:
    """What the scripts need to know of the settings; seconds, except where the name says otherwise."""

    base: float  # RETRY_BASE_SECONDS: the first hold where Mailgun gives no hint
    max_delay: float  # RETRY_MAX_DELAY_SECONDS: the longest such hold
    rate_limit: float  # MAILGUN_RATE_LIMIT: requests a minute, all workers together; 0: only what is learned
    incident_threshold: int  # INCIDENT_THRESHOLD: refusals in a row; 0: no incidents
    incident_probe: float  # INCIDENT_PROBE_SECONDS
    probe_lease: float  # after which a probing event counts as lost
    event_cost: float = 1.0  # requests that an event is charged with when it is taken; less where events share them

    def encoded(self, chance: float = 0.5) -> str:
        """The rules as the scripts read them; `chance` is a random number in [0, 1)."""
        constants = {
            "unavailable_run": UNAVAILABLE_RUN,
            "longest_unavailable": LONGEST_UNAVAILABLE_SECONDS,
            "until_lifted": UNTIL_LIFTED_SECONDS,
            "pace_lives": PACE_LIVES_SECONDS,
            "slowest_rate": SLOWEST_RATE,
            "fastest_rate": FASTEST_RATE,
        }
        return json.dumps({**vars(self), **constants, "chance": chance})


class Report(NamedTuple):
    """What some requests that ended alike came to, as the scripts take it."""

    kind: str  # of the outcome
    requests: int
    seconds: float  # of Mailgun's hint, 0 without one
    why: str


class Change(NamedTuple):
    """A hold that a report began or ended."""

    kind: str  # throttled, unavailable, available, incident
    why: str


@dataclass(frozen=True)
class HoldState:
    """Whether the integration is held, and its pace. Times are epoch seconds by Redis's clock."""

    kind: str | None  # paused, incident, throttled, unavailable; None: it is open
    why: str
    since: float | None
    until: float | None  # None: until it is lifted, or not held
    rate: float | None  # requests a second allowed now; None: nothing limits them


def keys(integration: str) -> tuple[str, str]:
    """The two keys that every script gets first."""
    return f"signal:{integration}:hold", f"signal:{integration}:pace"


class Flow:
    """The hold and the pace of one integration. Safe to share between threads."""

    def __init__(self, redis: "redis.Redis", integration: str, rules: Rules, chance: Callable[[], float]) -> None:
        """`chance` gives random numbers in [0, 1)."""
        self.redis = redis
        self.keys = keys(integration)
        self.rules = rules
        self.chance = chance
        self._unused = 0.0  # requests
        self._lock = Lock()

    def ask(self) -> float:
        """May the event's first request be made, which was paid for when it was taken? 0, or the seconds for which none may."""
        return float(self._run(self._ask))

    def report(self, outcome: Outcome, why: str, now: datetime) -> str:
        """What came of an attempt; gives the hold that this began or ended, or ""."""
        return str(self._run(self._report, *reported(outcome, why, now)))

    def report_all(self, reports: Sequence[Report]) -> list[Change]:
        """What came of several requests, in the order in which they ended; gives the holds that this began or ended."""
        return [Change(*each) for each in self._run(self._report_all, json.dumps(reports))] if reports else []

    def grant(self, requests: int) -> int:
        """How many of so many requests may be made now; those are paid for."""
        return int(self._run(self._grant, requests))

    def pay(self) -> tuple[float, float]:
        """May one request be made now that no event was taken for? 0 where it may, and it is charged; else seconds to wait.

        And the moment of this by Redis's clock, epoch seconds. It never is the probe of a hold for unavailability.
        """
        wait, at = self._run(self._pay)
        return float(wait), float(at)

    def report_reading(self, outcome: Outcome, why: str, now: datetime) -> str:
        """As `report`, of a request that was paid by `pay`."""
        return str(self._run(self._report_reading, *reported(outcome, why, now)))

    def not_asked(self, *, probe: bool) -> None:
        """An event that was taken needed no request: its allowance is free again; if it was the probe, the next one is."""
        self.spare(self.rules.event_cost)
        if probe:
            self.no_probe()

    def spare(self, requests: float) -> None:
        """So many requests were paid for and not made; where negative, made and not paid for."""
        with self._lock:
            self._unused += requests

    def no_probe(self) -> None:
        """The event that was to probe needed no request: the next one is the probe."""
        self._run(self._not_a_probe)

    def refund(self) -> None:
        """Give back what was not used since the last time."""
        with self._lock:
            unused, self._unused = self._unused, 0.0
        if unused:
            self._run(self._refund, unused)

    def pause(self) -> bool:
        """Hold the integration until `resume`; False when it was paused already."""
        return bool(self._run(self._pause))

    def resume(self) -> bool:
        """Lift a pause, an incident, or a hold for unavailability. What Mailgun asked to wait stands. False: nothing to lift."""
        return bool(self._run(self._resume))

    def probe_due(self) -> bool:
        """Is it this caller's turn to look whether an incident is over?"""
        return bool(self._run(self._probe_due))

    def lift(self) -> None:
        """The incident is over."""
        self._run(self._lift)

    def state(self) -> HoldState:
        """Whether the integration is held now, and its pace."""
        pairs, wait, rate, now = self._run(self._state)
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return hold_state(fields, float(wait), float(rate) if rate else None, float(now))

    def script(self, body: str) -> Any:
        """`body` as a script that starts with the library; call it with `keys` and `args` after the first ones."""
        return self.redis.register_script(LIBRARY + body)

    def first_args(self) -> list[Any]:
        """What every script gets first."""
        return [self.rules.encoded(self.chance())]

    def _run(self, script: Any, *args: Any) -> Any:
        return script(keys=list(self.keys), args=[*self.first_args(), *args])

    _ask = cached_property(lambda self: self.script(ASK))
    _report = cached_property(lambda self: self.script(REPORT))
    _report_all = cached_property(lambda self: self.script(REPORT_ALL))
    _grant = cached_property(lambda self: self.script(GRANT))
    _pay = cached_property(lambda self: self.script(PAY))
    _report_reading = cached_property(lambda self: self.script(REPORT_READING))
    _refund = cached_property(lambda self: self.script(REFUND))
    _not_a_probe = cached_property(lambda self: self.script(NOT_A_PROBE))
    _pause = cached_property(lambda self: self.script(PAUSE))
    _resume = cached_property(lambda self: self.script(RESUME))
    _probe_due = cached_property(lambda self: self.script(PROBE_DUE))
    _lift = cached_property(lambda self: self.script(LIFT))
    _state = cached_property(lambda self: self.script(STATE))


def reported(outcome: Outcome, why: str, now: datetime) -> Report:
    """An outcome as the scripts take it."""
    seconds = (outcome.wait_until - now).total_seconds() if outcome.wait_until else 0.0
    return Report(outcome.kind.value, outcome.requests, max(0.0, seconds), why)


def hold_state(fields: dict[str, str], wait: float, rate: float | None, now: float) -> HoldState:
    """What the fields of the hold mean."""
    if "paused" in fields:
        return HoldState("paused", "an operator paused it", float(fields["paused"]), None, rate)
    kind = fields.get("kind")
    if kind == "incident":
        return HoldState(kind, fields["why"], float(fields["since"]), None, rate)
    if wait <= 0:
        return HoldState(None, "", None, None, rate)
    if kind == "unavailable":
        return HoldState(kind, fields["why"], float(fields["since"]), now + wait, rate)
    return HoldState("throttled", fields["throttled_why"], float(fields["throttled_since"]), now + wait, rate)
