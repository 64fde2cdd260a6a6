"""Messages of the queue: what one carries, and how it changes with each attempt.

A message carries one event, or as a *bundle* many: a list of them as its only argument. `codec.py`
has its form in Redis.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from worker.privacy import redacted
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.signal.event import id_in, kind_in
from worker.signal.event_json import EventTexts

TASK = "signal.deliver"
DELIVER_MANY = "signal.deliver_many"  # a bundle's
REPLAY_TASK = "signal.replay"  # its arguments are filters, not an event
USABLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
HISTORY_LENGTH = 10
EVENTS = (list, EventTexts)  # the types of a bundle's list of events
APART_SECONDS = 1e-6  # between the enqueue times of a bundle's events
# A time further ahead of a worker's clock is impossible. The fetch script applies a closer limit,
# by Redis's clock (consumer/fetch.lua).
AHEAD_SECONDS = 86_400.0


@dataclass(frozen=True)
class Limits:
    """Limits of the messages that a worker fetches.

    Attributes:
        bytes: The size of one message, as it lies on the queue and when decompressed, and of all
            messages in hand together.
        events: The events of one bundle.
        returns: How often a message may come back from a worker that did not finish it.
    """

    bytes: int
    events: int
    returns: int


# For programs that read messages and deliver none. The decompressed size stays limited.
NO_LIMITS = Limits(32 * 1024 * 1024, 1 << 40, 1 << 40)


@dataclass(frozen=True)
class Refusal:
    """Why a message that could not be read becomes a dead letter."""

    reason: DeadLetterReason
    text: str


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt that did not deliver; `at` is in epoch seconds."""

    at: float
    outcome: str
    status: int | None


@dataclass(frozen=True)
class Message:
    """One event, or a bundle of them, on its way to Mailgun.

    Attributes:
        id: The Celery task id: the event's `messageId` if that is usable.
        args: One event, as sent, or for a bundle one of `EVENTS`; anything else is malformed.
        kwargs: The keyword arguments; an event has none.
        kind: What Flower shows in place of the arguments: no personal data.
        enqueued_at: When it was enqueued, in epoch seconds; None if the producer did not say.
        retry_window_start: When it was enqueued, or last replayed, in epoch seconds.
        first_tried: When it was first tried, by the integration's clock (`Gate.open_seconds`); None
            before that.
        attempts: Attempts spent.
        throttled: How often Mailgun said to wait since the last attempt spent.
        requeues: How often it was delayed; Flower's "retries".
        attempt_history: The latest attempts, oldest first, with those before a replay.
        task: `TASK`, `DELIVER_MANY` for a bundle, or `REPLAY_TASK`.
        refusal: Why it could not be read, else None.
        original: If it could not be read, its text as it came; bytes that are not UTF-8 are
            surrogates (PEP 383).
        size: The length of its body as it was read, in characters.
        returns: How often it came back from a worker that did not finish it, since its last
            attempt.
        bundle: The id of the bundle that its event came in; None if it came alone.
    """

    id: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "event"
    enqueued_at: float | None = None
    retry_window_start: float | None = None
    first_tried: float | None = None
    attempts: int = 0
    throttled: int = 0
    requeues: int = 0
    attempt_history: tuple[AttemptRecord, ...] = ()
    task: str = TASK
    refusal: Refusal | None = None
    original: str | None = None
    size: int = 0
    returns: int = 0
    bundle: str | None = None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments as JSON values: a bundle's events are decoded."""
        return tuple(list(each) if isinstance(each, EventTexts) else each for each in self.args)

    @property
    def content(self) -> Any:
        """What it carries, as a JSON value: its only argument, or else a list of all of them."""
        arguments = self.arguments
        return arguments[0] if len(arguments) == 1 else list(arguments)

    @property
    def events(self) -> int:
        """The number of events that the message carries."""
        return len(self.args[0]) if self.is_bundle else 1

    @property
    def is_bundle(self) -> bool:
        """True if the message carries one list of events.

        A message whose task says bundle and that has other arguments is one malformed event.
        """
        whole = self.task == DELIVER_MANY and len(self.args) == 1 and not self.kwargs
        return whole and isinstance(self.args[0], EVENTS)

    @property
    def last_attempt(self) -> AttemptRecord | None:
        """Its last attempt since it was enqueued or last replayed; None if there was none."""
        was_tried = self.attempts or self.throttled
        return self.attempt_history[-1] if was_tried and self.attempt_history else None

    def after_attempt(
        self, attempt: AttemptRecord, open_seconds: float, *, spent: bool
    ) -> "Message":
        """Return the message after one more attempt that did not deliver.

        Args:
            attempt: The attempt.
            open_seconds: The integration's clock.
            spent: The attempt counts, since Mailgun failed; it does not if Mailgun said to wait.
        """
        return replace(
            self.after_wait(),
            first_tried=open_seconds - self.seconds_tried(open_seconds),
            attempts=self.attempts + spent,
            throttled=0 if spent else self.throttled + 1,
            returns=0,
            attempt_history=(*self.attempt_history, attempt)[-HISTORY_LENGTH:],
        )

    def after_wait(self) -> "Message":
        """Return the message after a wait without an attempt."""
        return replace(self, requeues=self.requeues + 1)

    def seconds_tried(self, open_seconds: float) -> float:
        """Return the seconds since the first attempt, by the integration's clock.

        Returns 0.0 if the clock is behind the first attempt: Redis was emptied, and the clock began
        anew.
        """
        if self.first_tried is None or self.first_tried > open_seconds:
            return 0.0
        return open_seconds - self.first_tried

    def with_timestamps(self, now: float) -> "Message":
        """Return the message with its times set: a time that the producer did not say is `now`.

        So is a time more than `AHEAD_SECONDS` ahead of `now`: it would keep newer events from
        setting a field, and the retry window from ending.
        """
        enqueued_at = _bounded(self.enqueued_at, now)
        retry_window_start = (
            enqueued_at
            if self.retry_window_start is None
            else _bounded(self.retry_window_start, now)
        )
        if (enqueued_at, retry_window_start) == (self.enqueued_at, self.retry_window_start):
            return self
        return _changed(self, enqueued_at=enqueued_at, retry_window_start=retry_window_start)

    def reset_for_replay(self, now: float) -> "Message":
        """Return the message with a new retry window; when it was enqueued stays known."""
        return replace(
            self, attempts=0, throttled=0, retry_window_start=now, first_tried=None, returns=0
        )


