"""Celery's remote control of a worker, which Flower and `celery control` use.

A worker answers a command that is switched off with what to do instead. No command ends a worker
but `shutdown`.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery.app import control
from celery.platforms import EX_OK
from celery.worker import state as worker_state
from celery.worker.control import Panel
from kombu import pidbox

from worker.consumer.switched_off import COMMANDS, PURGE, SwitchedOff
from worker.consumer.worker_state import takes_events
from worker.privacy import redacted, whereabouts

if TYPE_CHECKING:
    from worker.consumer.runtime import Runtime

logger = logging.getLogger("signal_mailgun.worker")

Command = Callable[..., Any]
LONGEST_REASON = 200  # characters of an error in a log line or a reply
LONGEST_NAME = 100
SHOWN_AT_ONCE = 100  # messages that `inspect active` lists


class Node(pidbox.Node):
    """A worker's end of the remote control."""

    def handle(self, method: str, arguments: dict[str, Any] | None = None) -> Any:
        """Run the command and return its reply, which says why if the command cannot be run."""
        command = self.handlers.get(method)
        if command is None:
            return _refused(
                method, "there is no such command; see `celery -A worker.app control --list`"
            )
        try:
            return command(self.state, **(arguments or {}))
        except (TypeError, ValueError, ImportError) as error:
            return _refused(method, redacted(str(error))[:LONGEST_REASON])
        except Exception as error:  # noqa: BLE001  a command never ends the worker
            return _refused(method, whereabouts(error))


class Mailbox(pidbox.Mailbox):
    """A mailbox whose workers are nodes of this class."""

    node_cls = Node


class Control(control.Control):
    """The remote control as Flower and other programs use it.

    A command that is switched off raises `SwitchedOff` if the caller waits for no reply.
    """

    Mailbox = Mailbox

    def broadcast(self, command: str, *args: Any, reply: bool = False, **kwargs: Any) -> Any:
        """Send the command to the workers.

        Raises:
            SwitchedOff: The command is switched off, and the caller wants no reply.
        """
        if command in COMMANDS and not reply:
            raise SwitchedOff(f"{command} is {COMMANDS[command]}")
        return super().broadcast(command, *args, reply=reply, **kwargs)

    def purge(self, connection: Any = None) -> int:  # noqa: ARG002  Celery's
        """Raise `SwitchedOff`: a purge would erase events."""
        raise SwitchedOff(f"purge is {PURGE}")

    discard_all = purge


class Commands:
    """Celery's commands as a worker of one queue runs them."""

    def __init__(self, queue: str, extra_queues: Callable[[], list[dict[str, Any]]]) -> None:
        """Keep Celery's own `stats`, which `stats` here calls.

        Args:
            queue: The queue that the worker fetches from.
            extra_queues: Returns queues that the worker lists beside it, so that Flower shows their
                depth.
        """
        self._queue = queue
        self._extra_queues = extra_queues
        self._celerys_stats = Panel.data["stats"]

    def by_name(self) -> dict[str, Command]:
        """Return every command that replaces one of Celery's, by its name."""
        own = (
            self.add_consumer,
            self.cancel_consumer,
            self.active_queues,
            self.stats,
            shutdown,
            active,
            query_task,
        )
        switched_off = {name: _switched_off(name, instead) for name, instead in COMMANDS.items()}
        return {**switched_off, **{each.__name__: each for each in own}}

    def add_consumer(self, state: Any, queue: Any = None, **_: Any) -> dict[str, str]:
        """Fetch events again if the queue is this worker's own."""
        if queue != self._queue:
            why = (
                f"this worker delivers events from {self._queue} only; "
                "for another queue start a worker with its "
            )
            return _refused("add_consumer", f"{why}SIGNAL_INTEGRATION")
        if takes_events(state.consumer, queue):
            return {"ok": f"this worker takes events from {queue} already"}
        state.consumer.add_task_queue(queue)
        logger.warning("this worker takes events again: add_consumer by remote control")
        return {"ok": f"this worker takes events from {queue} again"}

    def cancel_consumer(self, state: Any, queue: Any = None, **_: Any) -> dict[str, str]:
        """Fetch no more events; the worker still handles those in hand."""
        if queue != self._queue or not takes_events(state.consumer, queue):
            return _refused("cancel_consumer", f"this worker takes no events from {_shown(queue)}")
        state.consumer.cancel_task_queue(queue)
        logger.warning("this worker takes no more events: cancel_consumer by remote control")
        text = "this worker takes no more events and ends those in hand; others go on."
        return {
            "ok": f"{text} add_consumer {queue} undoes it; `signal-mailgun pause` stops all workers"
        }

    def active_queues(self, state: Any, **_: Any) -> list[dict[str, Any]]:
        """Return the queues that Flower shows for this worker."""
        consumer = state.consumer.task_consumer
        taken = [dict(each.as_dict(recurse=True)) for each in (consumer.queues if consumer else ())]
        return [*taken, *self._extra_queues()]

    def stats(self, state: Any, **_: Any) -> Any:
        """Return Celery's statistics without the transport options, which may hold a password."""
        told = self._celerys_stats(state)
        told.get("broker", {}).pop("transport_options", None)
        return told


def install(commands: Commands) -> None:
    """Replace Celery's commands by these, for every worker of this process."""
    for name, command in commands.by_name().items():
        Panel.data[name] = command
        if Panel.meta[name].alias:
            Panel.data[Panel.meta[name].alias] = command
    for name, instead in COMMANDS.items():
        # It accepts any arguments, so that Celery's command line sends it and shows the reply.
        Panel.meta[name] = Panel.meta[name]._replace(
            help=f"S{instead[1:]}.", args=None, variadic="words", signature=""
        )


def shutdown(state: Any, **_: Any) -> dict[str, str]:  # noqa: ARG001  Celery's
    """Stop the worker as SIGTERM does."""
    logger.warning("this worker stops: shutdown by remote control")
    worker_state.should_stop = EX_OK
    return {"ok": "this worker ends what it has in hand, then stops"}


def active(state: Any, **_: Any) -> list[dict[str, Any]]:
    """Return the first `SHOWN_AT_ONCE` messages in hand, described as Celery describes tasks."""
    return _in_hand(state)[:SHOWN_AT_ONCE]


def query_task(state: Any, ids: Any = (), **_: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the messages of these ids that this worker has in hand, by their ids."""
    wanted = set(map(str, [ids] if isinstance(ids, str) else ids))
    return {each["id"]: ("active", each) for each in _in_hand(state) if each["id"] in wanted}


def _in_hand(state: Any) -> list[dict[str, Any]]:
    runtime: Runtime = state.app.runtime
    return [{**each, "hostname": state.hostname} for each in runtime.batch_consumer.descriptions()]


def _switched_off(name: str, instead: str) -> Command:
    def answer(_state: Any, **_: Any) -> dict[str, str]:
        return _refused(name, instead)

    return answer


def _refused(method: str, why: str) -> dict[str, str]:
    logger.warning(
        "a remote-control command was refused", extra={"command": _shown(method), "why": why}
    )
    return {"error": f"{_shown(method)}: {why}"}


def _shown(told: Any) -> str:
    return redacted(str(told))[:LONGEST_NAME]
