"""`signal-mailgun sandbox`: the lines that it prints, pasted into another shell, make the commands there work on it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.bench import Bench, clean_environment, identified
from tests.sandbox_control import SandboxControl
from tests.servers import eventually

ADDRESS = "jane@example.com"
LAST = "MAILGUN_ALLOW_CUSTOM_HOST"


@pytest.fixture
def printed(tmp_path: Path) -> Iterator[list[str]]:
    """The lines that the command prints while it runs."""
    command = [sys.executable, "-m", "worker", "sandbox", "--port=0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=clean_environment()
    ) as process:
        assert process.stdout
        lines: list[str] = []
        while not lines or LAST not in lines[-1]:
            line = process.stdout.readline()
            assert line, "it ended"
            lines.append(line.rstrip("\n"))
        yield lines
        process.terminate()


def shell(lines: list[str], command: str, server: str, folder: Path) -> subprocess.Popen[str]:
    """Start a shell into which the lines and a command are pasted."""
    program = f"exec {sys.executable} -m worker {command}"
    return subprocess.Popen(
        ["/bin/sh", "-c", "\n".join([*lines, program])],
        env=clean_environment(REDIS_URL=server, METRICS_PORT="0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    )


def ended(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    return text


def test_pasted_lines_lead_events_and_a_worker_to_the_sandbox(
    own: Bench, printed: list[str], tmp_path: Path
) -> None:
    url = printed[0].removeprefix("sandbox listening on ")
    assert [line.split()[:2] for line in printed[1:4]] == [
        ["key", "sandbox-key"],
        ["list", "newsletter@mg.example.com"],
        ["page", f"{url}/"],
    ]
    exports = [line for line in printed if line.startswith("  export ")]
    (tmp_path / "events.ndjson").write_text(json.dumps(identified(ADDRESS, plan="pro")))
    checked = ended(shell(exports, "check", own.server.url, tmp_path))
    assert f"{url}: the key is right, the list exists" in checked
    assert "1" in ended(shell(exports, "send events.ndjson", own.server.url, tmp_path))
    control = SandboxControl(url)
    worker = shell(exports, "worker", own.server.url, tmp_path)
    try:
        found = eventually(lambda: control.members().get(ADDRESS), 60, "the member")
        assert found
        assert found.vars == {"plan": "pro"}
    finally:
        worker.kill()
        worker.communicate()
        control.close()
