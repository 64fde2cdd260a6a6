"""The commands in docs/upgrading.md, run on a real server; the systemd units, read by systemd."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integrations import OwnIntegration, delay_one
from worker.queue.codec import decode
from worker.queue.delay_queue import DelayQueue
from worker.queue.message import Message
from worker.settings import Settings

PROJECT = Path(__file__).parents[2]
UNITS = sorted((PROJECT / "deploy" / "systemd").glob("*.service"))


def documented_commands(integration: str) -> list[str]:
    """The lines that docs/upgrading.md has for redis-cli, for `integration`."""
    lines = (PROJECT / "docs" / "upgrading.md").read_text().splitlines()
    commands = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
    return [each.replace("signal:default:", f"signal:{integration}:") for each in commands]


def test_events_under_the_old_key_become_due_after_the_upgrade(own: OwnIntegration) -> None:
    delay_queue = DelayQueue(own.redis, own.name, own.queue)
    delay_one(delay_queue, Message(id="old", args=({},)), -1.0)
    own.redis.rename(delay_queue.key, f"signal:{own.name}:parked")
    delay_one(delay_queue, Message(id="new", args=({},)), -1.0)
    first, *commands, last = documented_commands(own.name)
    with own.redis.pipeline(transaction=True) as pipe:
        for command in commands:
            pipe.execute_command(*command.split())  # type: ignore[no-untyped-call]
        pipe.execute()
    assert (first, last) == ("MULTI", "EXEC")
    assert delay_queue.requeue_due() == 2
    queued = own.redis.lrange(own.queue, 0, -1)
    assert {decode(str(each))[0].id for each in queued} == {"old", "new"}
    assert own.redis.exists(f"signal:{own.name}:parked") == 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / unit.name.replace("@", "@1")
    text = unit.read_text()
    copy.write_text(text.replace("/opt/signal-mailgun/bin/", f"{shutil.which('true')} "))
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_waits_longer_than_a_delivery_can_take() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(PROJECT / "deploy" / "systemd" / "signal-mailgun-worker@.service")
    settings = Settings(_env_file=None)
    assert int(unit["Service"]["TimeoutStopSec"]) > settings.longest_delivery_seconds + 10
