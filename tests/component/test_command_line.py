"""The command line as a whole: its examples, the option `--integration`, completion, what it prints to paste."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import split
from typing import Any

import pytest

from tests.integration.bench import clean_environment, printed_by
from tests.servers import RedisServer, eventually
from worker.cli import commands
from worker.cli.examples import EXAMPLES

OPTION = "--integration"


def within(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from within(command, f"{path}{name} ")
        else:
            yield path + name, command


COMMANDS = dict(within(commands()))


def test_each_command_has_examples_and_the_option_integration() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    assert [path for path, each in COMMANDS.items() if not each.epilog] == []
    assert [
        path
        for path, each in COMMANDS.items()
        if not any(OPTION in parameter.opts for parameter in each.params)
    ] == []


@pytest.mark.parametrize(
    ("arguments", "loads"),
    [
        (["pause"], ["pause"]),
        (["dead-letters", "list"], ["dead_letters"]),
        (["no-command", "pause"], ["pause", "check", "dead_letters"]),
        ([OPTION, "own", "pause"], ["pause"]),
        ([f"{OPTION}=own", "pause"], ["pause"]),
        (["--help", "pause"], ["pause", "check", "dead_letters"]),
        ([], ["pause", "check", "dead_letters"]),
    ],
)
def test_only_the_named_command_is_loaded(arguments: list[str], loads: list[str]) -> None:
    code = (
        f"import sys; from worker.cli import commands; commands({arguments!r}); "
        "print(*(each for each in ('pause', 'check', 'dead_letters') "
        "if f'worker.cli.{each}' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == loads


@pytest.mark.parametrize(
    ("path", "example"), [(path, each) for path in EXAMPLES for each in EXAMPLES[path]]
)
def test_an_example_is_a_line_that_its_command_accepts(path: str, example: str) -> None:
    line = re.split(r" [<>|] ", example.rpartition("| signal-mailgun ")[2])[0]
    given = split(line)
    assert given[: len(path.split())] == path.split()
    COMMANDS[path].make_context(path, given[len(path.split()) :])


def test_help_shows_the_examples_one_a_line(tmp_path: Path) -> None:
    printed = printed_by("-m", "worker", "send", "--help", folder=tmp_path)
    assert printed.out.endswith(
        "  Examples:\n    signal-mailgun send events.ndjson\n    zcat events.gz | signal-mailgun send -\n"
    )


@pytest.mark.parametrize(
    "given", [(OPTION, "own-name", "pause"), ("pause", OPTION, "own-name")], ids=["before", "after"]
)
def test_the_option_integration_outranks_the_setting(
    tmp_path: Path, server: RedisServer, given: tuple[str, ...]
) -> None:
    settings = {"REDIS_URL": server.url, "SIGNAL_INTEGRATION": "other"}
    printed = printed_by("-m", "worker", *given, folder=tmp_path, **settings)
    assert printed.status == 0
    assert printed.out.startswith("mailgun.own-name ")


@pytest.mark.parametrize("name", ["Own", "-own", "a" * 64, "a b", ""])
def test_a_name_that_no_integration_can_have_is_wrong_usage(tmp_path: Path, name: str) -> None:
    printed = printed_by("-m", "worker", "status", f"{OPTION}={name}", folder=tmp_path)
    assert printed.status == 2
    assert "small letters" in printed.err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("dead", "dead-letters"), ("dead-letters re", "replay"), ("status --wa", "--watch")],
)
def test_a_shell_completes_commands_and_options(tmp_path: Path, typed: str, offered: str) -> None:
    asked = {
        "_SIGNAL_MAILGUN_COMPLETE": "complete_bash",
        "COMP_WORDS": f"signal-mailgun {typed}",
        "COMP_CWORD": str(len(typed.split())),
    }
    printed = printed_by("-m", "worker", folder=tmp_path, **asked)
    assert (printed.status, printed.out.split()) == (0, [offered])


def pasted(printed: str, folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in another shell, after the lines that were printed to be pasted there."""
    lines = [line for line in printed.splitlines() if line.startswith("  export ")]
    assert lines, printed
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
    return subprocess.run(
        ["/bin/sh", "-c", "\n".join([*lines, command])],
        env={**clean_environment(), "PATH": path},
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        check=False,
    )


def test_the_sandbox_prints_the_lines_by_which_commands_reach_it(
    tmp_path: Path, server: RedisServer
) -> None:
    output = tmp_path / "output"
    command = [sys.executable, "-m", "worker", "sandbox", "--port=0"]
    with (
        output.open("wb") as file,
        subprocess.Popen(command, env=clean_environment(), stdout=file, cwd=tmp_path) as sandbox,
    ):
        try:
            eventually(lambda: "CUSTOM_HOST" in output.read_text(), 60, "the lines")
            printed = output.read_text()
            checked = pasted(printed, tmp_path, f"REDIS_URL={server.url} signal-mailgun check")
        finally:
            sandbox.send_signal(signal.SIGTERM)
            sandbox.wait(30)
    assert "  key   sandbox-key\n  list  newsletter@mg.example.com\n" in printed
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "the list exists" in checked.stdout
