"""The door: whatever is given to it, only what may be shown comes out, and no text adds a line."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.live import Live
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from tests.unit.strategies import any_text, json_values
from worker.cli import console
from worker.cli.console import Door, OutputFailed, ReaderGone, styled
from worker.cli.tables import print_rows
from worker.ops.times import clock_time, span

HOSTILE = "\x1b]52;c;cm0=\x07\x9b31m\u202egnp.exe[red]R[/red][/x]\r\b\u200b\u2028\ud800"


class Screen(Door):
    """A door whose text is kept."""

    def __init__(self, *, terminal: bool, width: int = 80, encoding: str = "utf-8") -> None:
        super().__init__()
        self.bytes = io.BytesIO()
        self._file = io.TextIOWrapper(self.bytes, encoding, newline="")
        self._force_terminal = terminal
        self._width = width
        self._height = 25

    @property
    def shown(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)


def as_text(screen: Screen, text: str) -> None:
    screen.print(text)


def as_styled(screen: Screen, text: str) -> None:
    screen.print(styled(text, "red"), text, Text(text, "bold"))


def as_json(screen: Screen, text: str) -> None:
    screen.print_json(data={"a": text, text: [text]})
    screen.print_json(json.dumps(text))


def as_cell(screen: Screen, text: str) -> None:
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    table.add_row(Text(text))
    screen.print(table)


def as_progress(screen: Screen, text: str) -> None:
    with Progress(TextColumn("{task.description}", markup=False), console=screen) as progress:
        progress.add_task(text)


def as_status(screen: Screen, text: str) -> None:
    with screen.status(console.styled(text, "")):
        pass


def as_live(screen: Screen, text: str) -> None:
    with Live(Text(text), console=screen, auto_refresh=False):
        screen.print(text)


WAYS: list[Callable[[Screen, str], None]] = [
    as_text,
    as_styled,
    as_json,
    as_cell,
    as_progress,
    as_status,
    as_live,
]
SENT = {"\x1b", "\n", "\r"}  # what rich sends to a terminal to colour, and to draw over a line


@pytest.mark.parametrize("on_terminal", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("width", [1, 40, 80])
def test_control_sequences_in_a_text_do_not_reach_the_terminal(
    way: Any,
    on_terminal: bool,  # noqa: FBT001
    width: int,
) -> None:
    screen = Screen(terminal=on_terminal, width=width)
    way(screen, HOSTILE)
    shown = screen.shown
    assert all(character.isprintable() or character in SENT for character in shown)
    assert "\x1b]" not in shown
    assert "\u202e" not in shown
    if not on_terminal:
        assert "\x1b" not in shown


@settings(max_examples=150, derandomize=True, deadline=None)
@given(any_text, st.booleans(), st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252"]))
def test_printed_text_is_one_line_whatever_it_contains(
    text: str,
    on_terminal: bool,  # noqa: FBT001
    encoding: str,
) -> None:
    screen = Screen(terminal=on_terminal, encoding=encoding)
    screen.print(text)
    assert len(screen.shown.splitlines()) == 1
    screen.print(text, text, sep="\n")
    assert screen.shown.count("\n") == 3


@settings(max_examples=100, derandomize=True, deadline=None)
@given(json_values)
def test_json_is_ascii_and_the_same_value(value: Any) -> None:
    screen = Screen(terminal=False)
    screen.print_json(data=value)
    assert screen.shown.isascii()
    assert json.loads(screen.shown) == value


def test_markup_in_a_text_is_printed_literally() -> None:
    for on_terminal in (False, True):
        screen = Screen(terminal=on_terminal)
        screen.print("[bold]x[/] [/y] :smile:")
        assert screen.shown == "[bold]x[/] [/y] :smile:\n"


def test_signs_that_cannot_be_encoded_are_replaced() -> None:
    screen = Screen(terminal=True, encoding="ascii")
    screen.print("✓ a → b …", styled("Zoë", ""))
    assert screen.shown == "+ a -> b ... Zo\\xeb\n"


HEADER = ("died", "event", "kind")
ID = "0b5c1f1e-2f5e-4c2a-9d0e-7a8f00000000"
LONG = "m-" + "x" * 120


def rows_on(screen: Screen, monkeypatch: pytest.MonkeyPatch, *rows: tuple[str, str, str]) -> str:
    monkeypatch.setattr("worker.cli.tables.out", screen)
    print_rows(HEADER, rows, key=1)
    return screen.shown


def test_rows_that_fit_are_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = rows_on(
        Screen(terminal=True), monkeypatch, ("11-23", ID, "page"), ("11-24", "東京", "x")
    )
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["11-23", ID, "page"],
        ["11-24", "東京", "x"],
    ]
    assert (
        shown.splitlines()[2].index("x") == shown.splitlines()[1].index("page") - 2
    )  # two wide characters


@pytest.mark.parametrize("width", [1, 40, 80])
def test_id_is_never_broken_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    shown = rows_on(
        Screen(terminal=True, width=width),
        monkeypatch,
        ("11-23", LONG, "page"),
        ("11-24", ID, "page"),
    )
    assert LONG in shown
    assert ID in shown


def test_row_without_a_terminal_is_a_line_of_tab_separated_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = rows_on(
        Screen(terminal=False, width=20),
        monkeypatch,
        ("11-23", LONG, "a\tb\nc"),
        ("11-24", ID, "page"),
    )
    assert shown == f"11-23\t{LONG}\ta\\tb\\nc\n11-24\t{ID}\tpage\n"


class Full(io.StringIO):
    """A file that takes nothing."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        raise self.error


@pytest.mark.parametrize("on_terminal", [False, True])
def test_full_disk_is_reported_but_a_reader_that_has_gone_is_not(on_terminal: bool) -> None:  # noqa: FBT001
    screen = Screen(terminal=on_terminal)
    screen._file = Full(OSError(28, "No space left on device"))
    with pytest.raises(
        OutputFailed, match="standard output cannot be written: No space left on device"
    ):
        screen.print("x")
    screen._file = Full(BrokenPipeError(32, "Broken pipe"))
    with pytest.raises(ReaderGone):
        screen.print("x")


@given(st.floats())
def test_any_number_is_printable_as_a_time_and_as_a_span(number: float) -> None:
    assert clock_time(number).isprintable()
    assert span(number).isprintable()
