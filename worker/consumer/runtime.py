"""Runtime: the objects of one worker process, each made when it is first needed."""

from collections.abc import Sequence
from functools import cached_property

from worker.consumer.batch_consumer import BatchConsumer
from worker.consumer.fetched_message import FetchedMessage
from worker.consumer.housekeeping_rounds import Rounds
from worker.consumer.load import load
from worker.consumer.room import Room
from worker.delivery.late_writes import LateWrites
from worker.delivery.processor import EventProcessor
from worker.members.background_sync import BackgroundSync
from worker.members.opt_outs import OptOutScanner
from worker.monitoring.alerting import Alerting, alerting_for
from worker.monitoring.hold_log import log_hold_change
from worker.monitoring.metrics import Metrics
from worker.queue.dead_letter_limits import DeadLetterLimits
from worker.queue.in_flight import in_flight_keys
from worker.queue.priority_lists import PriorityLists
from worker.settings import Settings
from worker.wiring import late_writes_for, list_sync_for, opt_outs_for, processor_for


class Runtime:
    """The objects with which a worker process delivers events, under its settings."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; the properties make the rest when they are first read."""
        self.settings = settings
        self.in_flight_keys = in_flight_keys(settings.signal_integration)
        self.rounds = Rounds()

    @cached_property
    def processor(self) -> EventProcessor:
        """The processor of events.

        Raises:
            SettingsError: A setting is wrong.
            PresetError: The preset cannot be read.
        """
        return processor_for(
            self.settings,
            on_processed=self.metrics.count_event,
            on_request=self.metrics.record_request,
            on_hold_change=log_hold_change,
        )

    @cached_property
    def room(self) -> Room:
        """How many events this worker may have in hand."""
        room = Room(self.settings.worker_concurrency, self.settings.most_in_hand)
        load().room = room
        return room

    @cached_property
    def batch_consumer(self) -> BatchConsumer:
        """The messages in hand."""
        return BatchConsumer(
            self.processor,
            self.settings.queue,
            self.in_flight_keys,
            load=load(),
            room=self.room,
            most_bytes=self.settings.message_max_bytes,
            visibility_seconds=self.settings.visibility_timeout_seconds,
        )

    @cached_property
    def priority_lists(self) -> PriorityLists:
        """The lists of messages with a priority."""
        return PriorityLists(
            self.processor.delay_queue.redis, self.settings.signal_integration, self.settings.queue
        )

    @cached_property
    def opt_outs(self) -> OptOutScanner | None:
        """The scan of members who unsubscribed; None if the ledger is not trusted."""
        trusted = self.settings.trusts_ledger
        return opt_outs_for(self.settings, self.processor.delivery) if trusted else None

    @cached_property
    def list_sync(self) -> BackgroundSync | None:
        """The background sync of the list; None if the ledger is not trusted."""
        if not self.settings.trusts_ledger:
            return None
        return BackgroundSync(list_sync_for(self.settings, self.processor.delivery))

    @cached_property
    def late_writes(self) -> LateWrites | None:
        """The check of writes without an answer; None if members are overwritten, not merged."""
        merges = self.settings.mailgun_write_mode == "merge"
        return late_writes_for(self.settings, self.processor.delivery) if merges else None

    @cached_property
    def dead_letter_limits(self) -> DeadLetterLimits:
        """The limits of the dead-letter queue."""
        most, days = self.settings.dead_letters_max, self.settings.dead_letters_max_days
        return DeadLetterLimits(
            self.processor.dead_letters, most, days, self.metrics.count_removed_letter
        )

    @cached_property
    def alerting(self) -> Alerting | None:
        """The alerts of the integration; None if ALERT_WEBHOOK_URL is not set."""
        return alerting_for(self.settings, self.processor.delay_queue.redis)

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics of this process for Prometheus."""
        return Metrics(self.settings.signal_integration)

    def take_events(self, fetched: Sequence[FetchedMessage]) -> None:
        """Take these messages in hand."""
        self.batch_consumer.add(fetched)

    def count_put_aside(self, id: str, reason: str) -> None:
        """Count a message that was put aside unread as a dead letter.

        Args:
            id: The id of the message.
            reason: The reason of the dead letter.
        """
        self.processor.outcome_stats.count(f"dead letter: {reason}")
        self.processor.worker_registry.note(id, f"dead letter: {reason}")
        self.metrics.count_put_aside(reason)

    def release_permits(self, events: int) -> None:
        """Release the permits of so many fetched events that were put back."""
        gate = self.processor.delivery.gate
        gate.release(events * gate.rules.event_cost)
