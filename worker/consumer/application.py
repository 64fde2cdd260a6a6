"""The Celery application of one integration, and how Celery is configured for it."""

from functools import cached_property
from typing import Any

from celery import Celery
from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

from worker.consumer.runtime import Runtime
from worker.gate.gate import keys
from worker.redis_client.keys import Keys
from worker.settings import Settings
from worker.wiring import gate_config_for, limits_for

NOTICE_SECONDS = 3  # by which a reply of Redis may be overdue, until the connection counts as lost


class Application(Celery):
    """Celery with this program's worker and its remote control."""

    control_cls = "worker.consumer.remote_control:Control"
    runtime: Runtime

    @cached_property
    def Worker(self) -> Any:  # noqa: N802  Celery's
        """The class of this application's workers."""
        return self.subclass_with_self("worker.consumer.worker_process:Worker")


def celery_app(settings: Settings) -> Application:
    """The application for the integration that `settings` name. It holds no Mailgun secret."""
    address = settings.redis_address
    # In place of kombu's own, under the same name. It connects to the address in its options; what it is called shows no more.
    TRANSPORT_ALIASES[address.scheme] = "worker.consumer.transport:Transport"
    app = Application(
        "signal-mailgun", broker=address.first_place, include=["worker.consumer.tasks"]
    )
    app.runtime = Runtime(settings)
    app.conf.update(celery_configuration(app.runtime))
    return app


def celery_configuration(runtime: Runtime) -> dict[str, Any]:
    """Celery's settings: late acknowledgement, JSON only, threads, one queue, nothing that costs and is not used."""
    settings = runtime.settings
    index, messages = runtime.in_flight_keys
    return {
        "broker_use_ssl": settings.redis_address.tls
        is not None,  # or kombu warns that it will verify nothing
        "broker_transport_options": {
            "address": settings.redis_address,
            "health_check_interval": NOTICE_SECONDS,
            "queue": settings.queue,
            "gate_keys": keys(settings.signal_integration),
            "gate_config": gate_config_for(settings).encoded(),
            "priority_steps": [0],
            "taken_at_key": Keys(settings.signal_integration).fetched_at,
            "integration": settings.signal_integration,
            "limits": limits_for(settings),
            "put_aside_told": runtime.count_put_aside,
            "unacked_key": messages,
            "unacked_index_key": index,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": 5,
        "broker_channel_error_retry": True,  # a replica after a failover, a full memory: it passes
        "task_queues": [queue_named(settings.queue)],
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


def queue_named(name: str) -> Queue:
    """Return the queue of that name, bound to an exchange of its own."""
    return Queue(name, Exchange(name, type="direct"), routing_key=name)
