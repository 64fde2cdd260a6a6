"""A preloaded process is, to a test, what a process of its own is."""

import os
import signal
import subprocess
import sys
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
}


def streams(folder: Path) -> tuple[Path, Path, Path]:
    folder.mkdir()
    paths = folder / "in", folder / "out", folder / "err"
    for each in paths:
        each.write_text("")
    paths[0].write_text("typed\n")
    return paths


@pytest.mark.parametrize("name", PROGRAMS)
def test_preloaded_process_ends_and_prints_as_any_other(name: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAMS[name])
    arguments = ["-m", "program", "--option", "word"]
    environment = {**os.environ, "GIVEN": "by the test"}
    ends = []
    for kind in ("plain", "preloaded"):
        paths = streams(tmp_path / kind)
        with paths[0].open() as given, paths[1].open("w") as out, paths[2].open("w") as err:
            process: subprocess.Popen[bytes] | PreloadedProcess
            if kind == "plain":
                command = [sys.executable, *arguments]
                process = subprocess.Popen(
                    command, env=environment, cwd=tmp_path, stdin=given, stdout=out, stderr=err
                )
            else:
                process = PreloadedProcess(arguments, environment, tmp_path, (given, out, err))
            status = process.wait(30)
        last_line = paths[2].read_text().splitlines()[-1:]
        ends.append((status, paths[1].read_text(), last_line))
    assert ends[0] == ends[1]


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
    assert not can_preload(["-c", "pass"], os.environ)
    for name in ("PYTHONIOENCODING", "LC_ALL", "COLUMNS", "NO_COLOR"):
        assert not can_preload(["-m", "worker"], {**os.environ, name: "other"})
