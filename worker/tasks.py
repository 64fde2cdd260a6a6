"""The Celery tasks, and what a worker does besides: what was handled is told in Celery's terms. The one place that knows both."""

import gc
import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from threading import Thread
from typing import Any

import redis
from celery.exceptions import Reject
from celery.platforms import EX_FAILURE
from celery.worker import state
from kombu.exceptions import OperationalError

from worker.app import app, settings
from worker.assembly import handling_for, look_after_for, opt_outs_for, utc_now
from worker.consuming import Consuming
from worker.delivery.attempt import Delivery
from worker.delivery.handling import Handling
from worker.delivery.in_flight import in_flight_keys, put_back_takings, restore_overdue
from worker.delivery.letter_bounds import LetterBounds
from worker.delivery.look_after import LookAfter
from worker.delivery.message import DELIVER_MANY, REPLAY_TASK, TASK
from worker.delivery.opt_outs import OptOuts, Turn
from worker.delivery.priorities import PriorityLists
from worker.housekeeping import Rounds
from worker.load import load
from worker.operate.holds import look_at_list, tell_of_opt_outs
from worker.operate.metrics import Metrics, serve_metrics
from worker.operate.redis_at_start import tell_of_redis
from worker.operate.replay_by_filter import replayed
from worker.operate.selection import Selection, selected
from worker.printable import printable
from worker.privacy import whereabouts
from worker.settings import SettingsError
from worker.signal.preset import PresetError
from worker.takings import takings

logger = logging.getLogger("signal_mailgun.worker")
LEAVE_SECONDS = 2.0  # for a round of housekeeping that is under way as the worker ends
GARBAGE_AFTER = 50_000  # objects more than before; Python's own 700 are reached every few events
VERSION = version("signal-mailgun")
WORKER = f"{socket.gethostname()}:{os.getpid()}"
_rounds = Rounds()


class WrongFilter(Exception):
    """The replay was asked for with filters that make no sense; nothing was replayed."""


@app.task(name=TASK, Strategy="worker.tasks:delivering", max_retries=None)
def deliver(*_: Any, **__: Any) -> None:
    """Bring one event to Mailgun. One positional argument: the event as sent; anything else is buried as malformed.

    A worker hands the message to `delivering` and never calls this. Raises `NotImplementedError`.
    """
    raise NotImplementedError("events are delivered by a worker: put them on the queue")


@app.task(name=DELIVER_MANY, Strategy="worker.tasks:delivering", max_retries=None)
def deliver_many(*_: Any, **__: Any) -> None:
    """Bring many events to Mailgun, each as `deliver` does. One positional argument: the list of them."""
    deliver()


def delivering(_task: Any, _app: Any, consumer: Any, **_options: Any) -> Callable[..., None]:
    """What a worker does with each message of `signal.deliver` and `signal.deliver_many` (a Celery strategy)."""
    consuming().attach(consumer)

    def take(message: Any, *_: Any, **__: Any) -> None:
        consuming().take(message)

    return take


@app.task(name=REPLAY_TASK, bind=True, throws=(WrongFilter,), max_retries=None)
def replay(task: Any, *args: Any, limit: int | None = None, **filters: Any) -> str:
    """Replay dead letters by filter, from Flower or any Celery client; filters as `dead-letters replay` takes them.

    At most 2,000 at a time, then the rest in a task of its own, so that live events are not kept waiting. What dies again
    after the start is not meant.
    """
    now = utc_now()
    flow = handling().delivery.flow
    try:
        flow.spare(flow.rules.event_cost)
        filters = filters if filters.get("until") is not None else {**filters, "until": now.isoformat()}
        wanted = _wanted(args, limit, filters, now)
        done = replayed(handling().dead_letters, wanted, limit, now.timestamp())
        rest = done.rest(limit)
        if rest is not None:
            task.apply_async(kwargs={**filters, **rest})
    except (redis.RedisError, OperationalError):
        raise Reject(requeue=True) from None
    return f"{done.moved} replayed"


