"""`signal-mailgun sync`: fill the ledger from Mailgun's member pages, 100 members a request."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, assert_never

import redis
import typer
from rich.progress import Progress, TaskID, TimeRemainingColumn

from worker.cli.check import finding_for, trouble_finding
from worker.cli.console import CommandError, Stopped, err, out
from worker.cli.options import AsJson
from worker.cli.progress import progress_bar
from worker.delivery.retry_policy import RetryPolicy, retry_delay
from worker.mailgun.outcome import Outcome, OutcomeKind, list_exists, members_count
from worker.mailgun.response import NoResponse, Response
from worker.members.page_import import AnotherList, RetryAfter
from worker.members.sync import ListSync, SyncReplaced
from worker.members.sync_progress import SyncProgress
from worker.monitoring.hold_log import log_hold_change
from worker.printable import printable
from worker.redis_client.client import connect
from worker.settings import Settings, load_settings
from worker.wiring import deliverer_for, list_sync_for, utc_now

TRIES = 6  # failed requests in a row, after which the sync ends
LOOK_SECONDS = 1.0  # between two checks whether a hold is over
UNUSED = "MAILGUN_MEMBER_STATE=read will not use it: every member is read before it is written"
EXPIRED = (
    "that took longer than LEDGER_DAYS, so what was read first has expired: new contacts are read "
    "one by one; raise LEDGER_DAYS"
)
OTHER_LIST = (
    "the workers have another MAILGUN_LIST_ADDRESS, MAILGUN_API_BASE_URL or SIGNAL_DIGEST_KEY than "
    "this shell, so nothing was stored; after a change start a worker, which syncs by itself"
)


def sync(
    *,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Start from the beginning, not where the last sync stopped."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fill the ledger from Mailgun.

    Then workers need not read each member before they write it. Safe to interrupt and repeat.
    """
    settings = load_settings()
    if settings.mailgun_member_state == "read":
        err.print(UNUSED)
    delivery = deliverer_for(
        settings, connect(settings.redis_url), utc_now, on_hold_change=log_hold_change
    )
    done = _read_all(settings, list_sync_for(settings, delivery), restart=restart)
    if not done.covers:
        err.print(EXPIRED)
    if as_json:
        counts = {
            "members": done.members,
            "unsubscribed": done.unsubscribed,
            "requests": done.requests,
        }
        counts |= {"unreadable": done.unreadable} if done.unreadable else {}
        out.print_json(data={**counts, "seconds": round(done.seconds, 1)})
        return
    out.print(
        f"{done.members} members read, {done.unsubscribed} unsubscribed, "
        f"{done.requests} requests, {done.seconds:.0f} seconds"
    )
    if done.unreadable:
        out.print(
            f"{done.unreadable} more cannot be held as Mailgun shows them; "
            f"each is read again before it is written"
        )


@dataclass
class ProgressDisplay:
    """The progress on standard error: a bar on a terminal, elsewhere a line for each hold."""

    progress: Progress
    bar: TaskID
    waits: str = ""

    def pages(self, so_far: SyncProgress) -> None:
        """Show how many members have been read."""
        self.waits = ""
        self.progress.update(self.bar, completed=so_far.members, description="members read")

    def pacing(self, why: str) -> None:
        """Show why the next page is not read at once; prints no line without a terminal."""
        self.progress.update(self.bar, description=f"waiting: {printable(why)}")

    def waiting(self, why: str) -> None:
        """Show what the sync waits for; without a terminal, print it when the reason changes."""
        self.pacing(why)
        if why != self.waits and not err.is_terminal:
            err.print(f"waiting: {why}")
        self.waits = why


def _read_all(settings: Settings, sync: ListSync, *, restart: bool) -> SyncProgress:
    so_far = sync.begin(anew=restart)
    try:
        with _progress_display() as shown:
            total = _total(settings, sync, shown)
            shown.progress.update(shown.bar, total=total)
            for further in _each(settings, sync, so_far, shown, total):
                so_far = further
                shown.pages(so_far)
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {_how_to_go_on(so_far)}") from None
    except SyncReplaced:
        raise CommandError(
            "another process goes on with the sync in place of this one; `status` shows how far"
        ) from None
    except AnotherList:
        raise CommandError(OTHER_LIST) from None
    except redis.RedisError:
        err.print(_how_to_go_on(so_far))
        raise
    except CommandError as failure:
        raise CommandError(f"{failure}; {_how_to_go_on(so_far)}") from None
    return so_far


def _how_to_go_on(so_far: SyncProgress) -> str:
    return f"{so_far.members} members are read: run `signal-mailgun sync` again to go on from there"


def _total(settings: Settings, sync: ListSync, shown: ProgressDisplay) -> int | None:
    """Return how many members the list says it has; None if Mailgun gives no usable answer.

    Raises:
        CommandError: Mailgun answers 401, 403 or 404: the key or the list is wrong.
    """
    while (wait := sync.page_importer.ledger.gate.acquire_background()[0]) > 0:
        _wait(sync, wait, shown)
    answer = sync.page_importer.mailgun.read_list()
    if isinstance(answer, Response) and list_exists(answer):
        return members_count(answer) or None
    if isinstance(answer, Response) and answer.status in {401, 403, 404}:
        raise CommandError(finding_for(settings).in_one_line())
    return None


def _each(
    settings: Settings,
    sync: ListSync,
    so_far: SyncProgress,
    shown: ProgressDisplay,
    total: int | None = None,
) -> Iterator[SyncProgress]:
    """Yield the progress after each page.

    Raises:
        CommandError: Mailgun refuses, or `TRIES` requests in a row had no usable answer.
    """
    retry_policy = RetryPolicy(settings.retry_base_seconds, settings.retry_max_delay_seconds)
    failures = 0
    for step in sync.steps(so_far, total):
        match step:
            case SyncProgress():
                failures = 0
                yield step
            case RetryAfter(seconds):
                _wait(sync, seconds, shown)
            case Outcome(OutcomeKind.THROTTLED):
                pass  # the integration is on hold now; the next step says for how long
            case Outcome():
                failures += 1
                if step.kind is not OutcomeKind.UNAVAILABLE or failures == TRIES:
                    raise CommandError(_trouble(step, settings.mailgun_api_base_url))
                shown.waiting(f"Mailgun is unavailable, {failures} of {TRIES} tries")
                time.sleep(retry_delay(failures, retry_policy, random.random()))  # noqa: S311  no secret
            case _:
                assert_never(step)


def _wait(sync: ListSync, seconds: float, shown: ProgressDisplay) -> None:
    hold = sync.page_importer.ledger.gate.state()
    if hold.kind:
        shown.waiting(f"{hold.kind}: {hold.why}")
    elif hold.rate:
        shown.pacing(f"at most {hold.rate:.1f} requests/s")
    else:
        shown.waiting("Mailgun was unavailable")
    time.sleep(min(seconds, LOOK_SECONDS))


def _trouble(outcome: Outcome, base_url: str) -> str:
    status, text = outcome.status, outcome.answer
    answer = Response(status, text.encode()) if status else NoResponse(text)
    return trouble_finding(answer, base_url).in_one_line()


@contextmanager
def _progress_display() -> Iterator[ProgressDisplay]:
    with progress_bar(TimeRemainingColumn()) as progress:
        yield ProgressDisplay(progress, progress.add_task("members read", total=None))
