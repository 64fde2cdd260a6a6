"""Housekeeping: what each worker does once a second beside delivering events.

It requeues due events of the delay queue, restores messages of workers that died, stores counts,
and starts background work when that is due. Background work runs in threads of its own, so that no
step waits for Mailgun.
"""

import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from threading import Thread

import redis
from celery.worker import state

from worker.consumer.lost_fetches import lost_fetches
from worker.consumer.runtime import Runtime
from worker.delivery.deliverer import Deliverer
from worker.members.background_sync import BackgroundSync, SyncLease
from worker.members.opt_outs import OptOutScanner, ScanLease
from worker.monitoring.hold_log import log_opt_outs, log_sync, look_at_list
from worker.privacy import whereabouts
from worker.queue.in_flight import put_back_fetches, restore_overdue
from worker.redis_client.keys import Keys
from worker.wiring import utc_now

logger = logging.getLogger("signal_mailgun.worker")

# The longest wait for a round that another thread runs when the worker ends.
LEAVE_SECONDS = 2.0
VERSION = version("signal-mailgun")
WORKER = f"{socket.gethostname()}:{os.getpid()}"


def run_housekeeping(runtime: Runtime, wait: float = 0.0) -> None:
    """Run one round of housekeeping; the next round tries again what failed.

    Args:
        runtime: The objects of this worker process.
        wait: Seconds to wait for a round that another thread runs. If that round has not ended by
            then, nothing is done.
    """
    parts = runtime.processor
    steps = (
        partial(_adapt_room, runtime),
        runtime.batch_consumer.extend_visibility,
        runtime.batch_consumer.repeats.run,
        parts.delivery.member_store.repeat,
        partial(_put_back_lost, runtime),
        partial(_restore_overdue, runtime),
        runtime.batch_consumer.adopt,
        parts.delay_queue.requeue_due,
        runtime.priority_lists.drain,
        parts.outcome_stats.store,
        partial(_store_worker_state, runtime),
        parts.delivery.gate.flush_released,
        partial(_look_after_hold, parts.delivery),
        partial(_forget_readings, runtime),
        partial(_look_after_opt_outs, runtime),
        partial(_sync_list, runtime),
        partial(_look_for_priority_lists, runtime),
        partial(_look_after_writes, runtime),
        partial(_bound_letters, runtime),
        partial(_look_at_alerts, runtime),
    )
    runtime.rounds.run(steps, wait)


def _adapt_room(runtime: Runtime) -> None:
    consumer = runtime.batch_consumer
    runtime.room.adapt(consumer.in_hand.events, consumer.in_hand.ended_events)


def _put_back_lost(runtime: Runtime) -> None:
    lost = lost_fetches().lost()
    restored = put_back_fetches(
        runtime.processor.delay_queue.redis, runtime.settings.queue, runtime.in_flight_keys, lost
    )
    lost_fetches().looked_for(lost)
    if restored:
        logger.warning(
            "messages that did not reach this worker are back on the queue",
            extra={"messages": restored},
        )


def _restore_overdue(runtime: Runtime) -> None:
    restored = restore_overdue(
        runtime.processor.delay_queue.redis,
        runtime.settings.queue,
        runtime.in_flight_keys,
        # The rest passes until a worker looks.
        runtime.settings.visibility_timeout_seconds * 0.9,
    )
    if restored:
        logger.warning(
            "messages of a worker that ended are back on the queue", extra={"messages": restored}
        )


def _store_worker_state(runtime: Runtime) -> None:
    runtime.processor.worker_registry.store(
        WORKER, runtime.batch_consumer.state(), node=runtime.batch_consumer.node, version=VERSION
    )


def finish(runtime: Runtime) -> None:
    """Wait until what is in hand has ended; meanwhile `status` shows this worker as stopping."""
    with suppress(redis.RedisError):
        _store_worker_state(runtime)
    runtime.batch_consumer.drain(
        runtime.settings.longest_delivery_seconds, partial(_store_worker_state, runtime)
    )


