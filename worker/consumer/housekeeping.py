"""Housekeeping: what each worker does once a second beside delivering events.

It requeues due events of the delay queue, restores messages of workers that died, stores counts,
and starts background work when that is due. Background work runs in threads of its own, so that no
step waits for Mailgun.
"""

import logging
import os
import socket
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from threading import Thread

import redis
from celery.worker import state

from worker.consumer.lost_fetches import lost_fetches
from worker.consumer.runtime import Runtime
from worker.delivery.deliverer import Deliverer
from worker.delivery.late_writes import LateWrites
from worker.members.opt_outs import OptOutScanner, ScanLease
from worker.monitoring.hold_log import look_at_list, tell_of_opt_outs
from worker.privacy import whereabouts
from worker.queue.dead_letter_limits import DeadLetterLimits
from worker.queue.in_flight import put_back_takings, restore_overdue
from worker.queue.priority_lists import PriorityLists
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
        runtime.batch_consumer.extend_visibility,
        runtime.batch_consumer.repeat,
        parts.delivery.member_store.repeat,
        partial(_put_back_lost, runtime),
        partial(_restore_overdue, runtime),
        runtime.batch_consumer.adopt,
        parts.delay_queue.requeue_due,
        runtime.priority_lists.drain,
        parts.outcome_stats.store,
        partial(_tell_roll, runtime),
        parts.delivery.gate.flush_released,
        partial(_look_after_hold, parts.delivery),
        partial(_look_after_opt_outs, runtime),
        partial(_look_for_priority_lists, runtime),
        partial(_look_after_writes, runtime),
        partial(_bound_letters, runtime),
    )
    runtime.rounds.run(steps, wait)


def _put_back_lost(runtime: Runtime) -> None:
    lost = lost_fetches().lost()
    restored = put_back_takings(
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


def _tell_roll(runtime: Runtime) -> None:
    runtime.processor.worker_registry.store(
        WORKER, runtime.batch_consumer.state(), node=runtime.batch_consumer.node, version=VERSION
    )


def finish(runtime: Runtime) -> None:
    """Wait until what is in hand has ended; meanwhile `status` shows this worker as stopping."""
    with suppress(redis.RedisError):
        _tell_roll(runtime)
    runtime.batch_consumer.drain(
        runtime.settings.longest_delivery_seconds, partial(_tell_roll, runtime)
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
        Thread(target=_look, args=(delivery,), daemon=True).start()


def _look(delivery: Deliverer) -> None:
    try:
        look_at_list(delivery.gate, delivery.mailgun, delivery.clock)
    except Exception as error:  # noqa: BLE001  a later incident check tries again
        logger.error("the hold could not be looked after", extra={"error": whereabouts(error)})


def _look_after_opt_outs(runtime: Runtime) -> None:
    reading = runtime.opt_outs
    turn = reading.try_start() if reading else None
    if reading and turn:
        Thread(target=_read_opt_outs, args=(reading, turn), daemon=True).start()


def _read_opt_outs(opt_outs: OptOutScanner, turn: ScanLease) -> None:
    try:
        tell_of_opt_outs(opt_outs.run(turn), opt_outs.refresh_seconds)
    except Exception as error:  # noqa: BLE001  a worker goes on once the lease has ended
        logger.error(
            "those who unsubscribed could not be read", extra={"error": whereabouts(error)}
        )


def _look_for_priority_lists(runtime: Runtime) -> None:
    if runtime.priority_lists.turn():
        # It takes seconds if Redis holds many keys.
        Thread(target=_find_priority_lists, args=(runtime.priority_lists,), daemon=True).start()


def _find_priority_lists(priorities: PriorityLists) -> None:
    try:
        priorities.look()
    except Exception as error:  # noqa: BLE001  a worker tries again a minute later
        logger.error(
            "lists of messages with a priority could not be looked for",
            extra={"error": whereabouts(error)},
        )


def _look_after_writes(runtime: Runtime) -> None:
    writes = runtime.late_writes
    addresses = writes.due() if writes else []
    if writes and addresses:
        Thread(target=_look_at, args=(writes, addresses), daemon=True).start()


def _look_at(writes: LateWrites, addresses: list[str]) -> None:
    try:
        writes.look(addresses)
    except redis.RedisError as error:
        logger.debug("Redis does not answer", extra={"error": type(error).__name__})
    except Exception as error:  # noqa: BLE001  a worker looks again once the claim has ended
        logger.error(
            "writes without an answer could not be looked after",
            extra={"error": whereabouts(error)},
        )


def _bound_letters(runtime: Runtime) -> None:
    if runtime.dead_letter_limits.turn():
        Thread(target=_remove_letters, args=(runtime.dead_letter_limits,), daemon=True).start()


def _remove_letters(bounds: DeadLetterLimits) -> None:
    try:
        bounds.enforce(utc_now().timestamp())
    except redis.RedisError as error:
        logger.debug("Redis does not answer", extra={"error": type(error).__name__})
    except Exception as error:  # noqa: BLE001  a worker tries again a second later
        logger.error(
            "dead letters beyond their bound could not be removed",
            extra={"error": whereabouts(error)},
        )
