"""The ends of the command line: streams that are full, closed, read no more or cannot say a letter; terminals; Ctrl-C."""

import errno
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.integration.bench import Bench, clean_environment, identified
from tests.servers import eventually
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.message import Message

UUID = "0b5c1f1e-2f5e-4c2a-9d0e-7a8f31f3c0d4"
LONG = "order-service-eu-west-1." + "a1b2c3d4" * 9
LETTERS = 40  # dead letters

COMMANDS: dict[str, tuple[str, ...]] = {
    "status": ("status",),
    "status --json": ("status", "--json"),
    "status --watch": ("status", "--watch", "--interval=0.2"),
    "status --watch --json": ("status", "--watch", "--json", "--interval=0.2"),
    "list": ("dead-letters", "list"),
    "list --json": ("dead-letters", "list", "--json"),
    "show": ("dead-letters", "show", UUID),
    "export": ("dead-letters", "export"),
    "dry run": ("dead-letters", "replay", "--dry-run"),
    "explain": ("explain", UUID),
    "check": ("check",),
    "check --json": ("check", "--json"),
    "pause": ("pause",),
    "preview": ("preview", "events.ndjson"),
    "preview --json": ("preview", "--json", "events.ndjson"),
    "send": ("send", "events.ndjson"),
    "help": ("dead-letters", "list", "--help"),
    "forget": ("forget", "nobody@example.com", "--yes"),
}


FEW = (
    "status",
    "status --watch",
    "list",
    "list --json",
    "preview",
    "send",
    "help",
)  # one of each way of printing


@pytest.fixture(scope="module")
def filled(the_bench: Bench) -> Bench:
    """An integration with dead letters that have long ids."""
    bench = Bench(the_bench.server, the_bench.sandbox, the_bench.folder, integration="streams")
    for number in range(LETTERS):
        event = identified(f"p{number}@example.com", plan="pro")
        name = {0: UUID, 1: LONG}.get(number, f"m-{number}")
        message = Message(id=name, args=(event,), kind="identify", enqueued_at=1.8e9)
        letter = dead_letter(
            DeadLetterReason.REJECTED,
            message,
            status=400,
            answer="no",
            died_at=1.8e9 + number,
            integration="streams",
        )
        bench.dead_letters.bury([(message, letter)])
    bench.redis.hset("signal:streams:totals", "delivered", 1)  # a worker has served it
    (bench.folder / "events.ndjson").write_text(
        '{"type": "identify", "traits": {"email": "zoe@example.com", "name": "Zoë →"}}\n'
    )
    return bench


def shell(
    bench: Bench, line: str, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """`sh -c LINE`, in which "$@" is the command."""
    return subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, "-m", "worker", *arguments],
        env=clean_environment(**bench.environment(**environment)),
        cwd=bench.folder,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="surrogateescape",
        timeout=60,
    )


