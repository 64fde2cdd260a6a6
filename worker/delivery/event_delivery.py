"""Delivery of one event: its patch, the outcome of its attempt, the decision, and the result."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import assert_never

from worker.delivery.retry_policy import AGAIN, Bury, Decision, Done, Retry, Snooze
from worker.delivery.worker_registry import TEXT_LENGTH
from worker.mailgun.outcome import Outcome, OutcomeKind, why
from worker.members.merge import fields_of
from worker.members.merge_plan import TimedPatch
from worker.members.record import UNDATED_AT, EventOrder
from worker.printable import printable
from worker.privacy import redacted
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.message import AttemptRecord, Message
from worker.signal.patch import Patch

WRONG_CLOCK_SECONDS = 86_400.0


@dataclass(frozen=True)
class Rescheduled:
    """The event waits in Redis until `due`, because of `why`."""

    why: str
    due: datetime


@dataclass(frozen=True)
class Buried:
    """The event is on the dead-letter queue, because of `why`."""

    why: str


Result = Done | Rescheduled | Buried


@dataclass
class EventDelivery:
    """One event and the state of its delivery.

    Attributes:
        message: The message of the event.
        patch: What the event sets; None if it changes no member, or cannot be read.
        outcome: The outcome of the attempt; None if there was none.
        decision: What follows; None before it is decided.
        refusal: Why the message holds no valid event; empty if it does.
        due: When the next try is due; None if there is none.
    """

    message: Message
    patch: Patch | None = None
    outcome: Outcome | None = None
    decision: Decision | None = None
    refusal: str = ""
    due: datetime | None = None

    def refuse(self, reason: DeadLetterReason, refusal: str) -> None:
        """Decide to bury the event without an attempt.

        Args:
            reason: The reason of the dead letter.
            refusal: Why the message holds no valid event.
        """
        self.decision, self.refusal = Bury(reason), refusal

    @property
    def ending(self) -> Decision:
        """Return the decision.

        Raises:
            LookupError: Nothing is decided yet.
        """
        if self.decision is None:
            raise LookupError("nothing is decided yet")
        return self.decision

    @property
    def has_ended(self) -> bool:
        """Return whether the event is done or buried, and not to be tried again."""
        return not isinstance(self.ending, AGAIN)

    @property
    def not_understood(self) -> Sequence[str]:
        """Return what of the event was not understood, as `Patch.not_understood` names it."""
        return self.patch.not_understood if self.patch else ()

    @property
    def outcome_label(self) -> str:
        """Return the label under which the result is counted and logged."""
        return _outcome_label(self.ending, self.outcome)

    @property
    def ended_as(self) -> tuple[int | None, int, str, tuple[str, ...], str]:
        """Return what is noted of a try besides its label, without personal data.

        Returns:
            The HTTP status, the number of requests, the event's kind, the fields that it sets, and
            what was answered if the event was not delivered.
        """
        outcome = self.outcome
        status, requests = (outcome.status, outcome.requests) if outcome else (None, 0)
        fields = field_names(self.patch) if self.patch else ()
        return status, requests, shown_kind(self.message.kind), fields, self._shown_answer()

    def _shown_answer(self) -> str:
        match self.decision:
            case Done():
                return ""
            case Retry() if self.outcome:
                return redacted(f"{self.outcome.kind}: {self.summary}")[:TEXT_LENGTH]
            case Snooze() | Bury():
                return redacted(self.summary)[:TEXT_LENGTH]
            case _:
                return ""

    @property
    def is_locked(self) -> bool:
        """Return whether another delivery has the member locked."""
        return self.outcome is not None and self.outcome.kind is OutcomeKind.LOCKED

    @property
    def answer(self) -> str:
        """Return Mailgun's answer, or why the message holds no valid event."""
        return self.outcome.answer if self.outcome else self.refusal

    @property
    def summary(self) -> str:
        """Return the answer in a form that operators may see."""
        return self.outcome.summary if self.outcome else self.refusal

    def timed_patch(self) -> TimedPatch:
        """Return the patch with its time.

        Raises:
            LookupError: The event changes no member.
        """
        if self.patch is None:
            raise LookupError("the event changes no member")
        last = self.message.attempt_history[-1] if self.message.attempt_history else None
        alone = last is not None and last.status is None and last.outcome == OutcomeKind.UNAVAILABLE
        return TimedPatch(self.patch, order_of(self.patch, self.message), alone)

    def waiting(self, now: float, open_seconds: float) -> Message:
        """Return the message to delay, with its attempt noted if there was one.

        Args:
            now: The time of the attempt, epoch seconds.
            open_seconds: The integration's own clock.
        """
        outcome = self.outcome or Outcome(OutcomeKind.CRASHED)
        if outcome.kind in {OutcomeKind.ON_HOLD, OutcomeKind.LOCKED, OutcomeKind.DOUBTFUL}:
            return self.message.after_wait()
        attempt = AttemptRecord(now, outcome.kind, outcome.status)
        return self.message.after_attempt(
            attempt, open_seconds, spent=outcome.kind is not OutcomeKind.THROTTLED
        )

    def result(self) -> Result:
        """Return the result.

        Raises:
            LookupError: The decision was not carried out.
        """
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


@lru_cache(maxsize=1000)
def shown_kind(kind: str) -> str:
    """Return a kind as operators may see it."""
    return printable(redacted(kind))[:TEXT_LENGTH]


def field_names(patch: Patch) -> tuple[str, ...]:
    """Return the names of the fields that the patch sets; most events set one of a few sets."""
    return _field_names(patch.name is not None, tuple(patch.vars), patch.consent)


@lru_cache(maxsize=1000)
def _field_names(
    named: bool,  # noqa: FBT001
    variables: tuple[str, ...],
    consent: bool | None,  # noqa: FBT001
) -> tuple[str, ...]:
    name = "" if named else None
    return tuple(fields_of(Patch("", name, dict.fromkeys(variables), consent, None)))


def order_of(patch: Patch, message: Message) -> EventOrder:
    """Return the place of the event among others: by its own time, else by when it was enqueued.

    Of events with the same time, the one enqueued later is the later. A time more than a day after
    the event was enqueued comes from a wrong clock, and is replaced by the enqueue time: else newer
    events could not set the field for years. A time that was not understood is earlier than all
    others.
    """
    enqueued_at = message.enqueued_at or 0.0
    if patch.undated:
        return EventOrder(UNDATED_AT, enqueued_at)
    at = patch.at.timestamp() if patch.at else enqueued_at
    return EventOrder(at if at <= enqueued_at + WRONG_CLOCK_SECONDS else enqueued_at, enqueued_at)


def _outcome_label(decision: Decision, outcome: Outcome | None) -> str:
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
