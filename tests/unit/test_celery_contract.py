"""What this program overrides or calls inside kombu, Celery and Flower, as their pinned versions have it.

An upgrade that changes one of these fails here, in one line that names it, and not in a storm.
"""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import kombu.transport
import pytest
from celery.events.state import State
from flower import urls
from flower.options import options
from flower.views.tasks import TASK_COLUMNS

from worker.consumer import atomic_fetch, event_qos, remote_control, transport, worker_process
from worker.consumer.application import Application
from worker.dashboard import broker_tab, task_views
from worker.dashboard.pages.navbar import END_OF_TABS, with_tabs

USED = [
    "kombu.transport.redis.QoS.append(self, message, delivery_tag)",
    "kombu.transport.redis.QoS.ack(self, delivery_tag)",
    "kombu.transport.redis.QoS.reject(self, delivery_tag, requeue=False)",
    "kombu.transport.redis.QoS.restore_by_tag(self, tag, client=None, leftmost=False)",
    "kombu.transport.redis.QoS.restore_visible(self, start=0, num=10, interval=10)",
    "kombu.transport.redis.QoS.restore_unacked(self, client=None)",
    "kombu.transport.virtual.base.QoS.append(self, message, delivery_tag)",
    "kombu.transport.virtual.base.QoS.ack(self, delivery_tag)",
    "kombu.transport.virtual.base.QoS.can_consume(self)",
    "kombu.transport.virtual.base.QoS.can_consume_max_estimate(self)",
    "kombu.transport.redis.Channel.conn_or_acquire(self, client=None)",
    "kombu.transport.redis.Channel._brpop_start(self, timeout=None)",
    "kombu.transport.redis.Channel._brpop_read(self, **options)",
    "kombu.transport.redis.Channel._update_queue_cycle(self)",
    "kombu.transport.redis.Channel._handle_message(self, client, r)",
    "kombu.transport.redis.Channel._get_pool(self, asynchronous=False)",
    "kombu.transport.redis.Channel._on_connection_disconnect(self, connection)",
    "kombu.transport.redis.Channel._flush_brpop_reauth(self)",
    "kombu.transport.virtual.base.Channel.queue_purge(self, queue, **kwargs)",
    "kombu.transport.redis.Transport.register_with_event_loop(self, connection, loop)",
    "kombu.transport.redis.Transport._deliver(self, message, queue)",
    "celery.apps.worker.Worker.__init__(self, app=None, hostname=None, **kwargs)",
    "celery.apps.worker.Worker.start(self)",
    "celery.apps.worker.Worker.stop(self, in_sighandler=False, exitcode=None)",
    "celery.apps.worker.Worker.terminate(self, in_sighandler=False)",
    "kombu.pidbox.Node.handle(self, method, arguments=None)",
    "celery.app.control.Control.broadcast(self, command, arguments=None, destination=None, connection=None, reply=False, "
    "timeout=1.0, limit=None, callback=None, channel=None, pattern=None, matcher=None, **extra_kwargs)",
    "celery.app.control.Control.purge(self, connection=None)",
    "celery.worker.consumer.consumer.Consumer.add_task_queue(self, queue, exchange=None, exchange_type=None, "
    "routing_key=None, **options)",
    "celery.worker.consumer.consumer.Consumer.cancel_task_queue(self, queue)",
    "celery.worker.consumer.consumer.Consumer.call_soon(self, p, *args, **kwargs)",
    "flower.utils.broker.Broker.__init__(self, /, *args, **kwargs)",
    "flower.views.tasks.TaskView.get(self, task_id)",
    "flower.views.BaseHandler.set_default_headers(self)",
    "flower.views.BaseHandler.check_xsrf_cookie(self)",
    "flower.views.BaseHandler.write_error(self, status_code, **kwargs)",
    "flower.views.BaseHandler.log_exception(self, typ, value, tb)",
    "flower.views.BaseHandler.get_current_user(self)",
    "flower.app.Flower.find_handler(self, request: tornado.httputil.HTTPServerRequest, **kwargs: Any) -> '_HandlerDelegate'",
    "celery.app.base.Celery.subclass_with_self(self, Class, name=None, attribute='app', reverse=None, keep_reduce=False, **kw)",
]
OURS = (
    event_qos.EventQoS,
    atomic_fetch.AtomicFetchMixin,
    transport.Channel,
    transport.Transport,
    worker_process.Worker,
    remote_control.Node,
    remote_control.Mailbox,
    remote_control.Control,
    Application,
    broker_tab.Broker,
)
THEIRS = ("kombu", "celery", "flower")


def found(name: str) -> Any:
    """What is called so, as `package.module.Class.member`."""
    module, owner, member = name.rsplit(".", 2)
    return getattr(getattr(import_module(module), owner), member)


@pytest.mark.parametrize("used", USED, ids=lambda used: used.partition("(")[0])
def test_overridden_or_called_member_exists_with_this_signature(used: str) -> None:
    name, _, _ = used.partition("(")
    assert f"{name}{inspect.signature(found(name))}" == used


def overridden(ours: type) -> Iterator[str]:
    """The names of methods that this class has instead of theirs."""
    bases = transport.Channel.__mro__ if ours is atomic_fetch.AtomicFetchMixin else ours.__mro__
    for name, member in vars(ours).items():
        theirs = any(name in vars(base) and base.__module__.startswith(THEIRS) for base in bases)
        if inspect.isfunction(member) and theirs and not name.startswith("__"):
            yield member.__name__


@pytest.mark.parametrize("ours", OURS)
def test_every_method_that_overrides_a_library_method_is_listed(ours: type) -> None:
    listed = {used.partition("(")[0].rpartition(".")[2] for used in USED}
    assert set(overridden(ours)) - listed == set()


def test_celerys_commands_that_are_replaced_exist() -> None:
    panel = found("celery.worker.control.Panel.data")
    commands = remote_control.Commands("mailgun.default", list)
    assert set(commands.by_name()) - set(panel) == set()


def test_navigation_bar_of_flower_has_a_list_of_tabs_to_add_to() -> None:
    navbar = (Path(urls.settings["template_path"]) / "navbar.html").read_text()
    tabs, end, rest = navbar.partition(END_OF_TABS)
    assert "reverse_url('broker')" in tabs
    assert with_tabs(navbar, "<li>") == f"{tabs}<li>{end}{rest}"


def test_flower_knows_each_column_of_its_tasks_that_is_shown() -> None:
    assert set(task_views.HEADINGS) <= set(task_views.COLUMNS.split(",")) <= set(TASK_COLUMNS)
    assert hasattr(options, task_views.COLUMNS_OPTION.removeprefix("FLOWER_").lower())


def test_celery_keeps_the_result_of_a_task_that_failed() -> None:
    state = State()
    fields = {"hostname": "w", "uuid": "m", "timestamp": 1.0, "local_received": 1.0, "clock": 1}
    for each in ("task-received", "task-failed"):
        state.event({"type": each, **fields, "parent_id": "b", "result": "'why'", "eta": "x"})
    found = state.tasks["m"]
    assert (found.state, found.result, found.eta, found.parent_id) == ("FAILURE", "'why'", "x", "b")


def test_kombu_keeps_the_transport_classes_of_a_process() -> None:
    assert isinstance(kombu.transport._transport_cache, dict)
