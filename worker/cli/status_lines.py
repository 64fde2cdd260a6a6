"""The lines of `signal-mailgun status`: what each says of the integration, and in which colour."""

from typing import assert_never

from worker.cli.console import Styled, messages, styled
from worker.delivery.bulk_trust import FIRST_CALLS, BulkState, Form
from worker.delivery.worker_registry import WorkerEntry
from worker.members.opt_outs import OptOutStatus
from worker.members.sync_progress import SyncStatus
from worker.monitoring.redis_memory import FULL, NEARLY_FULL
from worker.monitoring.status import Status
from worker.ops.times import span
from worker.printable import printable


def rows(status: Status) -> list[tuple[str, str | Styled]]:
    """Return the lines of the screen, each a name and a text; what an operator must fix is red.

    Lines that have nothing to say are left out.
    """
    lines: dict[str, str | Styled | None] = {
        "queued": _queued(status),
        "in flight": messages(status.in_flight),
        "delayed": _delayed(status),
        "on hold": _on_hold(status),
        "failing": _failing(status.hold.members),
        "pace": _pace(status.hold.rate),
        "dead letters": _counts(status.dead_letters) or "none",
        "": _letters_bound(status.letters_share or 0.0),
        "last minute": _counts(status.last_minute) or "no event ended",
        "workers": _workers(status),
        "redis memory": _memory(status.memory or 0.0),
        "not understood": _not_understood(status.not_understood),
        "batches": _batches(status.bulk) if status.bulk else None,
        "opt-outs": _opt_outs(status.opt_outs) if status.opt_outs else None,
        "sync": _sync(status.sync) if status.sync else None,
    }
    return [(name, text) for name, text in lines.items() if text is not None]


def _queued(status: Status) -> str:
    queued = messages(status.queued)
    if status.oldest_age is None:
        return queued
    return f"{queued}, the oldest waits {span(status.oldest_age)}"


def _delayed(status: Status) -> str:
    delayed = messages(status.delayed)
    if not status.next_due:
        return delayed
    return f"{delayed}, next due in {span(status.next_due - status.at)}"


def _pace(rate: float | None) -> str:
    return f"{rate:.1f} requests/s at most" if rate else "as fast as it goes"


def _not_understood(counts: dict[str, int]) -> str | None:
    return _counts(counts) if any(counts.values()) else None


def _on_hold(status: Status) -> Styled:
    hold = status.hold
    if hold.kind is None:
        return styled("no", "green")
    since = f", since {span(status.at - hold.since)}" if hold.since else ""
    until = f"for another {span(hold.until - status.at)}" if hold.until else "until it is lifted"
    colour = "yellow" if hold.kind == "throttled" else "red"
    look = f"; the list is read in {span(hold.next_look - status.at)}" if hold.next_look else ""
    lifts = "; `resume --now` lifts it" if hold.kind == "throttled" else ""
    return styled(f"{hold.kind} {until}{since}: {hold.why}{look}{lifts}", colour)


def _letters_bound(share: float) -> Styled | None:
    if share < NEARLY_FULL:
        return None
    return styled(
        f"{share:.0%} of DEAD_LETTERS_MAX: "
        f"beyond it the oldest are removed permanently; export or replay",
        "red",
    )


def _memory(share: float) -> Styled | None:
    if share < NEARLY_FULL:
        return None
    used = f"{share:.0%} of maxmemory used"
    if share >= FULL:
        return styled(
            f"full ({used}): producers are refused; "
            f"purge dead letters, let workers drain, or raise maxmemory",
            "red",
        )
    return styled(f"nearly full ({used})", "yellow")


def _failing(members: int) -> Styled | None:
    if not members:
        return None
    return styled(f"{members} member{'' if members == 1 else 's'} since the last success", "yellow")


def _workers(status: Status) -> Styled:
    if not status.workers:
        return styled("none is alive", "red")
    shown = styled(f"{len(status.workers)}: ", "")
    for number, entry in enumerate(status.workers):
        shown.append(", " if number else "").append(_worker(entry, status.at))
    return shown


def _worker(entry: WorkerEntry, now: float) -> Styled:
    since = f" for {span(now - entry.since)}" if entry.since else ""
    match entry.state:
        case "cancelled":
            return styled(
                f"{entry.name} takes no events{since} (cancel_consumer; undo it with add_consumer)",
                "red",
            )
        case "stopping":
            return styled(f"{entry.name} stopping{since}", "yellow")
        case "consuming" | "unknown":
            return styled(entry.name, "")
        case _:
            assert_never(entry.state)


FORMS = {
    Form.LIST: "answers show the list",
    Form.TASK: "answers have a task-id",
    Form.OTHER: "answers show no list",
}


def _batches(bulk: BulkState) -> Styled:
    if bulk.alone_for > 0:
        return styled(f"alone for {span(bulk.alone_for)}: {printable(bulk.why)}", "yellow")
    if bulk.form is None or bulk.form not in FORMS:
        return styled("shared on trial: no sample read yet", "")
    held = bulk.held.get(bulk.form, 0)
    samples = (
        f"shared: {held}" if held >= FIRST_CALLS else f"shared on trial: {held} of {FIRST_CALLS}"
    )
    late = f"; {bulk.delay:.1f} s late" if bulk.delay >= 0.1 else ""
    return styled(f"{samples} samples held ({FORMS[Form(bulk.form)]}{late})", "")


def _opt_outs(read: OptOutStatus) -> Styled:
    if read.members is None or read.took is None or read.age is None:
        return styled("not read yet: members are read one by one", "red")
    found = f"{read.members}, read {span(read.age)} ago in {read.took:.1f} s"
    if read.trusted:
        return styled(found, "")
    return styled(f"{found}: members are read one by one", "red")


def _sync(sync: SyncStatus) -> Styled:
    new = "new contacts are written unread" if sync.covers else "new contacts are read one by one"
    colour = "" if sync.covers else "yellow"
    if sync.members is not None:
        again = "again" if sync.age is not None else "reading" if sync.running else "waiting"
        of_all = f" of {sync.total}" if sync.total else ""
        return styled(f"{again}: {sync.members}{of_all} members; {new}", colour)
    if sync.age is None:
        return styled(f"not begun: {new}", colour)
    return styled(f"complete, begun {span(sync.age)} ago: {new}", colour)


def _counts(counts: dict[str, int]) -> str:
    return "  ".join(
        f"{name} {count}" for name, count in sorted(counts.items(), key=lambda each: -each[1])
    )
