"""`signal-mailgun dead-letters list | show | replay`."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import typer
from rich.progress import track
from rich.table import Table

from worker.assembly import utc_now
from worker.delivery.dead_letters import Buried, DeadLetters
from worker.operate.cli.preview import as_text, previewed
from worker.operate.cli.terminal import Failure, clock_time, err, instant, out
from worker.operate.events_file import Entry
from worker.privacy import redacted, shortened
from worker.settings import Settings, load_settings
from worker.signal.preset import load_preset
from worker.store import connect

cli = typer.Typer(help="Look through, and replay, what Mailgun refused.", no_args_is_help=True)

Reason = Annotated[str | None, typer.Option(help="only this reason, e.g. rejected")]
Status = Annotated[int | None, typer.Option(help="only this HTTP status")]
Since = Annotated[str | None, typer.Option(help="died since: ISO 8601, or a span such as 2h")]
Until = Annotated[str | None, typer.Option(help="died until: ISO 8601, or a span such as 30m ago")]
Kind = Annotated[str | None, typer.Option(help="only this kind of event, e.g. identify")]
Email = Annotated[str | None, typer.Option(help="only this person's")]
Id = Annotated[str | None, typer.Option("--id", help="only this event")]
Limit = Annotated[int | None, typer.Option(min=1, help="at most so many")]
AsJson = Annotated[bool, typer.Option("--json", help="for programs")]


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant."""

    reason: str | None = None
    status: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    kind: str | None = None
    email: str | None = None
    id: str | None = None

    def holds(self, buried: Buried) -> bool:
        """Is this one meant?"""
        letter, message = buried.letter, buried.message
        died = datetime.fromtimestamp(letter.died_at, UTC)
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.status is None or letter.status == self.status)
            and (self.since is None or died >= self.since)
            and (self.until is None or died <= self.until)
            and (self.kind is None or message.kind.lower() == self.kind.lower())
            and (self.email is None or address_of(message.args) == self.email.strip().lower())
            and (self.id is None or message.id == self.id)
        )


def selection(  # the options of every command that takes filters
    reason: str | None,
    status: int | None,
    since: str | None,
    until: str | None,
    kind: str | None,
    email: str | None,
    id: str | None,
) -> Selection:
    """What the options mean. Raises `typer.BadParameter`."""
    now = utc_now()
    try:
        moments = [instant(text, now) if text else None for text in (since, until)]
    except ValueError:
        raise typer.BadParameter("--since and --until take ISO 8601 or a span such as 90m, 2h, 7d") from None
    return Selection(reason, status, moments[0], moments[1], kind, email, id)


def address_of(args: tuple[Any, ...]) -> str:
    """The address in an event's traits as it was sent, trimmed and lowercased; "" where there is none."""
    event = args[0] if args and isinstance(args[0], dict) else {}
    context = event.get("context")
    for traits in (event.get("traits"), context.get("traits") if isinstance(context, dict) else None):
        if isinstance(traits, dict) and isinstance(traits.get("email"), str):
            return str(traits["email"]).strip().lower()
    return ""


