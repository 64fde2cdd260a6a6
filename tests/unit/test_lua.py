"""Lua lies in files that tell their KEYS and ARGV, each of which a module loads."""

import ast
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from worker.redis_client.lua import script

PROJECT = Path(__file__).parents[2]
SCRIPTS = sorted((PROJECT / "worker").rglob("*.lua"))
MODULES = sorted((PROJECT / "worker").rglob("*.py"))
# `lua.py` holds what scripts begin with that may run when memory is full; `gate.py`, calls of one
# function.
WITH_LUA = {"worker/redis_client/lua.py", "worker/gate/gate.py"}


def name_of(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def head_of(text: str) -> list[str]:
    return list(takewhile(lambda line: line.startswith("--"), text.splitlines()))


def undocumented(text: str) -> list[str]:
    """What a script uses and its head does not name."""
    head = head_of(text)
    code = re.sub(r"--.*", "", text)
    return [
        word
        for word in ("KEYS", "ARGV")
        if re.search(rf"\b{word}\b", code) and not re.search(rf"\b{word}\b", "\n".join(head))
    ]


LONGEST_LINE = 100


def long_lines(text: str) -> list[int]:
    """The numbers of the lines that are longer than 100 characters."""
    return [number for number, line in enumerate(text.splitlines(), 1) if len(line) > LONGEST_LINE]


def loaded_by(module: str) -> Iterator[str]:
    """The files that the calls of `script` in a module's text name."""
    for node in ast.walk(ast.parse(module)):
        match node:
            case ast.Call(
                func=ast.Name(id="script"), args=[ast.Constant(value=str(package)), *names]
            ):
                yield from (
                    f"{package.replace('.', '/')}/{ast.literal_eval(name)}.lua" for name in names
                )


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_script_begins_with_a_head_that_lists_keys_and_arguments(path: Path) -> None:
    text = path.read_text()
    assert head_of(text), "it begins with no comment"
    assert undocumented(text) == []
    assert text.endswith("\n"), "what comes after it would be on its last line"


def test_script_whose_head_omits_a_key_or_argument_is_found() -> None:
    assert undocumented(
        "-- KEYS 1: a list.\nreturn redis.call('LPOP', KEYS[1], ARGV[1])  -- ARGV 1: how many\n"
    ) == ["ARGV"]
    assert undocumented("-- Adds.\nlocal function add(one, other) return one + other end\n") == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_script_has_no_line_over_100_characters(path: Path) -> None:
    assert long_lines(path.read_text()) == []


def test_long_line_of_a_script_is_found() -> None:
    assert long_lines(f"{'-' * LONGEST_LINE}\n{'-' * (LONGEST_LINE + 1)}\n") == [2]


def test_scripts_are_exactly_those_that_modules_load() -> None:
    assert {each for path in MODULES for each in loaded_by(path.read_text())} == set(
        map(name_of, SCRIPTS)
    )


def test_modules_contain_no_lua() -> None:
    found = {
        name_of(path)
        for path in MODULES
        if re.search(r"\bredis\.p?call\(|\b(KEYS|ARGV)\[", path.read_text())
    }
    assert found <= WITH_LUA


def test_scripts_are_joined_in_the_order_in_which_they_are_named() -> None:
    pace, gate = ((PROJECT / f"worker/gate/{name}.lua").read_text() for name in ("pace", "gate"))
    assert script("worker.gate", "pace", "gate") == pace + gate


def test_a_script_or_package_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        script("worker.gate", "no_such_script")
    with pytest.raises(ModuleNotFoundError):
        script("worker.no_such_package", "gate")
