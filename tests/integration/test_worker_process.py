"""With which options a worker starts, and with which status it ends: 0 where it was told to stop, another after an error."""

import resource
import signal

import pytest

from tests.integration.bench import Bench, identified, printed_by, until

CELERY = ("-m", "celery", "-A", "worker.app", "worker")
OURS = ("-m", "worker", "worker")
COMMANDS = [CELERY, OURS]

# Runs the command that follows with a bug of our own in the worker's loop, once an event has ended.
WITH_A_BUG = """
import runpy, sys
from worker.consumer.batch_consumer import BatchConsumer
def bug(self):
    raise LookupError("jane@example.com and other secrets")
BatchConsumer._release_ended = bug
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_worker_on_sigterm_ends_with_0(own: Bench, command: tuple[str, ...]) -> None:
    worker = own.worker(*command).ready()
    assert worker.stop() == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_worker_ended_by_an_error_prints_one_line_and_ends_with_1(
    own: Bench, command: tuple[str, ...]
) -> None:
    worker = own.worker("-c", WITH_A_BUG, *command[1:]).ready()
    own.put(identified("jane@example.com"))
    assert worker.process.wait(60) == 1
    printed = worker.printed()
    assert printed.count("an error ends this worker") == 1
    assert "LookupError at" in printed
    assert "Traceback" not in printed
    assert "secrets" not in printed
    assert own.delivered() == 1
    assert own.unacknowledged() == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_worker_out_of_files_ends_with_1(own: Bench, command: tuple[str, ...]) -> None:
    worker = own.worker(*command).ready()
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (4, 4))
    own.redis.client_kill_filter(_type="pubsub")
    own.redis.client_kill_filter(_type="normal", skipme=True)
    assert worker.process.wait(60) == 1
    assert "Traceback" not in worker.printed()


@pytest.mark.parametrize("command", COMMANDS)
def test_worker_on_sigquit_ends_with_1(own: Bench, command: tuple[str, ...]) -> None:
    worker = own.worker(*command).ready()
    worker.process.send_signal(signal.SIGQUIT)
    assert worker.process.wait(60) == 1
    assert "Traceback" not in worker.printed()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "broken",
    [
        {"MAILGUN_API_KEY": ""},
        {"MAILGUN_LIST_ADDRESS": "no address"},
        {"MAILGUN_PRESET": "/there/is/no/such.toml"},
        {"WORKER_CONCURRENCY": "many"},
        {"REDIS_URL": "amqp://localhost"},
    ],
)
def test_worker_that_cannot_start_prints_one_line_and_ends_with_1(
    own: Bench, command: tuple[str, ...], broken: dict[str, str]
) -> None:
    ended = printed_by(*command, folder=own.folder, **{**own.environment(), **broken})
    assert ended.status == 1
    assert ended.err.splitlines()[-1].startswith(
        "signal-mailgun: "
    )  # after Celery's own warning, where root runs it
    assert ended.err.count("signal-mailgun: ") == 1
    assert "Traceback" not in ended.everything


REFUSED = [
    ("--purge",),
    ("-Q", "something.else"),
    ("-Q", "{queue},something.else"),
    ("-Q", "{queue}.dead_letter"),
    ("-X", "{queue}"),
    ("-B",),
    ("--pool=solo",),
    ("--pool=processes",),
    ("--autoscale=10,1",),
    ("--max-tasks-per-child=5",),
    ("--max-memory-per-child=5000",),
    ("--time-limit=5",),
    ("--soft-time-limit=5",),
    ("--prefetch-multiplier=4",),
]


@pytest.mark.parametrize("options", REFUSED)
def test_option_that_would_lose_events_is_refused_in_one_line(
    own: Bench, options: tuple[str, ...]
) -> None:
    own.put(identified("jane@example.com"))
    given = [each.format(queue=own.queue) for each in options]
    ended = printed_by(*CELERY, *given, folder=own.folder, **own.environment())
    assert ended.status == 1
    [line] = ended.err.splitlines()
    assert line.startswith("signal-mailgun: --")
    assert own.queued() == 1


def test_options_that_change_nothing_for_events_are_accepted(own: Bench) -> None:
    options = [
        "-Q",
        own.queue,
        "--pool=prefork",
        "-E",
        "--loglevel=INFO",
        "-c",
        "3",
        "-Ofair",
        "--without-heartbeat",
    ]
    with own.working(*CELERY, *options):
        own.put(identified("jane@example.com"))
        assert own.member("jane@example.com")
        own.ended()


@pytest.mark.parametrize(
    "key", ["mailgun.{}", "signal:{}:unacked", "signal:{}:unacked_index", "signal:{}:hold"]
)
def test_redis_key_of_a_wrong_type_is_logged_and_loses_no_event(own: Bench, key: str) -> None:
    name = key.format(own.integration)
    with own.working() as worker:
        own.put(identified("first@example.com"))
        assert own.member("first@example.com")
        own.ended()
        own.redis.delete(name)
        own.redis.set(name, "not ours")
        if name != own.queue:
            own.put(identified("jane@example.com"))
        until(lambda: "Redis refuses to hand out events" in worker.printed(), "a line")
        assert worker.printed().count("Redis refuses to hand out events") == 1
        assert "Connection to broker lost" not in worker.printed()
        own.redis.delete(name)
        if name == own.queue:
            own.put(identified("jane@example.com"))
        assert own.member("jane@example.com")
        own.ended()


def test_redis_user_that_loses_rights_loses_no_event(own: Bench) -> None:
    try:
        with own.working() as worker:
            own.redis.execute_command("ACL", "SETUSER", "default", "-eval", "-blmove")
            own.put(identified("jane@example.com"))
            until(lambda: "Redis refuses to hand out events" in worker.printed(), "a line")
            assert worker.process.poll() is None
            own.redis.execute_command("ACL", "SETUSER", "default", "+@all")
            assert own.member("jane@example.com")
    finally:
        own.redis.execute_command("ACL", "SETUSER", "default", "+@all")