@cli.command("list")
def list_(
    *,
    reason: Reason = None,
    status: Status = None,
    since: Since = None,
    until: Until = None,
    kind: Kind = None,
    email: Email = None,
    id: Id = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """The newest dead letters, and how many there are for each reason."""
    wanted = selection(reason, status, since, until, kind, email, id)
    letters = opened(load_settings())
    shown: list[Buried] = []
    totals: Counter[str] = Counter()
    for buried in letters.newest_first():
        if wanted.holds(buried):
            totals[buried.letter.reason] += 1
            if limit is None or len(shown) < limit:
                shown.append(buried)
    if as_json:
        out.print_json(json.dumps({"totals": totals, "dead_letters": [as_record(each) for each in shown]}))
    elif not shown:
        out.print("no dead letters" + ("" if wanted == Selection() else " match"))
    else:
        out.print(_table(shown))
        out.print("  ".join(f"{name} {count}" for name, count in totals.most_common()) + f"  total {totals.total()}")


@cli.command()
def show(id: Annotated[str, typer.Argument(metavar="ID")], *, as_json: AsJson = False) -> None:
    """One dead letter: the event, the request it would be now, Mailgun's answer, the likely cause and the mend."""
    settings = load_settings()
    buried = next((each for each in opened(settings).newest_first() if each.message.id == id), None)
    if buried is None:
        raise Failure(f"no dead letter {id}; `signal-mailgun dead-letters list` shows what there is")
    request = previewed(
        Entry(1, buried.message.args[0] if buried.message.args else None),
        settings,
        load_preset(settings.mailgun_preset),
    )
    if as_json:
        out.print_json(json.dumps({**as_record(buried), "event": list(buried.message.args), "request": request}))
        return
    _show(buried, request)


@cli.command()
def replay(
    *,
    reason: Reason = None,
    status: Status = None,
    since: Since = None,
    until: Until = None,
    kind: Kind = None,
    email: Email = None,
    id: Id = None,
    limit: Limit = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show each request; replay nothing")] = False,
    rate: Annotated[float | None, typer.Option(min=0.01, help="at most so many a second")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
) -> None:
    """Put dead letters back on the queue, oldest first. Safe to interrupt and repeat."""
    settings = load_settings()
    letters = opened(settings)
    wanted = selection(reason, status, since, until, kind, email, id)
    count = sum(1 for _ in chosen(letters, wanted, limit))
    if not count:
        out.print("no dead letters match; nothing to replay")
        return
    if dry_run:
        _rehearse(letters, wanted, limit, settings)
        return
    out.print(f"{count} dead letters would go back to {settings.queue}")
    if not yes and not typer.confirm("replay them?"):
        raise typer.Exit(1)
    replayed = _replay(letters, islice(chosen(letters, wanted, limit), count), count, rate)
    out.print(f"{replayed} replayed to {settings.queue}")


def chosen(letters: DeadLetters, wanted: Selection, limit: int | None) -> Iterator[Buried]:
    """The dead letters meant, oldest first, at most `limit`."""
    return islice((each for each in letters.oldest_first() if wanted.holds(each)), limit)


def opened(settings: Settings) -> DeadLetters:
    """The integration's dead letters."""
    return DeadLetters(connect(settings.redis_url), settings.signal_integration, settings.queue)


def as_record(buried: Buried) -> dict[str, Any]:
    """A dead letter for programs, without the event."""
    trail = [{"at": each.at, "outcome": each.outcome, "status": each.status} for each in buried.message.trail]
    return {"id": buried.message.id, "kind": buried.message.kind, **asdict(buried.letter), "trail": trail}


def _replay(letters: DeadLetters, wanted: Iterator[Buried], count: int, rate: float | None) -> int:
    replayed = 0
    for buried in track(wanted, "replaying", total=count, console=err, transient=True, disable=not err.is_terminal):
        replayed += letters.replay(buried, time.time())
        if rate:
            time.sleep(1 / rate)
    return replayed


def _rehearse(letters: DeadLetters, wanted: Selection, limit: int | None, settings: Settings) -> None:
    preset = load_preset(settings.mailgun_preset)
    for number, buried in enumerate(chosen(letters, wanted, limit), 1):
        shown = previewed(Entry(number, buried.message.args[0] if buried.message.args else None), settings, preset)
        out.print(f"{buried.message.id} ({buried.letter.reason})\n{as_text(shown)}", markup=False)


def _table(shown: list[Buried]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("died (UTC)", "event", "kind", "member", "reason", "status", "attempts"):
        table.add_column(column, overflow="fold")
    for buried in shown:
        letter, message = buried.letter, buried.message
        cells = (
            clock_time(letter.died_at),
            message.id,
            redacted(message.kind),
            shortened(address_of(message.args)),
            letter.reason,
            str(letter.status or "-"),
            str(letter.attempts),
        )
        table.add_row(*cells)
    return table


def _show(buried: Buried, request: dict[str, Any]) -> None:
    letter, message = buried.letter, buried.message
    lines = [
        f"event      {message.id} ({message.kind}), enqueued {clock_time(message.enqueued_at)} UTC",
        f"died       {clock_time(letter.died_at)} UTC, {letter.attempts} attempts, integration {letter.integration}",
        f"reason     {letter.reason}{f' (HTTP {letter.status})' if letter.status else ''}",
        f"answer     {letter.answer}",
        f"cause      {letter.cause}",
        f"mend       {letter.fix}",
        *(f"attempt    {clock_time(each.at)} UTC {each.outcome} {each.status or ''}" for each in message.trail),
        "",
        json.dumps(message.args[0] if len(message.args) == 1 else list(message.args), indent=2, ensure_ascii=False),
        "",
        as_text(request),
    ]
    out.print("\n".join(lines), markup=False)
