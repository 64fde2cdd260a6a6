"""The Celery application of one integration, and its configuration."""

from functools import cached_property
from typing import Any

from celery import Celery
from kombu import Exchange, Queue, transport

from worker.consumer.runtime import Runtime
from worker.redis_client.keys import Keys
from worker.settings import Settings
from worker.wiring import gate_config_for, limits_for

# Seconds that a reply of Redis may be overdue before kombu drops the connection (kombu's
# `health_check_interval`; its own 25 are too many).
NOTICE_SECONDS = 3

BROKER_SETTINGS = {
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_connection_timeout": 5,
    # Such an error passes: Redis is a replica after a failover, or its memory is full.
    "broker_channel_error_retry": True,
}
TASK_SETTINGS = {
    "task_create_missing_queues": False,
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "task_acks_late": True,
    "task_ignore_result": True,
    "task_send_sent_event": False,
}
WORKER_SETTINGS = {
    # Flower switches them on when it watches a worker.
    "worker_send_task_events": False,
    "worker_pool": "threads",
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_enable_prefetch_count_reduction": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_enable_remote_control": True,
}


class Application(Celery):
    """Celery with this program's worker and its remote control."""

    control_cls = "worker.consumer.remote_control:Control"
    runtime: Runtime

    @cached_property
    def Worker(self) -> Any:  # noqa: N802  Celery's
        """The class of this application's workers."""
        return self.subclass_with_self("worker.consumer.worker_process:Worker")


def celery_app(settings: Settings) -> Application:
    """Return the application for the integration of `settings`.

    Its configuration, which remote control can show, holds no Mailgun secret.
    """
    address = settings.redis_address
    # The transport replaces kombu's own, under the same name. It connects to the address in its
    # options, so the broker's URL, which logs show, needs no password.
    transport.TRANSPORT_ALIASES[address.scheme] = "worker.consumer.transport:Transport"
    # kombu keeps the class that this process may have used before, such as a producer's.
    transport._transport_cache.pop(address.scheme, None)
    app = Application(
        "signal-mailgun", broker=address.first_place, include=["worker.consumer.tasks"]
    )
    app.runtime = Runtime(settings)
    app.conf.update(celery_configuration(app.runtime))
    return app


def celery_configuration(runtime: Runtime) -> dict[str, Any]:
    """Return the settings of Celery.

    Messages are acknowledged late. There is one queue, JSON only, and a pool of threads. What this
    program does not use and would cost time is switched off.
    """
    settings = runtime.settings
    return {
        **BROKER_SETTINGS,
        **TASK_SETTINGS,
        **WORKER_SETTINGS,
        # Without it kombu warns that it will verify no certificate.
        "broker_use_ssl": settings.redis_address.tls is not None,
        "broker_transport_options": transport_options(runtime),
        "task_queues": [queue_named(settings.queue)],
        "task_default_queue": settings.queue,
        "worker_concurrency": settings.worker_concurrency,
    }


def transport_options(runtime: Runtime) -> dict[str, Any]:
    """Return the options of the transport; those that kombu does not know are its attributes."""
    settings = runtime.settings
    index, messages = runtime.in_flight_keys
    return {
        "address": settings.redis_address,
        "health_check_interval": NOTICE_SECONDS,
        "queue": settings.queue,
        "gate_config": gate_config_for(settings).to_json(),
        "priority_steps": [0],
        "signal_keys": Keys(settings.signal_integration),
        "limits": limits_for(settings),
        "on_events": runtime.take_events,
        "on_put_aside": runtime.count_put_aside,
        "on_unused": runtime.release_permits,
        "unacked_key": messages,
        "unacked_index_key": index,
    }


def queue_named(name: str) -> Queue:
    """Return the queue `name`, bound to an exchange of its own."""
    return Queue(name, Exchange(name, type="direct"), routing_key=name)
