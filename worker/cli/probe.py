"""`signal-mailgun check --probe`: run the account probe, delete its member even after Ctrl-C."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType

import typer
from rich.table import Table

from worker.cli.console import CommandError, Stopped, Styled, err, out, styled
from worker.cli.tables import print_rows
from worker.mailgun.response import NoResponse, Response
from worker.ops.account_probe.probe_member import ProbeMember
from worker.ops.account_probe.runner import ProbeFinding, ProbeReport, run_probe
from worker.settings import Settings
from worker.wiring import mailgun_for

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The first signal ends the probe and deletes its member; the third no longer waits for that.
MOST_SIGNALS = 3
TABLE_WIDTH = 80
# Together with the mark, the first column and the gaps these make TABLE_WIDTH.
WIDTHS = {"assumed": 15, "found": 17, "what to set": 17}


class ForceQuit(BaseException):
    """The operator's third signal: end without waiting for the member's deletion."""


def probe_account(
    settings: Settings, *, as_json: bool, trouble: Callable[[Response | NoResponse], str]
) -> None:
    """Probe the Mailgun account of `settings` and show the findings.

    `trouble` returns the line that says why Mailgun could not be asked.

    Raises:
        CommandError: The probe ended early, or left its member on the list.
        typer.Exit: With status 1 if something that the worker relies on is not so.
    """
    caught: list[int] = []  # numbers of the signals
    probe_member, result = _run_probe(settings, caught)
    rest = _rest(probe_member, result)
    if result.trouble:
        raise CommandError(f"{trouble(result.trouble)}; {rest}")
    if caught:
        raise Stopped(f"stopped; {rest}", caught[0])
    _show(result, probe_member.requests, as_json=as_json)
    if not result.gone:
        raise CommandError(rest)
    if not all(finding.well for finding in result.findings):
        raise typer.Exit(1)


def _run_probe(settings: Settings, caught: list[int]) -> tuple[ProbeMember, ProbeReport]:
    probe_member = ProbeMember(mailgun_for(settings), stopped=lambda: bool(caught))
    try:
        with err.status("asking Mailgun …") as shown, _note_signals(caught, shown.update):
            return probe_member, run_probe(probe_member, settings.mailgun_write_mode)
    except ForceQuit:
        raise Stopped(
            f"stopped at once; {_leftover_line(probe_member, 'may still be on the list')}",
            caught[0],
        ) from None


@contextmanager
def _note_signals(caught: list[int], update: Callable[[str], None]) -> Iterator[None]:
    def note(number: int, _: FrameType | None) -> None:
        caught.append(number)
        if len(caught) >= MOST_SIGNALS:
            raise ForceQuit
        update(
            f"stopping: deleting the throw-away member "
            f"({MOST_SIGNALS - len(caught)} more Ctrl-C leave it there) …"
        )

    before = {
        each: signal.signal(each, note)
        for each in ENDING
        if signal.getsignal(each) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _show_findings(heading: str, findings: list[ProbeFinding]) -> None:
    if out.width >= TABLE_WIDTH:
        out.print(findings_table(heading, findings), soft_wrap=False)
        return
    header = (heading, "assumed", "found", "what to set", "well")
    rows = [
        (each.tried, each.assumed, each.found, each.to_set, _mark(each).plain) for each in findings
    ]
    print_rows(header, rows)


def findings_table(heading: str, findings: Iterable[ProbeFinding]) -> Table:
    """Return the findings as a table of `TABLE_WIDTH` columns."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(width=1)
    table.add_column(heading, width=22)
    for column, width in WIDTHS.items():
        table.add_column(column, width=width, overflow="fold")
    for finding in findings:
        to_set = "see below" if _is_long(finding) else finding.to_set
        table.add_row(_mark(finding), finding.tried, finding.assumed, finding.found, to_set)
    return table


def _is_long(finding: ProbeFinding) -> bool:
    return len(finding.to_set) > WIDTHS["what to set"]


def _mark(finding: ProbeFinding) -> Styled:
    if not finding.relied_on:
        return styled("·", "")
    return styled("✓", "green") if finding.well else styled("✗", "red")


def _show(result: ProbeReport, requests: int, *, as_json: bool) -> None:
    if as_json:
        out.print_json(
            data=[{**asdict(finding), "ok": finding.well} for finding in result.findings]
        )
        return
    for heading, relied_on in (("The worker relies on", True), ("It is right either way", False)):
        findings = [finding for finding in result.findings if finding.relied_on is relied_on]
        _show_findings(heading, findings)
        out.print()
    for finding in filter(_is_long, result.findings):
        out.print(styled(f"→ {finding.tried}: {finding.to_set}", ""), soft_wrap=False)
    wrong = sum(not finding.well for finding in result.findings)
    verdict = (
        f"Not so: {wrong} of what the worker relies on"
        if wrong
        else "All that the worker relies on is so"
    )
    leftover = " A leftover of an earlier probe was deleted first." if result.leftover else ""
    out.print(f"{verdict}. {requests} requests.{leftover}")


def _rest(probe_member: ProbeMember, result: ProbeReport) -> str:
    if not result.gone:
        return _leftover_line(probe_member, "could not be deleted")
    if probe_member.made:
        return "the throw-away member is deleted again"
    return "nothing was put on the list"


def _leftover_line(probe_member: ProbeMember, how: str) -> str:
    return f"{probe_member.address} {how}: delete it in Mailgun, or run `check --probe` again"
