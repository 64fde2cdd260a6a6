"""The Celery application, entry point of `celery -A worker.app`.

`celery -A worker.app worker` is a worker, `celery -A worker.app flower` is Flower.
"""

import sys
import threading
from functools import partial
from typing import Any

from celery import signals

from worker.consumer import remote_control
from worker.consumer.application import celery_app, queue_named
from worker.consumer.bootsteps import DrainOnShutdown, Housekeeping
from worker.consumer.housekeeping import has_ended, leave
from worker.consumer.shutdown import end_soon
from worker.consumer.startup import (
    check_redis,
    settings_or_exit,
    tune_python,
    validate_configuration,
)
from worker.monitoring import log
from worker.monitoring.metrics import serve_metrics
from worker.privacy import disclose
from worker.redis_client.keys import Keys

# Threads read messages, too. JSON that is nested as deep as Python lets it be takes more than the
# 128 to 512 KiB of stack that a thread has with musl or on macOS; glibc gives this much.
threading.stack_size(8 * 1024 * 1024)

settings = settings_or_exit()
app = celery_app(settings)
app.steps["consumer"].add(Housekeeping)
app.steps["consumer"].add(DrainOnShutdown)
dead_letters = queue_named(Keys(settings.signal_integration).dead_letters)
remote_control.install(
    remote_control.Commands(settings.queue, lambda: [dict(dead_letters.as_dict(recurse=True))])
)
# Celery's command line loads Flower before it loads this application.
if "flower.urls" in sys.modules:
    # They load Flower, which a worker's image may not have.
    from worker.dashboard import broker_tab, guard, stop_signals, tabs, task_views

    task_views.install()
    tabs.install(settings)
    broker_tab.install()
    guard.install()
    stop_signals.install()


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    log.configure(settings.log_level, settings.log_format)


@signals.celeryd_init.connect
def _disclose_name(sender: str, **_: Any) -> None:
    """Let logs show the worker's own name, whatever --hostname says."""
    disclose(sender)


@signals.worker_init.connect
def _check_settings(**_: Any) -> None:
    """Exit if the worker could not deliver any event."""
    _set_up_logging()  # Celery does this only later
    validate_configuration(app.runtime)
    check_redis(settings)


@signals.celeryd_after_setup.connect
def _start_metrics_server(**_: Any) -> None:
    """Start the server of metrics.

    At this signal logging is set up, and Redis need not answer yet.
    """
    serve_metrics(app.runtime.metrics, settings)


@signals.worker_ready.connect
def _tune_python(**_: Any) -> None:
    tune_python()


@signals.worker_shutting_down.connect
def _end_soon(**_: Any) -> None:
    end_soon(partial(has_ended, app.runtime), settings.longest_delivery_seconds)


@signals.worker_shutdown.connect
def _leave(**_: Any) -> None:
    leave(app.runtime)
