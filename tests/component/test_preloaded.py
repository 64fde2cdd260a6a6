"""A preloaded process is, to a test, what a process of its own is."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.preloaded import PreloadedProcess, can_preload
from tests.servers import eventually

PROGRAMS = {
    "prints": "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ['GIVEN'], input())",
    "exit status": "raise SystemExit(3)",
    "exit text": "raise SystemExit('no such thing')",
    "bug": "raise ValueError('a bug')",
    "interrupted": "raise KeyboardInterrupt",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "at exit": "import atexit; atexit.register(print, 'last words'); print('first')",
    "thread": "import threading, time; threading.Timer(0.2, print, ['late']).start()",
    "signals": "import signal; print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGCHLD))",
    "child": "import subprocess; print(subprocess.call(['sh', '-c', 'exit 7']))",
    "main module": "import sys; kept = 3; print(__name__, sys.modules['__main__'].kept)",
}


# The standard streams: what `sh` writes before the name of a file, and how it is opened.
REDIRECTIONS = {"in": "<", "out": ">", "err": "2>"}
KINDS = ("plain", "preloaded")
MODES = {"in": "r", "out": "w", "err": "w"}


def streams(folder: Path) -> tuple[Path, Path, Path]:
    folder.mkdir()
    paths = folder / "in", folder / "out", folder / "err"
    for each in paths:
        each.write_text("")
    paths[0].write_text("typed\n")
    return paths


def end_of(
    kind: str, arguments: list[str], folder: Path, *closed: str, full: bool = False
) -> tuple[int, str, list[str]]:
    """Return the exit status, the output, and the last line of the errors.

    Args:
        kind: `plain` or `preloaded`.
        arguments: The arguments of `python`.
        folder: The working folder.
        closed: Of `in`, `out` and `err` those that are closed.
        full: Whether the disk is full to which the output goes.
    """
    paths = dict(zip(REDIRECTIONS, streams(folder / kind), strict=True))
    used = {**paths, "out": Path("/dev/full")} if full else paths
    environment = {**os.environ, "GIVEN": "by the test"}
    environment.pop("PYTHONUNBUFFERED", None)  # With it, the output fails at once.
    if kind == "plain":
        line = " ".join(
            f"{sign}&-" if name in closed else f"{sign}{used[name]}"
            for name, sign in REDIRECTIONS.items()
        )
        command = ["sh", "-c", f'exec "$@" {line}', "sh", sys.executable, *arguments]
        status = subprocess.call(command, env=environment, cwd=folder, timeout=30)
    else:
        with ExitStack() as stack:
            given, out, err = (
                None if name in closed else stack.enter_context(used[name].open(mode))
                for name, mode in MODES.items()
            )
            process = PreloadedProcess(arguments, environment, folder, (given, out, err))
            status = process.wait(30)
    return status, paths["out"].read_text(), paths["err"].read_text().splitlines()[-1:]


@pytest.mark.parametrize("name", PROGRAMS)
def test_preloaded_module_ends_and_prints_as_any_other(name: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAMS[name])
    arguments = ["-m", "program", "--option", "word"]
    plain, preloaded = (end_of(kind, arguments, tmp_path) for kind in KINDS)
    assert plain == preloaded


@pytest.mark.parametrize("name", PROGRAMS)
def test_preloaded_program_ends_and_prints_as_any_other(name: str, tmp_path: Path) -> None:
    arguments = ["-c", PROGRAMS[name], "--option", "word"]
    plain, preloaded = (end_of(kind, arguments, tmp_path) for kind in KINDS)
    assert plain == preloaded


TELLS = (
    "import os, sys; print([each is None for each in (sys.stdin, sys.stdout, sys.stderr)]);"
    "file = os.open('told', os.O_WRONLY | os.O_CREAT); print('said', file=sys.stderr);"
    "os.write(file, str(file).encode())"
)


@pytest.mark.parametrize("closed", [(), ("in",), ("out",), ("err",), ("in", "out", "err")])
def test_preloaded_process_with_closed_streams_is_as_any_other(
    closed: tuple[str, ...], tmp_path: Path
) -> None:
    ends = []
    for kind in KINDS:
        end = end_of(kind, ["-c", TELLS], tmp_path, *closed)
        ends.append((end, (tmp_path / "told").read_text() if closed else ""))
    assert ends[0] == ends[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_preloaded_process_finds_a_full_disk_at_its_end_as_any_other(tmp_path: Path) -> None:
    ends = [end_of(kind, ["-c", "print('more')"], tmp_path, full=True) for kind in KINDS]
    assert ends[0] == ends[1]
    assert ends[0][0] == 120


def test_preloaded_process_can_be_stopped_and_tells_by_which_signal(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import time; time.sleep(60)")
    paths = streams(tmp_path / "streams")
    with paths[0].open() as given, paths[1].open("w") as out:
        processes = [
            PreloadedProcess(["-m", "program"], os.environ, tmp_path, (given, out, out))
            for _ in range(3)
        ]
    with pytest.raises(subprocess.TimeoutExpired):
        processes[0].wait(0.01)
    processes[1].kill()
    assert processes[1].wait(30) == -signal.SIGKILL
    processes[0].terminate()
    eventually(lambda: processes[0].poll() == -signal.SIGTERM, 30, "the end")
    assert processes[2].poll() is None
    processes[2].kill()
    assert processes[2].wait(30) == -signal.SIGKILL


def test_process_that_needs_python_started_anew_is_not_preloaded() -> None:
    assert can_preload(["-m", "worker"], os.environ)
    assert can_preload(["-c", "pass"], os.environ)
    assert not can_preload(["program.py"], os.environ)
    assert not can_preload(["-u", "-c", "pass"], os.environ)
    for name in ("PYTHONIOENCODING", "LC_ALL", "COLUMNS", "NO_COLOR"):
        assert not can_preload(["-m", "worker"], {**os.environ, name: "other"})
