"""One event from the queue, handled: attempted, decided, and the decision carried out before anything is acknowledged."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

import redis

from worker.delivery.attempt import Delivery, why
from worker.delivery.dead_letters import DeadLetters, dead_letter
from worker.delivery.decision import Bury, Decision, Done, Park, Patience, Reason, Standing, decide
from worker.delivery.message import Message, Try
from worker.delivery.parking import Parking
from worker.delivery.roll import Roll
from worker.delivery.tally import Tally
from worker.mailgun.outcome import Kind, Outcome
from worker.privacy import digest, redacted, whereabouts
from worker.signal.event import MalformedEvent, parse_event
from worker.signal.patch import MalformedEmail, Patch, Skip, patch_of
from worker.signal.preset import Preset

logger = logging.getLogger("signal_mailgun.delivery")

WRONG_CLOCK_SECONDS = 86_400.0
LEVELS = {
    Done: logging.INFO,
    Park: logging.INFO,
    Bury: logging.WARNING,
}  # by whose fault: an expected retry is no error


@dataclass(frozen=True)
class Parked:
    """The event waits in Redis until `due`."""

    why: str
    due: datetime


@dataclass(frozen=True)
class Dead:
    """The event is on the dead-letter queue."""

    why: str


Measured = Callable[[Message, Decision, Outcome | None], None]  # the outcome is None where Mailgun was not to be asked


def unmeasured(_message: Message, _decision: Decision, _outcome: Outcome | None) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Handling:
    """How a worker handles the events of one integration."""

    preset: Preset
    delivery: Delivery
    parking: Parking
    dead_letters: DeadLetters
    tally: Tally
    roll: Roll
    patience: Patience
    digest_key: bytes
    clock: Callable[[], datetime]  # UTC
    chance: Callable[[], float]  # random, [0, 1)
    measured: Measured = unmeasured  # told how each event's handling ended

    def handle(self, message: Message) -> Done | Parked | Dead:
        """Bring the event to Mailgun, or park it, or bury it. Raises `redis.RedisError` when Redis did not take it."""
        message = message.seen(self.clock().timestamp())
        try:
            patch = self._patch(message)
        except MalformedEvent as error:
            return self._bury(message, Reason.MALFORMED_EVENT, str(error))
        except MalformedEmail as error:
            return self._bury(message, Reason.MALFORMED_EMAIL, str(error))
        except Exception as error:  # noqa: BLE001  as in an attempt: our own bug must not cost an event
            return self._conclude(message, _crashed(error), None)
        if isinstance(patch, Skip):
            self.delivery.flow.not_asked(probe=message.probe)
            self._tell(message, Done(f"skipped: {patch}"), None, None)
            return Done(f"skipped: {patch}")
        return self._conclude(message, self._attempt(patch, event_time(patch, message)), patch)

    def _patch(self, message: Message) -> Patch | Skip:
        if len(message.args) != 1 or message.kwargs:
            raise MalformedEvent("signal.deliver takes one positional argument: the event")
        return patch_of(parse_event(message.args[0]), self.preset)

    def _conclude(self, message: Message, outcome: Outcome, patch: Patch | None) -> Done | Parked | Dead:
        if not outcome.requests:
            self.delivery.flow.not_asked(probe=message.probe)
        decision = self._decide(message, outcome)
        handled = self._carried_out(message, outcome, decision)
        self._tell(message, decision, outcome, patch)
        return handled

    def _carried_out(self, message: Message, outcome: Outcome, decision: Decision) -> Done | Parked | Dead:
        match decision:
            case Done():
                return decision
            case Park():
                return self._park(message, outcome, decision)
            case Bury(reason):
                return self._bury(message, reason, outcome.answer, outcome)
            case _:
                assert_never(decision)

    def _attempt(self, patch: Patch, at: float) -> Outcome:
        try:
            return self.delivery.attempt(patch, at)
        except redis.RedisError:
            raise  # the event stays on the queue
        except Exception as error:  # noqa: BLE001  our own bug must not cost an event: Celery would acknowledge and forget it
            return _crashed(error)

    def _decide(self, message: Message, outcome: Outcome) -> Decision:
        now = self.clock()
        age = now.timestamp() - (now.timestamp() if message.patience_from is None else message.patience_from)
        standing = Standing(message.attempts, message.throttled, age)
        return decide(outcome, standing, self.patience, now=now, chance=self.chance())

    def _park(self, message: Message, outcome: Outcome, park: Park) -> Parked:
        attempt = Try(self.clock().timestamp(), outcome.kind, outcome.status)
        waited = outcome.kind in {Kind.HELD, Kind.BUSY}
        due = self.parking.park(message.parked() if waited else message.tried(attempt, spent=park.spent), park.delay)
        return Parked(why(outcome), datetime.fromtimestamp(due, UTC))

    def _bury(self, message: Message, reason: Reason, answer: str, outcome: Outcome | None = None) -> Dead:
        status = outcome.status if outcome else None
        if outcome is None:
            self.delivery.flow.not_asked(probe=message.probe)
        else:
            message = message.tried(Try(self.clock().timestamp(), outcome.kind, status), spent=True)
        letter = dead_letter(
            reason,
            message,
            status=status,
            answer=answer,
            died_at=self.clock().timestamp(),
            integration=self.dead_letters.integration,
        )
        self.dead_letters.bury(message, letter)
        if outcome is None:
            self._tell(message, Bury(reason), None, None)
        return Dead(redacted(f"{reason}{f' ({status})' if status else ''}: {answer}"))

    def _tell(self, message: Message, decision: Decision, outcome: Outcome | None, patch: Patch | None) -> None:
        self.tally.count(_said(decision, outcome))
        self.measured(message, decision, outcome)
        self.roll.note(message.id, _said(decision, outcome))
        logger.log(
            LEVELS[type(decision)],
            _said(decision, outcome),
            extra={
                "event": message.id,
                "kind": redacted(message.kind),
                "member": digest(patch.address, self.digest_key) if patch else None,
                "outcome": outcome.kind if outcome else None,
                "status": outcome.status if outcome else None,
                "attempt": message.attempts + 1 if outcome else None,
                "delay_seconds": round(decision.delay, 1) if isinstance(decision, Park) else None,
            },
        )


def _crashed(error: Exception) -> Outcome:
    logger.error("crashed: this is a bug in signal-mailgun, please report it", extra={"error": whereabouts(error)})
    return Outcome(Kind.CRASHED, None, whereabouts(error))


def event_time(patch: Patch, message: Message) -> float:
    """When the event happened, epoch seconds: its own time, else when it was enqueued.

    A time more than a day after that is a wrong clock's: it must not keep newer events from setting the field for years.
    """
    enqueued_at = message.enqueued_at or 0.0
    at = patch.at.timestamp() if patch.at else enqueued_at
    return at if at <= enqueued_at + WRONG_CLOCK_SECONDS else enqueued_at


def _said(decision: Decision, outcome: Outcome | None) -> str:
    match decision:
        case Done(result):
            return result
        case Park(_, spent):
            return "retried" if spent or outcome is None else str(outcome.kind)
        case Bury(reason):
            return f"dead letter: {reason}"
        case _:
            assert_never(decision)
