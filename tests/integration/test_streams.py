"""The ends of the command line: streams that are full, closed, read no more or cannot say a letter; terminals; Ctrl-C."""

import errno
import fcntl
import os
import pty
import signal
import struct
import termios
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import pytest

from tests.integration.bench import (
    Bench,
    Piped,
    Printed,
    clean_environment,
    identified,
    piped,
    printed_at_end,
)
from tests.preloaded import started
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


FULL = "/dev/full"
CLOSED = "-"  # as `sh` says it


def ended(
    bench: Bench,
    *arguments: str,
    given: str = os.devnull,
    out: str = "",
    err: str = "",
    **environment: str,
) -> Printed:
    """The command to its end; each stream is a file, or CLOSED, or, without a name, what is returned."""
    with ExitStack() as stack:
        files = [stack.enter_context(TemporaryFile("w+", errors="surrogateescape")) for _ in "oe"]

        def stream(name: str, mode: str, unnamed: IO[str]) -> IO[str] | None:
            if name == CLOSED:
                return None
            return stack.enter_context(Path(name).open(mode)) if name else unnamed

        streams = stream(given, "r", files[0]), stream(out, "w", files[0])
        process = started(
            ("-m", "worker", *arguments),
            clean_environment(**bench.environment(**environment)),
            bench.folder,
            (*streams, stream(err, "w", files[1])),
        )
        return printed_at_end(process, files[0], files[1], seconds=60)


def running(bench: Bench, *arguments: str) -> AbstractContextManager[Piped]:
    """The command, running until the block ends."""
    return piped("-m", "worker", *arguments, folder=bench.folder, **bench.environment())


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
    printed = ended(filled, *COMMANDS[command], out=FULL)
    assert printed.status == 1
    assert [os.strerror(errno.ENOSPC) in line for line in printed.err.splitlines()] == [True]
    assert is_quiet(printed.err)


@pytest.mark.parametrize("command", FEW)
def test_output_to_a_closed_stdout_fails_in_one_line(filled: Bench, command: str) -> None:
    printed = ended(filled, *COMMANDS[command], out=CLOSED)
    assert printed.status == 1
    assert len(printed.err.splitlines()) == 1
    assert is_quiet(printed.err)


@pytest.mark.parametrize("command", [*FEW, "status --watch --json", "check"])
def test_output_into_a_closed_pipe_is_no_error(filled: Bench, command: str) -> None:
    with running(filled, *COMMANDS[command]) as reading:
        reading.stdin.close()
        reading.stdout.readline()
        reading.stdout.close()  # as `head -n 1` does
        printed = reading.ended()
    # 1: `check` had said all it had to say
    assert (printed.status in {0, 1}, printed.err) == (True, "")


@pytest.mark.parametrize("command", ["list", "export", "check"])
def test_command_without_a_usable_stderr_works_as_before(filled: Bench, command: str) -> None:
    told = ended(filled, *COMMANDS[command])
    for unusable in (CLOSED, FULL):
        mute = ended(filled, *COMMANDS[command], err=unusable)
        assert mute.status == told.status
        # The first line of `check` has the time.
        assert mute.out.splitlines()[1:] == told.out.splitlines()[1:]
        assert mute.err == ""


def test_closed_stdin_fails_only_the_command_that_reads_it(filled: Bench) -> None:
    assert ended(filled, *COMMANDS["status"], given=CLOSED).status == 0
    printed = ended(filled, "send", "-", given=CLOSED)
    assert (printed.status, printed.out) == (1, "")
    assert "standard input cannot be read" in printed.err
    for given in (CLOSED, os.devnull):
        printed = ended(filled, "dead-letters", "purge", "--id", UUID, given=given)
        assert (printed.status, len(printed.err.splitlines())) == (1, 1)
        assert is_quiet(printed.err)
    assert filled.dead_letters.count() == LETTERS


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("command", ["list", "check", "preview"])
def test_character_outside_the_output_encoding_is_replaced(
    filled: Bench, command: str, encoding: str
) -> None:
    printed = ended(filled, *COMMANDS[command], PYTHONIOENCODING=encoding)
    assert printed.status == 0
    assert printed.err == ""


def test_output_in_the_c_locale_is_ascii(filled: Bench) -> None:
    printed = ended(
        filled,
        "check",
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
        MAILGUN_API_KEY="wrong",
    )
    assert printed.out.isascii()
    assert "+ Redis" in printed.out
    assert "-> " in printed.out


# -- terminals -----------------------------------------------------------------------------------------------------------


def on_terminal(
    bench: Bench, *arguments: str, columns: int = 80, **environment: str
) -> tuple[int, str]:
    """The command on a terminal of so many columns: its status, and what it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    settings = clean_environment(**{"TERM": "xterm", **bench.environment(**environment)})
    with os.fdopen(theirs, "r+b", buffering=0) as terminal:
        command = "-m", "worker", *arguments
        process = started(command, settings, bench.folder, (terminal, terminal, terminal))
    with os.fdopen(ours, "rb", buffering=0) as screen:
        shown = b""
        while more := _read(screen.fileno()):
            shown += more
    return process.wait(60), shown.decode().replace("\r\n", "\n")


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
    *lines, totals = ended(filled, "dead-letters", "list", COLUMNS="20").out.splitlines()
    assert totals == f"rejected {LETTERS}  total {LETTERS}"
    assert len(lines) == LETTERS
    assert {len(line.split("\t")) for line in lines} == {7}
    assert [line.split("\t")[1] for line in lines[-2:]] == [LONG, UUID]


# -- Ctrl-C --------------------------------------------------------------------------------------------------------------


def is_waiting(pid: int) -> bool:
    """Does the process wait? Python heeds no signal that comes in the moment before it reads."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize(
    "asked", [("dead-letters", "purge"), ("forget", "x@example.com"), ("dead-letters", "replay")]
)
def test_ctrl_c_at_a_confirmation_changes_nothing(filled: Bench, asked: tuple[str, ...]) -> None:
    with running(filled, *asked) as asking:
        shown = ""
        while not shown.endswith("]: "):
            more = asking.stdout.read(1)
            assert more, f"it ended: {shown}"
            shown += more
        eventually(lambda: is_waiting(asking.process.pid), what="a process that reads the answer")
        asking.process.send_signal(signal.SIGINT)
        printed = asking.ended()
    # A replay says before it asks that the integration is on hold, as it may be here.
    assert printed.status == 130
    assert printed.err.splitlines()[-1:] == ["signal-mailgun: stopped: nothing was done"]
    assert filled.dead_letters.count() == LETTERS


def test_ctrl_c_ends_a_watch(filled: Bench) -> None:
    with running(filled, "status", "--watch", "--json", "--interval=0.2") as watching:
        assert watching.stdout.readline()
        watching.process.send_signal(signal.SIGINT)
        printed = watching.ended()
    assert (printed.status, printed.err) == (130, "signal-mailgun: stopped\n")


def test_ctrl_c_during_send_enqueues_the_events_read_so_far(filled: Bench) -> None:
    before = filled.queued()
    with running(filled, "send", "-") as sending:
        sending.stdin.write('{"type": "page"}\n' * 5000)
        sending.stdin.flush()
        eventually(lambda: filled.queued() > before, what="events on the queue")
        sending.process.send_signal(signal.SIGINT)
        printed = sending.ended()
    assert printed.status == 130
    line = printed.err.splitlines()[-1]
    assert line.startswith("signal-mailgun: stopped; ")
    assert len(filled.queued_events()) >= int(line.split()[2])