def _wanted(args: tuple[Any, ...], limit: int | None, filters: dict[str, Any], now: datetime) -> Selection:
    if args or not (limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit > 0)):
        raise WrongFilter("signal.replay takes keyword arguments only; limit is a whole number above 0")
    try:
        return selected(now, filters, handling().preset, handling().dead_letters.noted)
    except ValueError as error:
        raise WrongFilter(str(error)) from None


def keep_house(wait: float = 0.0) -> None:
    """Put what is due back on the queue, store counts, look after holds and opt-outs. What fails is tried a second later.

    Does nothing if another thread still keeps house after `wait` seconds.
    """
    parts = handling()
    steps = (
        consuming().keep,
        consuming().repeat,
        parts.delivery.desk.repeat,
        _put_back_lost,
        _restore_overdue,
        consuming().adopt,
        parts.parking.return_due,
        priorities().gather,
        parts.tally.store,
        _tell_roll,
        parts.delivery.flow.refund,
        lambda: _look_after_hold(parts.delivery),
        _look_after_opt_outs,
        _look_for_priority_lists,
        _look_after_writes,
        _bound_letters,
    )
    _rounds.run(steps, wait)


def _put_back_lost() -> None:
    keys, lost = in_flight_keys(settings.signal_integration), takings().lost()
    restored = put_back_takings(handling().parking.redis, settings.queue, keys, lost)
    takings().looked_for(lost)
    if restored:
        logger.warning("messages that did not reach this worker are back on the queue", extra={"messages": restored})


def _restore_overdue() -> None:
    restored = restore_overdue(
        handling().parking.redis,
        settings.queue,
        in_flight_keys(settings.signal_integration),
        settings.visibility_timeout_seconds * 0.9,  # and the rest until it is noticed
    )
    if restored:
        logger.warning("messages of a worker that ended are back on the queue", extra={"messages": restored})


def _tell_roll() -> None:
    handling().roll.store(WORKER, consuming().state(), node=consuming().node, version=VERSION)


def finish() -> None:
    """Handle what is in hand to its end; meanwhile `status` shows this worker as stopping."""
    with suppress(redis.RedisError):
        _tell_roll()
    consuming().finish(settings.longest_delivery_seconds, _tell_roll)


def has_ended() -> bool:
    """Return True if nothing is in hand: no event, and no replay, which runs as a task in Celery's pool."""
    return consuming().has_ended() and not state.active_requests


def leave() -> None:
    """Store the last counts and take this worker off the roll."""
    keep_house(wait=LEAVE_SECONDS)
    with suppress(redis.RedisError):
        handling().roll.leave(WORKER)


def _look_after_hold(delivery: Delivery) -> None:
    if delivery.flow.look_due():
        Thread(target=_look, args=(delivery,), daemon=True).start()  # the worker's loop must not wait for Mailgun


def _look(delivery: Delivery) -> None:
    try:
        look_at_list(delivery.flow, delivery.mailgun, delivery.clock)
    except Exception as error:  # noqa: BLE001  it is tried again after a while
        logger.error("the hold could not be looked after", extra={"error": whereabouts(error)})


def _look_after_opt_outs() -> None:
    reading = opt_outs()
    turn = reading.turn() if reading else None
    if reading and turn:
        Thread(target=_read_opt_outs, args=(reading, turn), daemon=True).start()


def _read_opt_outs(opt_outs: OptOuts, turn: Turn) -> None:
    try:
        tell_of_opt_outs(opt_outs.read(turn), opt_outs.refresh_seconds)
    except Exception as error:  # noqa: BLE001  it is gone on with once the lease has ended
        logger.error("those who unsubscribed could not be read", extra={"error": whereabouts(error)})


def _look_for_priority_lists() -> None:
    if priorities().turn():
        Thread(target=_find_priority_lists, daemon=True).start()  # it may take seconds where Redis holds much


def _find_priority_lists() -> None:
    try:
        priorities().look()
    except Exception as error:  # noqa: BLE001  it is tried again a minute later
        logger.error("lists of messages with a priority could not be looked for", extra={"error": whereabouts(error)})


