"""Event processor: attempts the delivery of events, decides what follows, and carries that out.

Each event is safe in Redis, or done, before its message is acknowledged.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

import redis

from worker.delivery.deliverer import Deliverer
from worker.delivery.event_delivery import EventDelivery, Result
from worker.delivery.event_log import log_batch, log_event
from worker.delivery.member_requests import CHUNK_SIZE
from worker.delivery.outcome_stats import OutcomeStats
from worker.delivery.permits import Permits
from worker.delivery.retry_policy import (
    AGAIN,
    Bury,
    Decision,
    Done,
    RetryPolicy,
    RetryState,
    decide,
)
from worker.delivery.waiting_events import Waiting
from worker.delivery.worker_registry import WorkerRegistry
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.members.merge_plan import TimedPatch
from worker.privacy import whereabouts
from worker.queue.dead_letter import DeadLetterInfo, dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import AttemptRecord, Message
from worker.signal.address import MalformedEmail
from worker.signal.event import MalformedEvent, parse_event
from worker.signal.event_json import why_no_event
from worker.signal.patch import Patch, SkipReason, patch_from_event
from worker.signal.preset import Preset

logger = logging.getLogger("signal_mailgun.delivery")

# Outcomes of attempts that failed, for which the age of the event matters.
FAILED = frozenset(OutcomeKind) - {
    OutcomeKind.ON_HOLD,
    OutcomeKind.LOCKED,
    OutcomeKind.DOUBTFUL,
    OutcomeKind.DELIVERED,
    OutcomeKind.UNCHANGED,
    OutcomeKind.SUPERSEDED,
}


# Called after each event; the outcome is None if there was no attempt.
OnProcessed = Callable[[Message, Decision, Outcome | None], None]


@dataclass(frozen=True)
class EventProcessor:
    """The processor of one integration's events.

    Attributes:
        preset: Maps an event to a patch.
        delivery: Delivers patches to the mailing list.
        delay_queue: Keeps events until their next try.
        waiting: Keeps events until their locked member is free.
        dead_letters: Keeps events that are not tried any more.
        outcome_stats: Counts the results.
        worker_registry: Notes how the latest events ended.
        retry_policy: The limits within which an event is tried.
        digest_key: The key of the digests that stand for addresses in the log.
        clock: Returns the current time, UTC.
        jitter: Returns random numbers in [0, 1).
        on_processed: Called with the decision and the outcome of each event.
    """

    preset: Preset
    delivery: Deliverer
    delay_queue: DelayQueue
    waiting: Waiting
    dead_letters: DeadLetterQueue
    outcome_stats: OutcomeStats
    worker_registry: WorkerRegistry
    retry_policy: RetryPolicy
    digest_key: bytes
    clock: Callable[[], datetime]
    jitter: Callable[[], float]
    on_processed: OnProcessed

    def process(self, messages: Sequence[Message], permits: Permits) -> list[Result]:
        """Deliver each event, or delay it, or bury it.

        Events are delivered together as far as MAILGUN_BATCH_SIZE allows. What follows is decided
        for each event alone.

        Args:
            messages: The messages of the events.
            permits: The requests that were charged when the messages were fetched.

        Returns:
            The result of each event, in the same order.

        Raises:
            redis.RedisError: Redis did not answer. The events are not all safe.
        """
        now = self.clock().timestamp()
        events = [EventDelivery(each.with_timestamps(now)) for each in messages]
        for event in events:
            self._read(event)
        self._attempt([each for each in events if isinstance(each.patch, Patch)], permits)
        clock = self._open_seconds(events)
        for event in events:
            event.decision = event.decision or self._decide(event, clock)
        self._apply_decisions(events, clock)
        self._record_results(events)
        return [each.result() for each in events]

    def _read(self, event: EventDelivery) -> None:
        if refusal := event.message.refusal:
            event.refuse(refusal.reason, refusal.text)
            return
        try:
            patch = self._patch(event.message)
        except MalformedEvent as error:
            event.refuse(DeadLetterReason.MALFORMED_EVENT, str(error))
        except MalformedEmail as error:
            event.refuse(DeadLetterReason.MALFORMED_EMAIL, str(error))
        except Exception as error:  # noqa: BLE001  a bug must not cost an event, as in `_outcomes`
            event.outcome = _crashed(error)
        else:
            if isinstance(patch, SkipReason):
                event.decision = Done(f"skipped: {patch}")
            else:
                event.patch = patch

    def _patch(self, message: Message) -> Patch | SkipReason:
        if len(message.args) != 1 or message.kwargs:
            raise MalformedEvent("signal.deliver takes one positional argument: the event")
        (event,) = message.args
        if isinstance(event, str) and (why := why_no_event(event)):
            raise MalformedEvent(why)
        return patch_from_event(parse_event(event), self.preset)

    def _attempt(self, events: Sequence[EventDelivery], permits: Permits) -> None:
        # Without batches, several members of a bundle are requested at the same time.
        size = max(self.delivery.batch_policy.size, CHUNK_SIZE)
        patches = [each.timed_patch() for each in events]
        outcomes = (self._outcomes(part, permits) for part in _together(patches, size))
        for event, outcome in zip(events, chain.from_iterable(outcomes), strict=True):
            event.outcome = outcome

    def _outcomes(self, patches: Sequence[TimedPatch], permits: Permits) -> list[Outcome]:
        try:
            return self.delivery.deliver(patches, permits)
        except redis.RedisError:
            raise  # the events stay on the queue
        # A bug must not cost an event: Celery would acknowledge and forget it.
        except Exception as error:  # noqa: BLE001
            if len(patches) == 1:
                return [_crashed(error)]
        # One of the events may be the cause, so each is delivered alone.
        return [outcome for patch in patches for outcome in self._outcomes([patch], permits)]

    def _open_seconds(self, events: Sequence[EventDelivery]) -> float:
        """Return the integration's own clock, or 0.0 if no event needs it."""
        matters = any(each.outcome and each.outcome.kind in FAILED for each in events)
        return self.delivery.gate.open_seconds() if matters else 0.0

    def _decide(self, event: EventDelivery, open_seconds: float) -> Decision:
        outcome, message = event.outcome or Outcome(OutcomeKind.CRASHED), event.message
        retry_state = RetryState(
            message.attempts, message.throttled, message.seconds_tried(open_seconds)
        )
        return decide(
            outcome, retry_state, self.retry_policy, now=self.clock(), jitter=self.jitter()
        )

    def _apply_decisions(self, events: Sequence[EventDelivery], open_seconds: float) -> None:
        now = self.clock().timestamp()
        delayed = [
            (each, each.decision.delay)
            for each in events
            if isinstance(each.decision, AGAIN) and not each.is_locked
        ]
        buried = [
            (each, each.decision.reason) for each in events if isinstance(each.decision, Bury)
        ]
        if delayed:
            self._delay(delayed, now, open_seconds)
        if locked := [each for each in events if each.is_locked]:
            self._wait_for_members(locked, now, open_seconds)
        if buried:
            self.dead_letters.bury(
                [self._letter(event, reason, now, open_seconds) for event, reason in buried]
            )

    def _delay(
        self, delayed: Sequence[tuple[EventDelivery, float]], now: float, open_seconds: float
    ) -> None:
        dues = self.delay_queue.add(
            [(event.waiting(now, open_seconds), delay) for event, delay in delayed]
        )
        for (event, _), due in zip(delayed, dues, strict=True):
            again = datetime.fromtimestamp(due, UTC)
            # Until Mailgun's hint is over, the hold keeps the event on the queue.
            hint = event.outcome.wait_until if event.outcome else None
            event.due = max(again, hint) if hint else again

    def _wait_for_members(
        self, events: Sequence[EventDelivery], now: float, open_seconds: float
    ) -> None:
        due = self.waiting.wait(
            [(each.timed_patch().patch.address, each.waiting(now, open_seconds)) for each in events]
        )
        for event in events:
            event.due = datetime.fromtimestamp(due, UTC)

    def _letter(
        self, event: EventDelivery, reason: DeadLetterReason, now: float, open_seconds: float
    ) -> tuple[Message, DeadLetterInfo]:
        message, outcome = event.message, event.outcome
        if outcome:
            message = message.after_attempt(
                AttemptRecord(now, outcome.kind, outcome.status), open_seconds, spent=True
            )
        letter = dead_letter(
            reason,
            message,
            status=outcome.status if outcome else None,
            answer=event.answer,
            died_at=now,
            integration=self.dead_letters.integration,
        )
        return message, letter

    def _record_results(self, events: Sequence[EventDelivery]) -> None:
        labels = Counter(each.outcome_label for each in events)
        for label, number in labels.items():
            self.outcome_stats.count(label, number)
        # Count it once an event, however often the event is tried.
        if whats := [what for each in events if each.has_ended for what in each.not_understood]:
            self.outcome_stats.count_not_understood(whats)
        for event in events:
            self.on_processed(event.message, event.ending, event.outcome)
            self.worker_registry.note(event.message.id, event.outcome_label, *event.ended_as)
            log_event(event, self.digest_key, alone=len(events) == 1)
        if len(events) > 1:
            log_batch(labels)


def _together(patches: Sequence[TimedPatch], members: int) -> Iterator[list[TimedPatch]]:
    """Yield the patches in parts of at most `members` members each, in their order."""
    part: list[TimedPatch] = []
    seen: set[str] = set()
    for timed in patches:
        address = timed.patch.address
        if address not in seen and len(seen) == members:
            yield part
            part, seen = [], set()
        part.append(timed)
        seen.add(address)
    if part:
        yield part


def _crashed(error: Exception) -> Outcome:
    logger.error(
        "crashed: this is a bug in signal-mailgun, please report it",
        extra={"error": whereabouts(error)},
    )
    return Outcome(OutcomeKind.CRASHED, None, whereabouts(error))
