"""`signal-mailgun run`: everything on this machine, from nothing, and nothing left behind."""

import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import requests

from tests.integration.bench import KEY, LIST, clean_environment, printed_by
from tests.preloaded import AnyProcess, started
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer, eventually, free_port

OUTCOMES = ("delivered", "throttled", "retried", "skipped", "dead letter")


def children_of(pid: int) -> dict[int, str]:
    """The command lines of every process below this one, by id."""
    found: dict[int, str] = {}
    for of_process in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(of_process.read_text().rpartition(")")[2].split()[1])
            command = (of_process.parent / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if parent == pid:
            found[int(of_process.parent.name)] = command
            found |= children_of(int(of_process.parent.name))
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


@dataclass(frozen=True)
class Run:
    """`signal-mailgun run`, up."""

    process: AnyProcess
    flower: str
    printed: str

    def file(self, name: str) -> Path:
        """The file of that name which it says where to find."""
        found = re.search(rf"\S+/{name}\b", self.printed)
        assert found, self.printed
        return Path(found[0])


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Run]:
    """Everything, up, until the block ends."""
    flower, output = free_port(), folder / "output"
    command = "-m", "worker", "run", f"--flower-port={flower}", f"--sandbox-port={free_port()}"
    with output.open("wb") as file, Path(os.devnull).open() as nothing:
        streams = nothing, file, file
        process = started(command, clean_environment(**environment), folder, streams)
    try:
        eventually(
            lambda: "Ctrl-C stops" in output.read_text() or process.poll() is not None,
            120,
            "all up",
        )
        yield Run(process, f"http://127.0.0.1:{flower}", output.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_run_on_an_existing_redis_protects_flower_without_a_key(
    tmp_path: Path, server: RedisServer
) -> None:
    unwanted = {"FLOWER_UNAUTHENTICATED_API": "true"}  # left over in the shell
    with running(tmp_path, REDIS_URL=server.url, **unwanted) as run:
        login = run.file("flower_login")
        assert (mode(login), mode(login.parent)) == (0o600, 0o700)
        user, _, password = login.read_text().strip().partition(":")
        assert password not in run.printed
        for path in ("/tasks", "/api/workers", "/api/tasks"):
            assert requests.get(f"{run.flower}{path}", timeout=30).status_code == 401
            answer = requests.get(f"{run.flower}{path}", auth=(user, password), timeout=30)
            assert answer.status_code == 200
            assert "Access-Control-Allow-Origin" not in answer.headers
        assert requests.post(f"{run.flower}/api/worker/shutdown/x", timeout=30).status_code == 401


def test_embedded_redis_that_does_not_start_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / ".signal-mailgun" / "redis" / "appendonlydir"
    folder.mkdir(0o700, parents=True)
    (folder / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    (folder / "appendonly.aof.1.base.rdb").write_text("not what Redis writes")
    real = {"MAILGUN_API_KEY": KEY, "MAILGUN_LIST_ADDRESS": LIST}
    printed = printed_by("-m", "worker", "run", folder=tmp_path, **real)
    assert printed.status == 1
    [line] = printed.everything.splitlines()
    assert "the embedded Redis server did not start" in line
    assert str(folder.parent) in line
    assert "Bad file format" in line


def test_embedded_redis_has_a_password_and_a_private_folder(tmp_path: Path) -> None:
    (tmp_path / ".signal-mailgun").mkdir(mode=0o777)
    with RunningSandbox() as sandbox:
        real = {
            "MAILGUN_API_KEY": KEY,
            "MAILGUN_LIST_ADDRESS": LIST,
            "MAILGUN_API_BASE_URL": sandbox.base_url,
        }
        with running(tmp_path, **real, MAILGUN_ALLOW_CUSTOM_HOST="true") as run:
            address = run.file("redis_url")
            assert (mode(address), mode(tmp_path / ".signal-mailgun")) == (0o600, 0o700)
            url = address.read_text().strip()
            password = url.partition("@")[0].rpartition(":")[2]
            stored = [
                path for path in address.parent.rglob("*") if path.is_file() and path != address
            ]
            assert [path for path in stored if password.encode() in path.read_bytes()] == []
            assert password not in run.printed + str(children_of(run.process.pid))
            with redis.Redis.from_url(f"redis://{url.rpartition('@')[2]}") as stranger:
                assert stranger.ping()
                for command in (
                    "INFO",
                    "KEYS *",
                    "CONFIG GET *",
                    "FLUSHALL",
                    "SUBSCRIBE x",
                    "ACL LIST",
                    "LLEN mailgun.default",
                ):
                    with pytest.raises(redis.ResponseError, match="permissions"):
                        stranger.execute_command(*command.split())
            status = printed_by(
                "-m",
                "worker",
                "status",
                folder=tmp_path,
                REDIS_URL=url,
                SIGNAL_INTEGRATION="default",
            )
            assert status.status == 0, status.everything
            assert (
                requests.get(f"{run.flower}/api/workers", timeout=30).status_code == 401
            )  # a real key is behind it


def test_the_lines_that_run_prints_make_another_shell_work(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with running(tmp_path) as run:
        lines = run.printed.partition("For the commands in another terminal")[2].splitlines()
        pasted = [line for line in lines if line.startswith("  ")]
        assert pasted[-1].strip() == "signal-mailgun status"
        shell = subprocess.run(
            ["/bin/sh", "-ec", "\n".join([*pasted, "signal-mailgun check"])],
            env={**clean_environment(), "PATH": os.defpath},
            capture_output=True,
            text=True,
            cwd=elsewhere,
            timeout=120,
            check=False,
        )
    assert shell.returncode == 0, shell.stdout + shell.stderr
    assert "dead letters" in shell.stdout
    assert "the list exists (10 members)" in shell.stdout


def test_run_in_a_folder_that_is_a_link_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".signal-mailgun").symlink_to(tmp_path / "elsewhere")
    printed = printed_by("-m", "worker", "run", "--once", folder=tmp_path, MAILGUN_API_KEY=KEY)
    assert printed.status == 1
    assert len(printed.err.strip().splitlines()) == 1
    assert ".signal-mailgun is no folder of this user" in printed.err
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_run_ended_by_sigterm_leaves_no_process_behind(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        below = children_of(run.process.pid)
    assert len(below) >= 4  # server, sandbox, worker, Flower
    assert run.process.wait(0) == 0
    assert "Traceback" not in (tmp_path / "output").read_text()
    assert [command for pid, command in below.items() if is_running(pid, command)] == []


@pytest.mark.parametrize("option", ["--flower-port", "--sandbox-port"])
def test_run_on_a_taken_port_fails_in_one_line(
    tmp_path: Path, option: str, server: RedisServer
) -> None:
    other = "--sandbox-port" if option == "--flower-port" else "--flower-port"
    printed = printed_by(
        "-m", "worker", "run", f"{option}={server.port}", f"{other}={free_port()}", folder=tmp_path
    )
    assert printed.status == 1
    [line] = printed.err.strip().splitlines()
    assert str(server.port) in line
    assert option in line