def has_ended(runtime: Runtime) -> bool:
    """Return True if no event is in hand, and no replay, which runs as a task in Celery's pool."""
    return runtime.batch_consumer.has_ended() and not state.active_requests


def leave(runtime: Runtime) -> None:
    """Run a last round of housekeeping, and remove this worker from the registry."""
    run_housekeeping(runtime, LEAVE_SECONDS)
    with suppress(redis.RedisError):
        runtime.processor.worker_registry.leave(WORKER)


def _look_after_hold(delivery: Deliverer) -> None:
    if delivery.gate.claim_incident_check():
        look = partial(look_at_list, delivery.gate, delivery.mailgun, delivery.clock)
        _in_background(look, "the hold could not be looked after")


def _forget_readings(runtime: Runtime) -> None:
    """Forget the readings of the list if this worker overwrites members, without the ledger.

    Else a contact that it creates would count as new once workers trust the ledger again.
    """
    if runtime.settings.mailgun_write_mode == "overwrite":
        keys = Keys(runtime.settings.signal_integration)
        runtime.processor.delay_queue.redis.delete(keys.opt_outs, keys.sync, keys.synced)


def _look_after_opt_outs(runtime: Runtime) -> None:
    opt_outs = runtime.opt_outs
    if opt_outs and (lease := opt_outs.try_start()):
        read = partial(_read_opt_outs, opt_outs, lease)
        _in_background(read, "those who unsubscribed could not be read")


def _read_opt_outs(opt_outs: OptOutScanner, lease: ScanLease) -> None:
    log_opt_outs(opt_outs.run(lease), opt_outs.refresh_seconds)


def _sync_list(runtime: Runtime) -> None:
    sync = runtime.list_sync
    if sync and (lease := sync.try_start()):
        _in_background(partial(_read_list, sync, lease), "the list could not be synced")


def _read_list(sync: BackgroundSync, lease: SyncLease) -> None:
    log_sync(sync.run(lease))


def _look_for_priority_lists(runtime: Runtime) -> None:
    if runtime.priority_lists.try_start():
        # It takes seconds if Redis holds many keys.
        failure = "lists of messages with a priority could not be looked for"
        _in_background(runtime.priority_lists.look, failure)


def _look_after_writes(runtime: Runtime) -> None:
    writes = runtime.late_writes
    if writes and (addresses := writes.due()):
        failure = "writes without an answer could not be looked after"
        _in_background(partial(writes.look, addresses), failure, quiet=redis.RedisError)


def _bound_letters(runtime: Runtime) -> None:
    if runtime.dead_letter_limits.try_start():
        enforce = partial(runtime.dead_letter_limits.enforce, utc_now().timestamp())
        failure = "dead letters beyond their bound could not be removed"
        _in_background(enforce, failure, quiet=redis.RedisError)


def _look_at_alerts(runtime: Runtime) -> None:
    alerting = runtime.alerting
    if alerting and (alert := alerting.look()):
        # The webhook may hang.
        _in_background(
            partial(alerting.send, alert), "alerts could not be sent", quiet=redis.RedisError
        )


def _in_background(
    act: Callable[[], object], failure: str, *, quiet: type[Exception] | tuple[()] = ()
) -> None:
    """Run `act` in a thread of its own; what fails is done again when it is due the next time.

    Args:
        act: The work.
        failure: What is logged if it fails.
        quiet: Errors that mean that Redis does not answer, which are logged for debugging alone.
    """
    Thread(target=_attempt, args=(act, failure, quiet), daemon=True).start()


def _attempt(act: Callable[[], object], failure: str, quiet: type[Exception] | tuple[()]) -> None:
    try:
        act()
    except quiet as error:
        logger.debug("Redis does not answer", extra={"error": type(error).__name__})
    except Exception as error:  # noqa: BLE001  it is due again later
        logger.error(failure, extra={"error": whereabouts(error)})
