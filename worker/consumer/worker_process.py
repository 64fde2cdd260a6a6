"""Celery's worker process: the options that it accepts, and its exit status."""

import logging
import sys
from typing import Any

from celery.apps import worker
from celery.exceptions import WorkerTerminate
from celery.platforms import EX_FAILURE

from worker.printable import printable
from worker.privacy import whereabouts

logger = logging.getLogger("signal_mailgun.worker")

# Options of `celery worker` that would lose events, keep a worker from fetching any, or change
# nothing although they seem to.
REFUSED = {
    "purge": "--purge would erase events; leave it out",
    "queues": "--queues: a worker takes its events from {queue} only; set SIGNAL_INTEGRATION",
    "exclude_queues": (
        "--exclude-queues: a worker takes its events from {queue} only; set SIGNAL_INTEGRATION"
    ),
    "beat": "--beat: nothing is scheduled here; leave it out",
    "autoscale": "--autoscale: set WORKER_CONCURRENCY, or start more workers",
    "max_tasks_per_child": ("--max-tasks-per-child: there is no child process; leave it out"),
    "max_memory_per_child": ("--max-memory-per-child: there is no child process; leave it out"),
    "time_limit": (
        "--time-limit: set MAILGUN_CONNECT_TIMEOUT_SECONDS and MAILGUN_READ_TIMEOUT_SECONDS"
    ),
    "soft_time_limit": (
        "--soft-time-limit: set MAILGUN_CONNECT_TIMEOUT_SECONDS and MAILGUN_READ_TIMEOUT_SECONDS"
    ),
    "prefetch_multiplier": "--prefetch-multiplier: set WORKER_CONCURRENCY",
}
# Celery's command line passes the configured value if the operator gives none.
UNSET_PREFETCH = ("prefetch_multiplier", 1)


class Worker(worker.Worker):
    """A worker of one integration, without gossip and mingle.

    Nothing here uses these messages between workers, and they cost time.
    """

    def __init__(self, app: Any = None, hostname: Any = None, **options: Any) -> None:
        queue = (app or self.app).conf.task_default_queue
        why = refused_option(options, queue)
        if why:
            sys.exit(printable(f"signal-mailgun: {why}"))
        options |= {"queues": None, "without_gossip": True, "without_mingle": True}
        super().__init__(app, hostname, **options)

    def start(self) -> None:
        """Run until told to stop; an error ends the worker with one line and exit status 1."""
        try:
            self.blueprint.start(self)
        except WorkerTerminate:
            self.terminate()
        except Exception as error:  # noqa: BLE001  its text may quote an event
            logger.critical("an error ends this worker", extra={"error": whereabouts(error)})
            self.stop(exitcode=EX_FAILURE)
        except SystemExit as ending:
            self.stop(exitcode=ending.code)
        except KeyboardInterrupt:
            self.stop(exitcode=EX_FAILURE)

    def terminate(self, in_sighandler: bool = False) -> None:  # noqa: FBT001, FBT002  Celery's
        """Stop without waiting for Celery's pool, with exit status 1."""
        self.exitcode = EX_FAILURE
        super().terminate(in_sighandler)


def refused_option(options: dict[str, Any], queue: str) -> str | None:
    """Return why a worker with these options does not start, None if it starts.

    Args:
        options: The options of `celery worker`.
        queue: The queue that the worker fetches from.
    """
    pool = options.get("pool") or options.get("pool_cls") or "threads"
    name = pool if isinstance(pool, str) else f"{pool.__module__}:{pool.__name__}"
    if name not in {"threads", "celery.concurrency.thread:TaskPool"}:
        return (
            "--pool: events are handled in the worker itself, "
            f"not in {name.partition(':')[0].rpartition('.')[2]}; leave it out"
        )
    if options.get("queues") and set(_listed(options["queues"])) == {queue}:
        options = {**options, "queues": None}
    given = (
        name for name in REFUSED if options.get(name) and (name, options[name]) != UNSET_PREFETCH
    )
    refused = next(given, None)
    return REFUSED[refused].format(queue=queue) if refused else None


def _listed(names: Any) -> list[str]:
    return names.split(",") if isinstance(names, str) else list(names)
