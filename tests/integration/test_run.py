"""`signal-mailgun run`: everything on this machine, from nothing, and nothing left behind."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.bench import clean_environment, printed_by
from tests.servers import RedisServer, eventually, free_port

OUTCOMES = ("delivered", "throttled", "retried", "skipped", "dead letter")


def children_of(pid: int) -> dict[int, str]:
    """The command lines of every process below this one, by id."""
    found: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if parent == pid:
            found[int(stat.parent.name)] = command
            found |= children_of(int(stat.parent.name))
    return found


def is_running(pid: int, command: str) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") == command
    except OSError:
        return False


def test_run_once_shows_every_outcome_and_ends_with_0(tmp_path: Path) -> None:
    printed = printed_by("-m", "worker", "run", "--once", folder=tmp_path)
    assert printed.status == 0, printed.everything
    for outcome in OUTCOMES:
        assert re.search(rf"^{outcome}", printed.out, re.MULTILINE), outcome
    for reason in (
        "rejected",
        "unauthorized",
        "list_not_found",
        "unexpected_status",
        "malformed_event",
        "malformed_email",
    ):
        assert f"dead letter: {reason}" in printed.out
    assert "Traceback" not in printed.everything
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_run_ended_by_sigterm_leaves_no_process_behind(tmp_path: Path) -> None:
    ports = [f"--flower-port={free_port()}", f"--sandbox-port={free_port()}"]
    command = [sys.executable, "-m", "worker", "run", *ports]
    with (
        (tmp_path / "output").open("wb") as output,
        subprocess.Popen(command, env=clean_environment(), stdout=output, stderr=output, cwd=tmp_path) as running,
    ):
        try:
            shown = tmp_path / "output"
            eventually(lambda: "Ctrl-C stops" in shown.read_text() or running.poll() is not None, 120, "everything up")
            below = children_of(running.pid)
        finally:
            running.send_signal(signal.SIGTERM)
            status = running.wait(120)
    assert len(below) >= 4  # server, sandbox, worker, Flower
    assert status == 0
    assert "Traceback" not in (tmp_path / "output").read_text()
    assert [command for pid, command in below.items() if is_running(pid, command)] == []


@pytest.mark.parametrize("option", ["--flower-port", "--sandbox-port"])
def test_run_says_in_one_line_that_a_port_is_taken(tmp_path: Path, option: str, server: RedisServer) -> None:
    other = "--sandbox-port" if option == "--flower-port" else "--flower-port"
    printed = printed_by("-m", "worker", "run", f"{option}={server.port}", f"{other}={free_port()}", folder=tmp_path)
    assert printed.status == 1
    [line] = printed.err.strip().splitlines()
    assert str(server.port) in line
    assert option in line
