"""Celery's remote control of a worker, for Flower and `celery control`: what it may do here, and what it answers.

A command that is switched off is answered with what to do instead. Whatever arrives, the worker goes on.
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
LONGEST_REASON = 200  # characters that a log or a reply repeats
LONGEST_NAME = 100
SHOWN_AT_ONCE = 100  # messages in hand that `inspect active` lists


class Node(pidbox.Node):
    """A worker's end of the remote control."""

    def handle(self, method: str, arguments: dict[str, Any] | None = None) -> Any:
        """Carry out the command and return its reply; what cannot be carried out is answered with why."""
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
    """The mailbox of workers that are such nodes."""

    node_cls = Node


class Control(control.Control):
    """The remote control as Flower and other programs hold it: what is switched off raises, where no worker is waited for."""

    Mailbox = Mailbox

    def broadcast(self, command: str, *args: Any, reply: bool = False, **kwargs: Any) -> Any:
        """Send the command to the workers. Raises `SwitchedOff` where no reply could say so."""
        if command in COMMANDS and not reply:
            raise SwitchedOff(f"{command} is {COMMANDS[command]}")
        return super().broadcast(command, *args, reply=reply, **kwargs)

    def purge(self, connection: Any = None) -> int:  # noqa: ARG002  Celery's
        """Raise `SwitchedOff`."""
        raise SwitchedOff(f"purge is {PURGE}")

    discard_all = purge


class Commands:
    """Celery's commands as workers of one queue carry them out."""

    def __init__(self, queue: str, extra_queues: Callable[[], list[dict[str, Any]]]) -> None:
        """`extra_queues` are described beside the queue that a worker takes from, so that Flower shows their depth."""
        self._queue = queue
        self._extra_queues = extra_queues
        self._celerys_stats = Panel.data["stats"]

    def by_name(self) -> dict[str, Command]:
        """Return every command that replaces one of Celery's."""
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
        """Take events again, if the queue is this worker's own."""
        if queue != self._queue:
            why = f"this worker delivers events from {self._queue} only; for another queue start a worker with its "
            return _refused("add_consumer", f"{why}SIGNAL_INTEGRATION")
        if takes_events(state.consumer, queue):
            return {"ok": f"this worker takes events from {queue} already"}
        state.consumer.add_task_queue(queue)
        logger.warning("this worker takes events again: add_consumer by remote control")
        return {"ok": f"this worker takes events from {queue} again"}

    def cancel_consumer(self, state: Any, queue: Any = None, **_: Any) -> dict[str, str]:
        """Take no more events; those in hand are handled to their end."""
        if queue != self._queue or not takes_events(state.consumer, queue):
            return _refused("cancel_consumer", f"this worker takes no events from {_shown(queue)}")
        state.consumer.cancel_task_queue(queue)
        logger.warning("this worker takes no more events: cancel_consumer by remote control")
        text = "this worker takes no more events and ends those in hand; others go on."
        return {
            "ok": f"{text} add_consumer {queue} undoes it; `signal-mailgun pause` stops all workers"
        }

    def active_queues(self, state: Any, **_: Any) -> list[dict[str, Any]]:
        """Return the queues that Flower shows."""
        consumer = state.consumer.task_consumer
        taken = [dict(each.as_dict(recurse=True)) for each in (consumer.queues if consumer else ())]
        return [*taken, *self._extra_queues()]

    def stats(self, state: Any, **_: Any) -> Any:
        """Return what Celery does, without how this worker connects: operators need none of it, and it may hold a password."""
        told = self._celerys_stats(state)
        told.get("broker", {}).pop("transport_options", None)
        return told


def install(commands: Commands) -> None:
    """Put these commands in place of Celery's."""
    for name, command in commands.by_name().items():
        Panel.data[name] = command
        if Panel.meta[name].alias:
            Panel.data[Panel.meta[name].alias] = command
    for name, instead in COMMANDS.items():
        # Any arguments will do, so that Celery's command line sends it and shows the reply.
        Panel.meta[name] = Panel.meta[name]._replace(
            help=f"S{instead[1:]}.", args=None, variadic="words", signature=""
        )


def shutdown(state: Any, **_: Any) -> dict[str, str]:  # noqa: ARG001  Celery's
    """Stop the worker as SIGTERM does."""
    logger.warning("this worker stops: shutdown by remote control")
    worker_state.should_stop = EX_OK
    return {"ok": "this worker ends what it has in hand, then stops"}


def active(state: Any, **_: Any) -> list[dict[str, Any]]:
    """Return what this worker has in hand, the first hundred messages of it, as Celery describes tasks."""
    return _in_hand(state)[:SHOWN_AT_ONCE]


def query_task(state: Any, ids: Any = (), **_: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return those of these tasks that this worker has in hand."""
    wanted = set(map(str, [ids] if isinstance(ids, str) else ids))
    return {each["id"]: ("active", each) for each in _in_hand(state) if each["id"] in wanted}


def _in_hand(state: Any) -> list[dict[str, Any]]:
    runtime: Runtime = state.app.runtime
    return [{**each, "hostname": state.hostname} for each in runtime.batch_consumer.in_hand()]


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
