"""The Celery application: `celery -A worker.app worker` is a worker, and Flower reads its queues here."""

import sys
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker import state
from celery.worker.consumer import Tasks
from celery.worker.control import Panel, inspect_command
from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

from worker.assembly import rules_for
from worker.delivery.flow import keys
from worker.operate import log
from worker.settings import Settings, SettingsError, load_settings
from worker.store import master_name

KEEP_HOUSE_EVERY_SECONDS = 1.0


# In place of kombu's own, under the same names: Flower and Celery's banner know a broker by its address's scheme.
TRANSPORTS = {
    "redis": "worker.broker:Transport",
    "rediss": "worker.broker:Transport",
    "sentinel": "worker.broker:SentinelTransport",
}


def celery_app(settings: Settings) -> Celery:
    """The application for the integration that `settings` name. It holds no Mailgun secret."""
    TRANSPORT_ALIASES.update(TRANSPORTS)
    app = Celery("signal-mailgun", broker=settings.redis_url, include=["worker.tasks"])
    app.conf.update(celery_configuration(settings))
    return app


def celery_configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings: late acknowledgement, JSON only, threads, one queue, nothing that costs and is not used."""
    index, key = unacked_keys(settings.signal_integration)
    sentinel = {"master_name": master_name(settings.redis_url)} if settings.redis_url.startswith("sentinel://") else {}
    return {
        "broker_transport_options": {
            "queue": settings.queue,
            "flow_keys": keys(settings.signal_integration),
            "flow_rules": rules_for(settings).encoded(),
            "priority_steps": [0],
            "visibility_timeout": settings.visibility_timeout_seconds * 0.9,  # and the rest until it is noticed
            "unacked_restore_interval": max(1.0, settings.visibility_timeout_seconds * 0.05),
            "unacked_restore_throttle": 1,
            "unacked_key": key,
            "unacked_index_key": index,
            "unacked_mutex_key": f"{key}_mutex",
            "unacked_mutex_expire": 10,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            **sentinel,
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


def unacked_keys(integration: str) -> tuple[str, str]:
    """The keys of what workers have taken and not acknowledged: the index by time, and the messages."""
    return f"signal:{integration}:unacked_index", f"signal:{integration}:unacked"


def _queue(name: str) -> Queue:
    return Queue(name, Exchange(name, type="direct"), routing_key=name)


def _settings_or_exit() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        sys.exit(f"signal-mailgun: {error}")


settings = _settings_or_exit()
app = celery_app(settings)


# A revoked task is acknowledged and forgotten. `pause` stops events, `forget` and `purge` remove them.
for _command in ("revoke", "revoke_by_stamped_headers", "terminate", "time_limit", "rate_limit"):
    Panel.data.pop(_command, None)


class Housekeeping(bootsteps.StartStopStep):
    """Every worker puts parked events that are due back on the queue and stores its counts, once a second."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """Keep house from now on."""
        from worker.tasks import keep_house  # noqa: PLC0415  the task module needs this one

        self._timer = consumer.timer.call_repeatedly(KEEP_HOUSE_EVERY_SECONDS, keep_house)

    def stop(self, consumer: Any) -> None:  # noqa: ARG002  Celery's
        """Keep house no more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None


class Finishing(bootsteps.StartStopStep):
    """A worker that is told to stop ends what it has in hand first; after a lost connection that goes on by itself."""

    requires = (Tasks,)

    def stop(self, consumer: Any) -> None:  # noqa: ARG002  Celery's
        """Handle what is in hand to its end, if the worker ends."""
        from worker.tasks import consuming  # noqa: PLC0415  the task module needs this one

        if state.should_stop is not None or state.should_terminate is not None:
            consuming().finish(settings.longest_delivery_seconds)


app.steps["consumer"].add(Housekeeping)
app.steps["consumer"].add(Finishing)


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    log.configure(settings.log_level, settings.log_format)


@signals.worker_init.connect
def _check_settings(**_: Any) -> None:
    """A worker that could deliver nothing does not start."""
    from worker.tasks import check_redis, check_startable  # noqa: PLC0415  the task module needs this one

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


@signals.worker_shutdown.connect
def _store_last_counts(**_: Any) -> None:
    from worker.tasks import keep_house  # noqa: PLC0415  the task module needs this one

    keep_house()


@inspect_command(alias="dump_active_queues")
def active_queues(state: Any) -> list[dict[str, Any]]:
    """The queues for Flower's Broker tab: what this worker consumes, and the dead letters that nobody does."""
    consumed = (
        [dict(queue.as_dict(recurse=True)) for queue in state.consumer.task_consumer.queues]
        if state.consumer.task_consumer
        else []
    )
    return [*consumed, dict(_queue(settings.dead_letter_queue).as_dict(recurse=True))]
