"""Alerts of one integration: what is due is decided in Redis, and one worker at a time sends it.

The state is `Keys.alerts`, one JSON text that a script replaces only if no other worker has done so
since it was read. So workers that look at the same moment add an alert once, and an alert stays
there until it was sent or given up, whichever worker ends meanwhile.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pydantic import ValidationError

from worker.delivery.outcome_stats import OutcomeStats
from worker.monitoring.alert_messages import message
from worker.monitoring.alerts import (
    Alert,
    AlertState,
    Observation,
    claimed,
    observed,
    prolonged,
    without,
)
from worker.monitoring.status import by_known_reason, queued_messages
from worker.monitoring.webhook import Posted, Webhook
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.delay_queue import DelayQueue
from worker.redis_client.clock import redis_now
from worker.redis_client.keys import Keys
from worker.redis_client.lua import ALLOW_WHEN_FULL, script
from worker.settings import Settings
from worker.wiring import gate_for

if TYPE_CHECKING:
    import redis

logger = logging.getLogger("signal_mailgun.alerts")

LOOK_SECONDS = 1.0  # between two looks of all workers together
# Seconds before the second and each further try: the last one comes half a minute after the first.
WAITS = (2.0, 8.0, 20.0)
LIVES_SECONDS = 86_400
MOST_RACES = 5  # how often other workers may be faster until the next look is waited for
BURIED = "dead letter: "  # how the outcomes of dead letters begin

REPLACE = ALLOW_WHEN_FULL + script("worker.monitoring", "alert_state")


class Alerting:
    """The alerts of one integration, and the webhook that gets them."""

    def __init__(
        self,
        settings: Settings,
        store: "redis.Redis",
        webhook: Webhook,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Use the state in `store`.

        Args:
            settings: The settings of the integration.
            store: The client of its Redis.
            webhook: The webhook.
            sleep: Waits so many seconds between two tries.
        """
        self._settings = settings
        self._redis = store
        self._webhook = webhook
        self._sleep = sleep
        self._key = Keys(settings.signal_integration).alerts
        self._replace = store.register_script(REPLACE)

    def look(self) -> Alert | None:
        """Look whether alerts are due, and return the one that the caller is to `send`, if any.

        Raises:
            redis.RedisError: Redis did not answer, or refused.
        """
        self._change(self._looked)
        state = self._change(claimed)
        return state.waiting[0] if state else None

    def send(self, alert: Alert | None) -> None:
        """Send `alert` and those after it; an alert that cannot be sent is logged and dropped.

        Raises:
            redis.RedisError: Redis did not answer, or refused. A worker sends the alert once the
                claim has lapsed.
        """
        while alert:
            self._report(alert, self._tried(alert))
            state = self._change(partial(without, number=alert.number))
            alert = next(iter(state.waiting), None) if state else None

    def _looked(self, state: AlertState, now: float) -> AlertState | None:
        if 0 <= now - state.looked_at < LOOK_SECONDS:
            return None
        return observed(state, read_observation(self._settings, self._redis), now)

    def _tried(self, alert: Alert) -> Posted:
        posted = self._post(alert)
        for wait in WAITS:
            if not posted.again:
                break
            self._sleep(wait)
            self._change(prolonged)
            posted = self._post(alert)
        return posted

    def _post(self, alert: Alert) -> Posted:
        return self._webhook.post(message(self._settings.signal_integration, alert))

    def _report(self, alert: Alert, posted: Posted) -> None:
        facts = {
            "alert": alert.event,
            "kind": alert.kind,
            "host": self._settings.alert_webhook_host,
        }
        if posted.trouble:
            logger.error("an alert could not be sent", extra={**facts, "why": posted.trouble})
        else:
            logger.info("an alert was sent", extra=facts)

    def _change(
        self, change: Callable[[AlertState, float], AlertState | None]
    ) -> AlertState | None:
        """Store what `change` returns, and return it; None if nothing was to be stored."""
        for _ in range(MOST_RACES):
            stored = str(self._redis.get(self._key) or "")
            state = change(state_in(stored), redis_now(self._redis))
            if state is None:
                return None
            new = state.model_dump_json()
            if self._replace(keys=[self._key], args=[stored, new, LIVES_SECONDS]):
                return state
        return None


def alerting_for(settings: Settings, store: "redis.Redis") -> Alerting | None:
    """Return the alerts of the integration; None if ALERT_WEBHOOK_URL is not set."""
    url = settings.alert_webhook_url
    return Alerting(settings, store, Webhook(url)) if url else None


def state_in(stored: str) -> AlertState:
    """Return the stored state; an empty one if there is none that can be read."""
    try:
        return AlertState.model_validate_json(stored) if stored else AlertState()
    except ValidationError:
        return AlertState()


def read_observation(settings: Settings, store: "redis.Redis") -> Observation:
    """Return what alerts follow.

    Raises:
        redis.RedisError: Redis did not answer, or refused.
    """
    where = settings.signal_integration, settings.queue
    letters = by_known_reason(DeadLetterQueue(store, *where).cached_counts())
    totals = OutcomeStats(store, settings.signal_integration).totals()
    return Observation(
        holds=gate_for(settings, store).holds(),
        buried={
            reason: count
            for reason in map(str, DeadLetterReason)
            if (count := totals.get(f"{BURIED}{reason}", 0)) > 0
        },
        letters={reason: count for reason, count in letters.items() if count},
        queued=queued_messages(settings, store),
        delayed=DelayQueue(store, *where).count(),
    )
