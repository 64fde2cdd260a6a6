"""The Celery application: `celery -A worker.app worker` is a worker, and Flower reads its queues here."""

import sys
from collections.abc import Callable
from functools import cached_property
from threading import Event, Thread
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker.consumer import Tasks
from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

from worker import remote_control
from worker.assembly import limits_for, rules_for
from worker.delivery.flow import keys
from worker.delivery.in_flight import in_flight_keys
from worker.operate import flower_answers, flower_guard, log
from worker.printable import printable
from worker.settings import Settings, SettingsError, load_settings
from worker.shutdown import end_soon

KEEP_HOUSE_EVERY_SECONDS = 1.0
NOTICE_SECONDS = 3  # by which a reply of Redis may be overdue, until the connection counts as lost


class Application(Celery):
    """Celery with this program's worker and its remote control."""

    control_cls = "worker.remote_control:Control"

    @cached_property
    def Worker(self) -> Any:  # noqa: N802  Celery's
        """The class of this application's workers."""
        return self.subclass_with_self("worker.worker_process:Worker")


def celery_app(settings: Settings) -> Celery:
    """The application for the integration that `settings` name. It holds no Mailgun secret."""
    address = settings.redis_address
    # In place of kombu's own, under the same name. It connects to the address in its options; what it is called shows no more.
    TRANSPORT_ALIASES[address.scheme] = "worker.broker:Transport"
    app = Application("signal-mailgun", broker=address.first_place, include=["worker.tasks"])
    app.conf.update(celery_configuration(settings))
    return app


def celery_configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings: late acknowledgement, JSON only, threads, one queue, nothing that costs and is not used."""
    index, messages = in_flight_keys(settings.signal_integration)
    return {
        "broker_use_ssl": settings.redis_address.tls is not None,  # or kombu warns that it will verify nothing
        "broker_transport_options": {
            "address": settings.redis_address,
            "health_check_interval": NOTICE_SECONDS,
            "queue": settings.queue,
            "flow_keys": keys(settings.signal_integration),
            "flow_rules": rules_for(settings).encoded(),
            "priority_steps": [0],
            "taken_at_key": f"signal:{settings.signal_integration}:taken_at",
            "integration": settings.signal_integration,
            "limits": limits_for(settings),
            "put_aside_told": _count_put_aside,
            "unacked_key": messages,
            "unacked_index_key": index,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": 5,
        "broker_channel_error_retry": True,  # a replica after a failover, a full memory: it passes
        "task_queues": [_queue(settings.queue)],
        "task_default_queue": settings.queue,
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_acks_late": True,
        "task_ignore_result": True,
        "task_send_sent_event": False,
        "worker_send_task_events": False,  # Flower turns them on where it watches
        "worker_pool": "threads",
        "worker_concurrency": settings.worker_concurrency,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_prefetch_count_reduction": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_enable_remote_control": True,
    }


def _count_put_aside(id: str, reason: str) -> None:
    from worker.tasks import count_put_aside  # noqa: PLC0415  the task module needs this one

    count_put_aside(id, reason)


def _queue(name: str) -> Queue:
    return Queue(name, Exchange(name, type="direct"), routing_key=name)


def _settings_or_exit() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        sys.exit(printable(f"signal-mailgun: {error}"))


settings = _settings_or_exit()
app = celery_app(settings)


remote_control.install(
    remote_control.Commands(settings.queue, lambda: [dict(_queue(settings.dead_letter_queue).as_dict(recurse=True))])
)
if "flower.urls" in sys.modules:  # Celery's command line has loaded Flower before it loads this application
    flower_answers.install()
    flower_guard.install()


class Housekeeping(bootsteps.StartStopStep):
    """Every worker puts parked events that are due back on the queue and stores its counts, once a second."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._ended = Event()
        self._thread: Thread | None = None

    def start(self, consumer: Any) -> None:  # noqa: ARG002  Celery's
        """Keep house from now on, in a thread of its own: Celery's loop must not wait for a Redis that does not answer."""
        from worker.tasks import keep_house  # noqa: PLC0415  the task module needs this one

        self._ended = Event()
        self._thread = Thread(target=_repeat, args=(keep_house, self._ended), name="housekeeping", daemon=True)
        self._thread.start()

    def stop(self, consumer: Any) -> None:  # noqa: ARG002  Celery's
        """Keep house no more."""
        self._ended.set()
        if self._thread:
            self._thread.join(KEEP_HOUSE_EVERY_SECONDS)
            self._thread = None


def _repeat(act: Callable[[], None], ended: Event) -> None:
    while not ended.wait(KEEP_HOUSE_EVERY_SECONDS):
        act()


class Finishing(bootsteps.StartStopStep):
    """A worker that is told to stop ends what it has in hand first; after a lost connection that goes on by itself."""

    requires = (Tasks,)

    def stop(self, consumer: Any) -> None:
        """Handle what is in hand to its end, if the worker ends."""
        from worker.tasks import finish  # noqa: PLC0415  the task module needs this one

        if remote_control.is_stopping() or consumer.controller.exitcode is not None:
            finish()


app.steps["consumer"].add(Housekeeping)
app.steps["consumer"].add(Finishing)


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    log.configure(settings.log_level, settings.log_format)


@signals.import_modules.connect
def _read_queue_depths_in_flower(**_: Any) -> None:
    """Flower imports an application's tasks when it starts, as a worker does; only Flower has its pages by then."""
    if "flower.views" in sys.modules:
        from worker.operate import flower_broker  # noqa: PLC0415  for Flower alone

        flower_broker.install()


@signals.worker_init.connect
def _check_settings(**_: Any) -> None:
    """A worker that could deliver nothing does not start."""
    from worker.tasks import check_redis, check_startable  # noqa: PLC0415  the task module needs this one

    _set_up_logging()  # Celery has this done only after its own start has begun
    check_startable()
    check_redis()


@signals.celeryd_after_setup.connect
def _let_prometheus_scrape(**_: Any) -> None:
    """Logging is set up by now, and Redis need not answer yet."""
    from worker.tasks import let_prometheus_scrape  # noqa: PLC0415  the task module needs this one

    let_prometheus_scrape()


@signals.worker_ready.connect
def _collect_garbage_seldom(**_: Any) -> None:
    from worker.tasks import collect_garbage_seldom  # noqa: PLC0415  the task module needs this one

    collect_garbage_seldom()


@signals.worker_shutting_down.connect
def _end_soon(**_: Any) -> None:
    from worker.tasks import has_ended  # noqa: PLC0415  the task module needs this one

    end_soon(has_ended, settings.longest_delivery_seconds)


@signals.worker_shutdown.connect
def _leave(**_: Any) -> None:
    from worker.tasks import leave  # noqa: PLC0415  the task module needs this one

    leave()
