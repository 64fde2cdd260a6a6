r"""Terminal output: every command prints through `out` or `err`, which escape control characters.

A text given to `print` is one line: control characters, including line breaks, are escaped, and
markup is shown as it is. Several lines are several texts with `sep="\n"`; colour is a `Text` with
a style.
"""

import errno
from collections.abc import Iterable
from json import dumps, loads
from signal import SIGINT
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from worker.environment.names import reason
from worker.printable import encodable, printable

Styled = Text  # what `styled` returns


class CommandError(Exception):
    """A command that cannot do what was asked; the text is one line that says what to do."""


class Stopped(CommandError):
    """A command stopped by Ctrl-C or a signal; the text says what was done until then."""

    def __init__(self, text: str, signal: int = SIGINT) -> None:
        super().__init__(text)
        self.signal = signal


class OutputFailed(CommandError):
    """A failed write to standard output or standard error, as on a full disk."""


class ReaderGone(Exception):
    """The program that reads the output closed its pipe, as `head` does."""


class Door(Console):
    """A rich console that escapes every control character in what it prints.

    Its methods raise `OutputFailed` or `ReaderGone` if the stream cannot be written.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        """Write to the current `sys.stdout`, or to the current `sys.stderr`."""
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, emoji=False, markup=False)

    def print(self, *objects: Any, sep: str = " ", end: str = "\n", **options: Any) -> None:
        """Print each of `objects` on one line, escaped; `sep` and `end` are written unescaped."""
        shown = [_harmless(each) for each in objects]
        if not self.is_terminal and all(isinstance(each, str) for each in shown):
            self._write(encodable(sep.join(shown) + end, self.encoding))
        else:
            super().print(*shown, sep=sep, end=end, **{**options, "markup": False})

    def print_json(self, json: str | None = None, *, data: Any = None, **_: Any) -> None:
        """Print `data`, or a value given as JSON text, as ASCII JSON, indented by two spaces.

        Raises:
            RecursionError: The value is nested too deep.
        """
        value = data if json is None else loads(json)
        self.print(*dumps(value, indent=2).split("\n"), sep="\n")

    def print_bytes(self, data: bytes) -> None:
        """Write `data` unescaped.

        Raises:
            CommandError: The output is a terminal, which might execute control sequences in `data`.
        """
        if self.is_terminal:
            raise CommandError(
                "these bytes may be orders to a terminal; write them to a file or a pipe"
            )
        self._write("")  # flush the text layer, so that earlier output comes first
        try:
            self.file.buffer.write(data)  # type: ignore[attr-defined]
            self.file.flush()
        except OSError as error:
            self._failed(error)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text`, such as a table's cell or a title, escaped and without markup."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments to write, each escaped unless it is rich's own control code."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else self._fit(segment)

    def on_broken_pipe(self) -> None:
        """Raise `ReaderGone`; rich's own method would end the process."""
        raise ReaderGone from None

    def _fit(self, segment: Segment) -> Segment:
        text = "\n".join(map(printable, segment.text.split("\n")))
        return Segment(encodable(text, self.encoding), segment.style)

    def _write(self, text: str) -> None:
        try:
            self.file.write(text)
            self.file.flush()
        except OSError as error:
            self._failed(error)

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError as error:
            self._buffer.clear()
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if error.errno == errno.EPIPE:
            self.on_broken_pipe()
        where = "error" if self.stderr else "output"
        raise OutputFailed(f"standard {where} cannot be written: {reason(error)}") from None


def _harmless(shown: Any) -> Any:
    match shown:
        case str():
            return printable(shown)
        case Text() if shown.plain != printable(shown.plain):
            return Text(printable(shown.plain), style=shown.style)
        case _:
            return shown


out = Door()
err = Door(stderr=True)


def styled(text: str, style: str) -> Text:
    """Return `text`, escaped, in that style.

    Every `Text` is made here, because rich's constructor silently drops some control characters.
    """
    return Text(printable(text), style)


def messages(count: int) -> str:
    """Return `1 message`, `12 messages`. A message carries one event or many."""
    return f"{count} message{'' if count == 1 else 's'}"
