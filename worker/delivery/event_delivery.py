"""One event while it is handled: what it wants, what came of its attempt, what follows, and how that ended."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import assert_never

from worker.delivery.retry_policy import Bury, Decision, Done, Retry, Snooze
from worker.mailgun.outcome import Outcome, OutcomeKind, why
from worker.members.merge_plan import TimedPatch
from worker.members.record import UNDATED_AT, EventOrder
from worker.privacy import redacted
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.message import AttemptRecord, Message
from worker.signal.patch import Patch

WRONG_CLOCK_SECONDS = 86_400.0


@dataclass(frozen=True)
class Rescheduled:
    """The event waits in Redis until `due`."""

    why: str
    due: datetime


@dataclass(frozen=True)
class Buried:
    """The event is on the dead-letter queue."""

    why: str


Result = Done | Rescheduled | Buried


@dataclass
class EventDelivery:
    """One event and what is known of it so far."""

    message: Message
    patch: Patch | None = None  # None: it changes no member
    outcome: Outcome | None = None  # of its attempt; None where Mailgun was not to be asked
    decision: Decision | None = None
    refusal: str = ""  # why it can be no event, or of no member
    due: datetime | None = None  # of its next try

    def refuse(self, reason: DeadLetterReason, refusal: str) -> None:
        """It is to be buried without an attempt."""
        self.decision, self.refusal = Bury(reason), refusal

    @property
    def ending(self) -> Decision:
        """What follows. Raises `LookupError` before it is decided."""
        if self.decision is None:
            raise LookupError("nothing is decided yet")
        return self.decision

    @cached_property
    def said(self) -> str:
        """How that ended, as it is counted."""
        return _said(self.ending, self.outcome)

    @property
    def is_busy(self) -> bool:
        """Return whether another delivery has its member."""
        return self.outcome is not None and self.outcome.kind is OutcomeKind.BUSY

    @property
    def answer(self) -> str:
        """Mailgun's words, or ours."""
        return self.outcome.answer if self.outcome else self.refusal

    @property
    def summary(self) -> str:
        """The same as it may be shown."""
        return self.outcome.summary if self.outcome else self.refusal

    def wanted(self) -> TimedPatch:
        """What it wants Mailgun to hold. Raises `LookupError` where it wants nothing."""
        if self.patch is None:
            raise LookupError("the event changes no member")
        last = self.message.attempt_history[-1] if self.message.attempt_history else None
        alone = last is not None and last.status is None and last.outcome == OutcomeKind.UNAVAILABLE
        return TimedPatch(self.patch, order_of(self.patch, self.message), self.message.paid, alone)

    def waiting(self, now: float, open_seconds: float) -> Message:
        """The message to be delayed; `open_seconds` is the integration's own clock."""
        outcome = self.outcome or Outcome(OutcomeKind.CRASHED)
        if outcome.kind in {OutcomeKind.HELD, OutcomeKind.BUSY, OutcomeKind.DOUBTFUL}:
            return self.message.after_wait()
        attempt = AttemptRecord(now, outcome.kind, outcome.status)
        return self.message.after_attempt(
            attempt, open_seconds, spent=outcome.kind is not OutcomeKind.THROTTLED
        )

    def handled(self) -> Result:
        """How that ended."""
        match self.decision, self.due:
            case Done() as done, _:
                return done
            case Bury(reason), _:
                status = f" ({self.outcome.status})" if self.outcome and self.outcome.status else ""
                return Buried(redacted(f"{reason}{status}: {self.summary}"))
            case Retry() | Snooze(), datetime() as due:
                return Rescheduled(why(self.outcome or Outcome(OutcomeKind.CRASHED)), due)
            case _:
                raise LookupError("the event was not handled")


def order_of(patch: Patch, message: Message) -> EventOrder:
    """Return when the event happened, else when it was enqueued; of equals the later enqueued one is the later.

    A time more than a day after it was enqueued is a wrong clock's: it must not keep newer events from setting the field
    for years. One that was not understood counts as before all others.
    """
    enqueued_at = message.enqueued_at or 0.0
    if patch.undated:
        return EventOrder(UNDATED_AT, enqueued_at)
    at = patch.at.timestamp() if patch.at else enqueued_at
    return EventOrder(at if at <= enqueued_at + WRONG_CLOCK_SECONDS else enqueued_at, enqueued_at)


def _said(decision: Decision, outcome: Outcome | None) -> str:
    match decision:
        case Done(result):
            return result
        case Snooze() if outcome is not None:
            return str(outcome.kind)
        case Retry() | Snooze():
            return "retried"
        case Bury(reason):
            return f"dead letter: {reason}"
        case _:
            assert_never(decision)