def _look_after_writes() -> None:
    writes = late_writes()
    addresses = writes.due() if writes else []
    if writes and addresses:
        Thread(target=_look_at, args=(writes, addresses), daemon=True).start()


def _look_at(writes: LookAfter, addresses: list[str]) -> None:
    try:
        writes.look(addresses)
    except redis.RedisError as error:
        logger.debug("Redis does not answer", extra={"error": type(error).__name__})
    except Exception as error:  # noqa: BLE001  they are looked at again once their claim has ended
        logger.error("writes without an answer could not be looked after", extra={"error": whereabouts(error)})


def _bound_letters() -> None:
    if letter_bounds().turn():
        Thread(target=_remove_letters, daemon=True).start()


def _remove_letters() -> None:
    try:
        letter_bounds().enforce(utc_now().timestamp())
    except redis.RedisError as error:
        logger.debug("Redis does not answer", extra={"error": type(error).__name__})
    except Exception as error:  # noqa: BLE001  it is tried again a second later
        logger.error("dead letters beyond their bound could not be removed", extra={"error": whereabouts(error)})


def check_startable() -> None:
    """End the program with one line where a setting or the preset would let no event through."""
    try:
        handling()
    except (SettingsError, PresetError) as error:
        sys.exit(printable(f"signal-mailgun: {error}"))


def check_redis() -> None:
    """End the program with one line if no worker can ever deliver by this Redis; log once what else is wrong there."""
    line = tell_of_redis(settings.redis_url, settings.signal_integration, end=_end_worker)
    if line:
        sys.exit(printable(f"signal-mailgun: {line}"))


def _end_worker(line: str) -> None:
    """End this worker with status 1, from whichever thread."""
    logger.critical("this worker ends: %s", line)
    state.should_stop = EX_FAILURE


def count_put_aside(id: str, reason: str) -> None:
    """Count a message that was put aside unread as what it is now: a dead letter."""
    handling().tally.count(f"dead letter: {reason}")
    handling().roll.note(id, f"dead letter: {reason}")
    metrics().put_aside(reason)


def collect_garbage_seldom() -> None:
    """What is there after the start stays; of what comes with events nearly all goes by itself, without cycles to look for."""
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)


def let_prometheus_scrape() -> None:
    """Serve this process's metrics, unless METRICS_PORT is 0. To be called once, in a worker."""
    serve_metrics(metrics(), settings)


@lru_cache(maxsize=1)
def handling() -> Handling:
    """This process's way of handling events. Raises `SettingsError` or `PresetError`."""
    return handling_for(settings, measured=metrics().handled, observed=metrics().asked)


@lru_cache(maxsize=1)
def consuming() -> Consuming:
    """What this process has in hand."""
    return Consuming(
        handling(),
        settings.queue,
        in_flight_keys(settings.signal_integration),
        load=load(),
        most_bytes=settings.message_max_bytes,
        threads=settings.worker_concurrency,
        visibility_seconds=settings.visibility_timeout_seconds,
    )


@lru_cache(maxsize=1)
def priorities() -> PriorityLists:
    """The lists of messages with a priority."""
    return PriorityLists(handling().parking.redis, settings.signal_integration, settings.queue)


@lru_cache(maxsize=1)
def opt_outs() -> OptOuts | None:
    """This process's part in reading those who unsubscribed; None where the ledger is not trusted."""
    return opt_outs_for(settings, handling().delivery) if settings.mailgun_member_state == "ledger" else None


@lru_cache(maxsize=1)
def late_writes() -> LookAfter | None:
    """This process's part in looking after writes whose end is not known; None where nothing is merged."""
    merges = settings.mailgun_write_mode == "merge"
    return look_after_for(settings, handling().delivery) if merges else None


@lru_cache(maxsize=1)
def letter_bounds() -> LetterBounds:
    """The bounds of dead letters."""
    most, days = settings.dead_letters_max, settings.dead_letters_max_days
    return LetterBounds(handling().dead_letters, most, days, metrics().letter_removed)


@lru_cache(maxsize=1)
def metrics() -> Metrics:
    """What this process tells Prometheus."""
    return Metrics(settings.signal_integration)