def is_quiet(text: str) -> bool:
    return (
        "bug" not in text
        and "Traceback" not in text
        and "Exception ignored" not in text
        and "Error" not in text
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_output_to_a_full_disk_fails_in_one_line(filled: Bench, command: str) -> None:
    ended = shell(filled, '"$@" > /dev/full', *COMMANDS[command])
    assert ended.returncode == 1
    assert [os.strerror(errno.ENOSPC) in line for line in ended.stderr.splitlines()] == [True]
    assert is_quiet(ended.stderr)


@pytest.mark.parametrize("command", FEW)
def test_output_to_a_closed_stdout_fails_in_one_line(filled: Bench, command: str) -> None:
    ended = shell(filled, '"$@" >&-', *COMMANDS[command])
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert is_quiet(ended.stderr)


@pytest.mark.parametrize("command", [*FEW, "status --watch --json", "check"])
def test_output_into_a_closed_pipe_is_no_error(filled: Bench, command: str) -> None:
    ended = shell(
        filled,
        '{ "$@"; echo "$?" >&3; } 3>status | head -n 1 >/dev/null; cat status',
        *COMMANDS[command],
    )
    assert (ended.stdout in {"0\n", "1\n"}, ended.stderr) == (
        True,
        "",
    )  # 1: `check` had said all it had to say


@pytest.mark.parametrize("command", ["list", "export", "check"])
def test_command_without_a_usable_stderr_works_as_before(filled: Bench, command: str) -> None:
    told = shell(filled, '"$@"', *COMMANDS[command])
    for error in ("2>&-", "2>/dev/full"):
        mute = shell(filled, f'"$@" {error}', *COMMANDS[command])
        assert mute.returncode == told.returncode
        # The first line of `check` has the time.
        assert mute.stdout.splitlines()[1:] == told.stdout.splitlines()[1:]
        assert mute.stderr == ""


def test_closed_stdin_fails_only_the_command_that_reads_it(filled: Bench) -> None:
    assert shell(filled, '"$@" <&-', *COMMANDS["status"]).returncode == 0
    ended = shell(filled, '"$@" <&-', "send", "-")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "standard input cannot be read" in ended.stderr
    for given in ("<&-", "</dev/null"):
        ended = shell(filled, f'"$@" {given}', "dead-letters", "purge", "--id", UUID)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
        assert is_quiet(ended.stderr)
    assert filled.dead_letters.count() == LETTERS


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("command", ["list", "check", "preview"])
def test_character_outside_the_output_encoding_is_replaced(
    filled: Bench, command: str, encoding: str
) -> None:
    ended = shell(filled, '"$@"', *COMMANDS[command], PYTHONIOENCODING=encoding)
    assert ended.returncode == 0
    assert ended.stderr == ""


def test_output_in_the_c_locale_is_ascii(filled: Bench) -> None:
    ended = shell(
        filled,
        '"$@"',
        "check",
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
        MAILGUN_API_KEY="wrong",
    )
    assert ended.stdout.isascii()
    assert "+ Redis" in ended.stdout
    assert "-> " in ended.stdout


# -- terminals -----------------------------------------------------------------------------------------------------------


def on_terminal(
    bench: Bench, *arguments: str, columns: int = 80, **environment: str
) -> tuple[int, str]:
    """The command on a terminal of so many columns: its status, and what it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "worker", *arguments]
    settings = clean_environment(**{"TERM": "xterm", **bench.environment(**environment)})
    running = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=settings, cwd=bench.folder
    )
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        shown = b""
        while more := _read(screen.fileno()):
            shown += more
    return running.wait(60), shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the other end is closed
        return b""


@pytest.mark.parametrize("columns", [1, 40, 80])
def test_terminal_of_any_width_shows_whole_ids(filled: Bench, columns: int) -> None:
    for command in ("status", "check", "send"):
        status, shown = on_terminal(filled, *COMMANDS[command], columns=columns)
        assert status == 0, shown
        assert is_quiet(shown.replace("HTTP", ""))
    status, shown = on_terminal(filled, "dead-letters", "list", columns=columns)
    assert UUID in shown
    assert LONG in shown


def test_a_dumb_terminal_and_one_without_colour_get_plain_text(filled: Bench) -> None:
    for command in ("list", "check", "send"):
        status, shown = on_terminal(filled, *COMMANDS[command], TERM="dumb", NO_COLOR="1")
        assert status == 0
        assert "\x1b" not in shown


def test_dead_letter_list_off_a_terminal_is_one_line_for_each(filled: Bench) -> None:
    *lines, totals = shell(filled, '"$@"', "dead-letters", "list", COLUMNS="20").stdout.splitlines()
    assert totals == f"rejected {LETTERS}  total {LETTERS}"
    assert len(lines) == LETTERS
    assert {len(line.split("\t")) for line in lines} == {7}
    assert [line.split("\t")[1] for line in lines[-2:]] == [LONG, UUID]


# -- Ctrl-C --------------------------------------------------------------------------------------------------------------


def started(bench: Bench, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "worker", *arguments],
        env=clean_environment(**bench.environment()),
        cwd=bench.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,  # noqa: PLW1509
    )


@pytest.mark.parametrize(
    "asked", [("dead-letters", "purge"), ("forget", "x@example.com"), ("dead-letters", "replay")]
)
def test_ctrl_c_at_a_confirmation_changes_nothing(filled: Bench, asked: tuple[str, ...]) -> None:
    with started(filled, *asked) as running:
        assert running.stdout
        shown = ""
        while not shown.endswith("]: "):
            more = running.stdout.read(1)
            assert more, f"it ended: {shown}"
            shown += more
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=30)
    # A replay says before it asks that the integration is on hold, as it may be here.
    assert running.returncode == 130
    assert told.splitlines()[-1:] == ["signal-mailgun: stopped: nothing was done"]
    assert filled.dead_letters.count() == LETTERS


def test_ctrl_c_ends_a_watch(filled: Bench) -> None:
    with started(filled, "status", "--watch", "--json", "--interval=0.2") as running:
        assert running.stdout
        assert running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=30)
    assert (running.returncode, told) == (130, "signal-mailgun: stopped\n")


def test_ctrl_c_during_send_enqueues_the_events_read_so_far(filled: Bench) -> None:
    before = filled.queued()
    with started(filled, "send", "-") as running:
        assert running.stdin
        running.stdin.write('{"type": "page"}\n' * 5000)
        eventually(lambda: filled.queued() > before, what="events on the queue")
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=30)
    assert running.returncode == 130
    line = told.splitlines()[-1]
    assert line.startswith("signal-mailgun: stopped; ")
    assert len(filled.queued_events()) >= int(line.split()[2])
