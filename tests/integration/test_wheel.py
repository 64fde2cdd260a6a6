"""What is shipped: the wheel, installed where nothing of this folder is seen, and docker-compose.yml's commands run from it."""

import base64
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml

from tests import example
from tests.servers import RedisServer, eventually, free_port

PROJECT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
DOCKERFILE = (PROJECT / "worker/Dockerfile").read_text()
OURS = re.compile(
    "MAILGUN_|SIGNAL_|REDIS_|RETRY_|VISIBILITY_|WORKER_|INCIDENT_|METRICS_|LEDGER_|LOG_|FLOWER_|PYTHON|VIRTUAL_ENV"
)
BUILD_SECONDS = 60
COMMAND_SECONDS = 30
RUN_SECONDS = 120  # of which it takes about ten
STOP_SECONDS = 60
LOGIN = "operator:correct horse"


@dataclass(frozen=True)
class Installed:
    """A virtual environment that holds the wheel, and a folder to start its programs in."""

    environment: Path
    folder: Path

    @property
    def python(self) -> Path:
        return self.environment / "bin/python"

    def variables(self, **more: str) -> dict[str, str]:
        """This process's environment without what would be read as a setting, and with the wheel's programs found first."""
        kept = {name: value for name, value in os.environ.items() if not OURS.match(name)}
        path = f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "PATH": path, "TMPDIR": str(self.folder), **more}

    def ran(self, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """The command, ended."""
        return subprocess.run(
            words,
            env=self.variables(**variables),
            cwd=self.folder,
            text=True,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def printed(self, *words: str, **variables: str) -> str:
        """What the command printed; it has ended well."""
        done = self.ran(*words, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(self, *words: str, **variables: str) -> Iterator["Running"]:
        """The command until the block ends; then it is told to stop, and has."""
        output = self.folder / "output.log"
        with output.open("wb") as file:
            process = subprocess.Popen(
                words,
                env=self.variables(**variables),
                cwd=self.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Running(process, output)
        finally:
            stop(process)


@dataclass(frozen=True)
class Running:
    """A command that goes on, and where its output goes."""

    process: "subprocess.Popen[bytes]"
    output: Path

    def printed(self) -> str:
        return self.output.read_text(errors="replace")

    def goes_on(self) -> bool:
        assert self.process.poll() is None, f"it ended: {self.printed()}"
        return True


def stop(process: "subprocess.Popen[bytes]") -> int:
    process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, timeout=BUILD_SECONDS)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, that sees this one's dependencies and nothing else of it."""
    made = tmp_path_factory.mktemp("installed") / "venv"
    python = made / "bin/python"
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", str(made)],
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--no-deps",
            "--no-index",
            str(wheel),
        ],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=BUILD_SECONDS)
    # Only now, or pip would find this folder's own installation and leave the wheel out. What that installation's .pth
    # adds to the path stays unseen: such files are read in an environment's own folder alone.
    packages = Path(
        sysconfig.get_path("purelib", "venv", vars={"base": str(made), "platbase": str(made)})
    )
    (packages / "dependencies.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    )
    celery = made / "bin/celery"  # the dependencies' own programs belong to the other environment
    celery.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} -m celery "$@"\n')
    celery.chmod(0o755)
    return made


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Installed:
    return Installed(environment, tmp_path)


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of its own: on a shared one another test's worker would answer for this one's."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        yield server.start()
    finally:
        server.stop()


def get(url: str, *, login: str | None = None) -> tuple[int, str]:
    """Status and text of the page."""
    headers = (
        {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    )
    try:
        with urlopen(Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


# --- the wheel


def test_wheel_contains_every_file_of_the_package(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("worker/")}
    there = {
        path.relative_to(PROJECT).as_posix()
        for path in (PROJECT / "worker").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    needless = {"worker/Dockerfile"}
    assert {
        "worker/signal/presets/default.toml",
        "worker/sandbox/page.html",
        "worker/py.typed",
    } <= packed
    assert packed - needless == there - needless


def test_installed_code_is_the_wheel_and_not_this_folder(installed: Installed) -> None:
    code = "import sys, worker; print(worker.__file__); print(*sys.path, sep='\\n')"
    imported, *path = installed.printed(str(installed.python), "-c", code).splitlines()
    assert Path(imported).is_relative_to(installed.environment)
    assert str(PROJECT) not in path


def test_package_data_of_the_wheel_are_found(installed: Installed) -> None:
    code = "from worker.signal.preset import load_preset; print(load_preset(None) is not None)"
    assert installed.printed(str(installed.python), "-c", code) == "True\n"


def test_the_command_and_the_module_give_the_same_help(installed: Installed) -> None:
    said = installed.printed("signal-mailgun", "--help").split()
    module = installed.printed("python", "-m", "worker", "--help").replace(
        "python -m worker", "signal-mailgun"
    )
    assert said == module.split()
    assert all(
        command in said
        for command in ("run", "worker", "send", "preview", "check", "dead-letters", "sandbox")
    )


def test_the_version_is_the_wheels(installed: Installed, wheel: Path) -> None:
    name, version = installed.printed("signal-mailgun", "--version").split()
    assert wheel.name.startswith(f"{name.replace('-', '_')}-{version}-")


def test_preview_shows_the_request_of_the_integrations_example(installed: Installed) -> None:
    (installed.folder / "event.json").write_text(json.dumps(example.EVENT))
    said = installed.printed(
        "signal-mailgun", "preview", "event.json", MAILGUN_LIST_ADDRESS="newsletter@mg.example.com"
    )
    assert said.strip() == f"{example.LINE}\n\n{example.FIELDS}"


def test_sandbox_serves_its_page_and_ends_on_sigterm(installed: Installed) -> None:
    with installed.running("signal-mailgun", "sandbox", "--port", "0") as sandbox:
        found = eventually(
            lambda: (
                sandbox.goes_on() and re.search(r"listening on (http://\S+)", sandbox.printed())
            ),
            what="the sandbox",
        )
        assert found
        status, page = get(f"{found[1]}/")
        assert (status, page) >= (200, "<!doctype html>")
        assert "<html" in page
        assert stop(sandbox.process) == 0


def test_run_once_delivers_its_samples_and_leaves_nothing_behind(
    installed: Installed,
) -> None:
    before = set(installed.folder.iterdir())
    with installed.running("signal-mailgun", "run", "--once") as run:
        assert run.process.wait(RUN_SECONDS) == 0, run.printed()
    assert "delivered" in run.printed()
    assert set(installed.folder.iterdir()) - before == {run.output}


# --- the containers' commands, as docker-compose.yml gives them


def command_of(service: Mapping[str, Any], *, port: int) -> list[str]:
    """What the container starts, listening on `port` of this machine alone."""
    said = {
        name: json.loads(value)
        for name, value in re.findall(r"^(ENTRYPOINT|CMD) (.+)$", DOCKERFILE, re.MULTILINE)
    }
    words = [*service.get("entrypoint", said["ENTRYPOINT"]), *service.get("command", said["CMD"])]
    return [re.sub(r"5555|8025", str(port), word).replace("0.0.0.0", "127.0.0.1") for word in words]  # noqa: S104


def health_check_of(service: Mapping[str, Any], *, port: int) -> list[str]:
    """What asks the container whether it is well."""
    kind, *words = service["healthcheck"]["test"]
    words = [re.sub(r"5555|8025", str(port), word).replace("$$", "$") for word in words]
    return ["sh", "-c", *words] if kind == "CMD-SHELL" else words


def becomes_well(
    installed: Installed, running: Running, check: list[str], **variables: str
) -> bool:
    return eventually(
        lambda: running.goes_on() and installed.ran(*check, **variables).returncode == 0,
        60,
        "a passed health check",
    )


def test_worker_health_check_passes_only_while_the_worker_runs(
    installed: Installed, redis_server: RedisServer
) -> None:
    key = installed.folder / "key"
    key.write_text("key-of-nobody\n")
    variables = SERVICES["worker"]["environment"] | {
        "REDIS_URL": redis_server.url,
        "MAILGUN_API_KEY_FILE": str(key),
        "MAILGUN_PRESET": str(PROJECT / "worker/signal/presets/default.toml"),
        "MAILGUN_LIST_ADDRESS": "newsletter@mg.example.com",
        "METRICS_PORT": "0",
    }
    check = health_check_of(SERVICES["worker"], port=0)
    with installed.running(*command_of(SERVICES["worker"], port=0), **variables) as worker:
        eventually(lambda: worker.goes_on() and "ready" in worker.printed(), 60, "a ready worker")
        assert becomes_well(installed, worker, check, **variables)
        assert stop(worker.process) == 0
    assert (
        installed.ran(
            *[word.replace("--timeout 10", "--timeout 1") for word in check], **variables
        ).returncode
        != 0
    )


def test_flower_shows_nothing_without_its_login(
    installed: Installed, redis_server: RedisServer
) -> None:
    port = free_port()
    variables = SERVICES["flower"]["environment"] | {
        "REDIS_URL": redis_server.url,
        "FLOWER_BASIC_AUTH": LOGIN,
    }
    with installed.running(*command_of(SERVICES["flower"], port=port), **variables) as flower:
        assert becomes_well(installed, flower, health_check_of(SERVICES["flower"], port=port))
        for page in ("", "tasks", "broker", "api/workers", "api/tasks"):
            assert get(f"http://127.0.0.1:{port}/{page}")[0] == 401, page
        assert get(f"http://127.0.0.1:{port}/tasks", login="operator:wrong")[0] == 401
        assert get(f"http://127.0.0.1:{port}/tasks", login=LOGIN)[0] == 200


def test_sandbox_health_check_passes_while_it_runs(installed: Installed) -> None:
    port = free_port()
    check = health_check_of(SERVICES["sandbox"], port=port)
    assert installed.ran(*check).returncode != 0
    with installed.running(*command_of(SERVICES["sandbox"], port=port)) as sandbox:
        assert becomes_well(installed, sandbox, check)
