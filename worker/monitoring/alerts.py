"""Which alerts are due: a hold that begins or ends, and dead letters that pile up. Pure.

Alerts follow what stands, not what a worker saw happen, so a change is told whoever made it: a
request, the clock, an operator. A hold is told once it matters to people, and is over once it has
not come back for a while, so one trouble that comes and goes is one alert.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict

from worker.gate.holds import HoldState

AlertEvent = Literal["hold_began", "hold_ended", "dead_letters_began", "dead_letters_ended", "test"]

# Seconds that a hold lasts until it is told; a 429's hold is told at once if it will last as long.
TOLD_AFTER = {"paused": 0.0, "incident": 0.0, "unavailable": 10.0, "throttled": 60.0}
# Seconds without the hold after which it is told to be over: a relapse comes sooner.
OVER_AFTER = {"paused": 0.0, "incident": 30.0, "unavailable": 30.0, "throttled": 30.0}

# New dead letters within the period of the alert rule SignalMailgunDeadLetters that are told to
# pile up, and the number below which they no longer do.
PILE = 10
PILE_OVER = 5
PILE_SECONDS = 900.0
SAMPLE_SECONDS = 30.0  # between two counts of the dead letters

# Alerts that wait to be sent; beyond that the oldest are dropped.
MOST_WAITING = 50
# Seconds for which one worker alone sends: longer than a try, with the wait before the next one.
SENDING_SECONDS = 60.0


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ToldHold(_Stored):
    """A hold whose beginning was told.

    Attributes:
        kind: The kind of the hold.
        since: When it began, epoch seconds.
        why: Why the integration is on hold.
        gone: Since when it does not stand; None: it stands.
    """

    kind: str
    since: float
    why: str
    gone: float | None = None


class Sample(_Stored):
    """The number of events that became dead letters until a moment.

    Attributes:
        at: The moment, epoch seconds.
        buried: Reason -> number since the first worker.
    """

    at: float
    buried: dict[str, int]


class Alert(_Stored):
    """One alert. Times are epoch seconds by Redis's clock.

    Attributes:
        number: Its number within the integration; 0 until it is due.
        event: What happened.
        kind: The kind of the hold, or `dead_letters`.
        since: When it began.
        ended: When it ended; None: it stands.
        why: Why the integration is on hold.
        still: The kind of another hold that stands when this one has ended, or "".
        queued: Messages on the queue.
        delayed: Messages in the delay queue.
        letters: Reason -> number of dead letters.
        new: Reason -> number of those that are new within the period.
    """

    number: int = 0
    event: AlertEvent
    kind: str
    since: float
    ended: float | None = None
    why: str = ""
    still: str = ""
    queued: int = 0
    delayed: int = 0
    letters: dict[str, int] = {}
    new: dict[str, int] = {}


class AlertState(_Stored):
    """What was told, and what is still to be sent: the value of `Keys.alerts`.

    Attributes:
        looked_at: When a worker looked last.
        told: The holds that were told and are not over.
        samples: Counts of dead letters within the period, the oldest first.
        piling_since: Since when dead letters pile up; None: they do not.
        waiting: The alerts to be sent, the oldest first.
        last_number: The number of the newest alert.
        sending_until: Until when one worker alone sends.
    """

    looked_at: float = 0.0
    told: tuple[ToldHold, ...] = ()
    samples: tuple[Sample, ...] = ()
    piling_since: float | None = None
    waiting: tuple[Alert, ...] = ()
    last_number: int = 0
    sending_until: float = 0.0


@dataclass(frozen=True)
class Observation:
    """The state of the integration that alerts follow.

    Attributes:
        holds: Every hold that stands.
        buried: Reason -> events that became dead letters since the first worker.
        letters: Reason -> number of dead letters.
        queued: Messages on the queue.
        delayed: Messages in the delay queue.
    """

    holds: Sequence[HoldState]
    buried: Mapping[str, int]
    letters: Mapping[str, int]
    queued: int
    delayed: int


def observed(state: AlertState, seen: Observation, now: float) -> AlertState:
    """Return the state after a look, with the alerts that are due added to those that wait.

    Args:
        state: The state before.
        seen: What was seen.
        now: When, epoch seconds by Redis's clock.
    """
    told, of_holds = _after_holds(state.told, seen.holds, now)
    samples = _sampled(state.samples, seen.buried, now)
    new = Counter(seen.buried) - Counter(samples[0].buried)
    piling_since, of_letters = _after_letters(state.piling_since, new, seen, now)
    alerts = [
        alert.model_copy(
            update={
                "number": number,
                "queued": seen.queued,
                "delayed": seen.delayed,
                "letters": dict(seen.letters),
            }
        )
        for number, alert in enumerate([*of_holds, *of_letters], state.last_number + 1)
    ]
    return state.model_copy(
        update={
            "looked_at": now,
            "told": told,
            "samples": samples,
            "piling_since": piling_since,
            "waiting": (*state.waiting, *alerts)[-MOST_WAITING:],
            "last_number": state.last_number + len(alerts),
        }
    )


def claimed(state: AlertState, now: float) -> AlertState | None:
    """Return the state in which the caller alone sends; None if there is nothing to send for it."""
    # A claim that ends later than any claim can was made before Redis's clock was set back.
    under_way = now < state.sending_until <= now + SENDING_SECONDS
    return None if under_way or not state.waiting else prolonged(state, now)


def prolonged(state: AlertState, now: float) -> AlertState:
    """Return the state in which the caller goes on to send."""
    return state.model_copy(update={"sending_until": now + SENDING_SECONDS})


def without(state: AlertState, now: float, *, number: int) -> AlertState:
    """Return the state without the alert of this number; its sender goes on with the next one."""
    left = tuple(each for each in state.waiting if each.number != number)
    rest = state.model_copy(update={"waiting": left, "sending_until": 0.0})
    return prolonged(rest, now) if left else rest


def _after_holds(
    told: Sequence[ToldHold], holds: Sequence[HoldState], now: float
) -> tuple[tuple[ToldHold, ...], list[Alert]]:
    standing = {str(hold.kind): hold for hold in holds}
    alerts, left = [], []
    for each in told:
        gone = None if each.kind in standing else now if each.gone is None else each.gone
        if gone is not None and now - gone >= OVER_AFTER.get(each.kind, 0.0):
            ended = Alert(
                event="hold_ended",
                kind=each.kind,
                since=each.since,
                ended=gone,
                why=each.why,
                still=next(iter(standing), ""),
            )
            alerts.append(ended)
        else:
            left.append(each.model_copy(update={"gone": gone}))
    known = {each.kind for each in left}
    for kind, hold in standing.items():
        if kind not in known and _is_due(hold, now):
            begun = ToldHold(kind=kind, since=hold.since or now, why=hold.why)
            left.append(begun)
            alerts.append(Alert(event="hold_began", kind=kind, since=begun.since, why=begun.why))
    return tuple(left), alerts


def _is_due(hold: HoldState, now: float) -> bool:
    """Return True if the hold has lasted long enough to be told, or is known to last so long."""
    ends = hold.until if hold.kind == "throttled" and hold.until else now
    return max(now, ends) - (hold.since or now) >= TOLD_AFTER.get(str(hold.kind), 0.0)


def _sampled(
    samples: Sequence[Sample], buried: Mapping[str, int], now: float
) -> tuple[Sample, ...]:
    """Return the samples of the period, and the newest one before it, with one of now if due."""
    last = samples[-1] if samples else None
    # The counts are gone, as after a FLUSHDB, or Redis's clock was set back.
    if last and (last.at > now or sum(last.buried.values()) > sum(buried.values())):
        return (Sample(at=now, buried=dict(buried)),)
    # A sample is needed until the next one is a period old.
    needed = (each for each, later in pairwise(samples) if now - later.at < PILE_SECONDS)
    kept = (*needed, *samples[-1:])
    if not last or now - last.at >= SAMPLE_SECONDS:
        return (*kept, Sample(at=now, buried=dict(buried)))
    return kept


def _after_letters(
    piling_since: float | None, new: Counter[str], seen: Observation, now: float
) -> tuple[float | None, list[Alert]]:
    """Return since when dead letters pile up, and the alert if that has changed.

    `new` is the number of events that became dead letters within the period, by reason.
    """
    there = sum(seen.letters.values())
    if piling_since is None and new.total() >= PILE and there:
        return now, [
            Alert(event="dead_letters_began", kind="dead_letters", since=now, new=dict(new))
        ]
    if piling_since is not None and (new.total() < PILE_OVER or not there):
        ended = Alert(
            event="dead_letters_ended",
            kind="dead_letters",
            since=piling_since,
            ended=now,
            new=dict(new),
        )
        return None, [ended]
    return piling_since, []