def unbundle(message: Message) -> list[Message]:
    """Return the events of `message`, each as a message of its own, in order.

    The id of a bundle's event is its own `messageId` if that is usable, else the bundle's id and
    the event's position, counted from 0. Each event counts as enqueued a microsecond after the one
    before it, so that their order is known. A message that is no bundle is returned itself.
    """
    return list(each_event(message))


def each_event(message: Message) -> Iterator[Message]:
    """Yield what `unbundle` returns, so that not all events of a bundle are decoded at once."""
    if not message.is_bundle:
        return iter((message,))
    return (_carried(message, place, event) for place, event in enumerate(message.args[0]))


def _carried(bundle: Message, place: int, event: object) -> Message:
    known = event if isinstance(event, dict) else {}
    return _changed(
        bundle,
        id=usable_id(id_in(known)) or f"{bundle.id}.{place}",
        args=(event,),
        kind=redacted(kind_in(known)) or "not an event",
        enqueued_at=None
        if bundle.enqueued_at is None
        else bundle.enqueued_at + place * APART_SECONDS,
        task=TASK,
        bundle=bundle.id,
    )


def _changed(message: Message, **changes: Any) -> Message:
    """Return what `dataclasses.replace` returns, in a fifth of its time.

    It copies the instance's dictionary, which holds the fields and nothing else.
    """
    changed = object.__new__(Message)
    vars(changed).update(vars(message), **changes)
    return changed


def usable_id(value: object) -> str | None:
    """Return `value` if it can serve as a task id and is safe to show, else None."""
    return value if isinstance(value, str) and USABLE_ID.fullmatch(value) else None


def _bounded(moment: float | None, now: float) -> float:
    return now if moment is None or moment > now + AHEAD_SECONDS else moment
