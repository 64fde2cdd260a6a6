"""Pages of members that hold what cannot be held, or do not end: the others go on, and every reading ends."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import urllib3

from tests.adapters import US, Far, Sent, answered, asking
from tests.integrations import OwnIntegration
from tests.unit.test_unreadable import UNREADABLE, spelt
from worker.mailgun.client import PAGE_BODY_LIMIT
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.mailgun.page import Page
from worker.members.entry import look_up
from worker.members.merge_plan import TimedPatch
from worker.members.opt_outs import OptOutScanner, opt_out_status
from worker.members.page_import import PageImporter
from worker.members.record import EventOrder
from worker.members.sync import MORE_MEMBERS, ListSync
from worker.members.sync_progress import SyncProgress
from worker.signal.patch import Patch

REFRESH = 1000.0
URL = f"{US}/v3/lists/newsletter@mg.example.com/members/pages"
Paging = Callable[[dict[str, str]], tuple[list[bytes], str]]


def paging(pages: Paging) -> Far:
    """Mailgun whose page for a query has those items and that link to the next."""

    def answer(request: Sent) -> urllib3.HTTPResponse:
        items, link = pages(dict(parse_qsl(urlsplit(request.url).query)))
        return answered(
            200,
            b'{"items":[%b],"paging":{"next":%b}}' % (b",".join(items), json.dumps(link).encode()),
        )

    return Far(answer)


def once(*items: bytes) -> Paging:
    """One page, and then the empty one."""
    return lambda query: ([] if "page" in query else list(items), f"{URL}?page=next&address=last")


def page_importer(own: OwnIntegration, far: Far) -> PageImporter:
    return PageImporter(
        asking(far), own.ledger(own.gate()), lambda: datetime.now(UTC), lambda _kind, _why: None
    )


def synced(own: OwnIntegration, far: Far, total: int | None = None) -> list[Any]:
    """The steps of a sync, to its end."""
    sync = ListSync(page_importer(own, far), OptOutScanner(page_importer(own, far), REFRESH, 500))
    return list(sync.steps(sync.begin(anew=True), total))


def read(own: OwnIntegration, far: Far) -> Outcome | float | None:
    """How a reading of those who unsubscribed ends."""
    reading = OptOutScanner(page_importer(own, far), REFRESH, 500)
    lease = reading.try_start()
    assert lease
    return reading.run(lease)


def copies(own: OwnIntegration, *names: str) -> list[bool]:
    """Whether the ledger has a copy of each."""
    entries = [look_up(own.ledger(), f"{name}@example.com") for name in names]
    return [bool(entry and entry.copy) for entry in entries]


@pytest.mark.parametrize("fields", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_member_on_a_page_stops_neither_sync_nor_opt_outs(
    own: OwnIntegration, fields: dict[str, bytes]
) -> None:
    far = paging(
        once(
            spelt("ann@example.com"), spelt("jane@example.com", **fields), spelt("zoe@example.com")
        )
    )
    *_, done = synced(own, far)
    assert isinstance(done, SyncProgress)
    assert (done.query, done.members, done.unreadable) == (None, 2, 1)
    assert copies(own, "ann", "jane", "zoe") == [True, False, True]
    own.redis.delete(f"signal:{own.name}:opt_outs")
    assert isinstance(read(own, far), float)
    assert opt_out_status(own.redis, own.name, REFRESH).trusted


def test_member_unreadable_on_a_page_has_no_trusted_copy_any_more(
    own: OwnIntegration,
) -> None:
    page_importer(own, paging(once(spelt("jane@example.com", subscribed=b"true")))).read(
        {"limit": "100"}
    )
    assert copies(own, "jane") == [True]
    own.later(1)
    found = page_importer(own, paging(once(spelt("jane@example.com", vars=b"[1]")))).read(
        {"limit": "100"}
    )
    assert isinstance(found, Page)
    assert copies(own, "jane") == [False]


def test_lease_is_not_renewed_when_a_page_shows_the_member_unreadable(own: OwnIntegration) -> None:
    ledger = own.ledger()
    patches = [TimedPatch(Patch("jane@example.com", None, {"a": 1}, None, None), EventOrder(1))]
    opened = ledger.acquire(list(ledger.group_by_member(patches, [0])[0]))
    assert isinstance(opened, list)
    page_importer(own, paging(once(spelt("jane@example.com", vars=b"[1]")))).read({"limit": "100"})
    leases: list[Any] = list(opened)
    assert ledger.renew(leases, [each.record for each in leases], 0) == [False]


def long_members(query: dict[str, str]) -> tuple[list[bytes], str]:
    """Forty members of 2 MiB: no page of more than 15 is whole."""
    start = int(query.get("address", "0"))
    numbers = range(start, min(40, start + int(query["limit"])))
    text = b'{"a":"' + b"x" * 2 * 1024 * 1024 + b'"}'
    return [
        spelt(f"p{each:02}@example.com", vars=text) for each in numbers
    ], f"{URL}?page=next&address={start + len(numbers)}"


def test_page_of_long_members_is_read_in_smaller_pages(own: OwnIntegration) -> None:
    far = paging(long_members)
    *_, done = synced(own, far)
    assert isinstance(done, SyncProgress)
    assert (done.members, done.query) == (40, None)
    assert all(copies(own, *(f"p{each:02}" for each in range(40))))


def test_member_longer_than_a_page_ends_the_sync_with_its_reason(
    own: OwnIntegration,
) -> None:
    text = b'{"a":"' + b"x" * PAGE_BODY_LIMIT + b'"}'
    *_, last = synced_until_outcome(own, paging(once(spelt("p@example.com", vars=text))))
    assert last.kind is OutcomeKind.UNREADABLE_MEMBER


def synced_until_outcome(own: OwnIntegration, far: Far) -> Iterator[Any]:
    sync = ListSync(page_importer(own, far), OptOutScanner(page_importer(own, far), REFRESH, 500))
    for step in sync.steps(sync.begin(anew=True)):
        yield step
        if isinstance(step, Outcome):
            return


def numbered(number: int) -> list[bytes]:
    return [spelt(f"p{number:09}-{each}@example.com") for each in range(100)]


fresh = count()
ENDLESS: dict[str, Paging] = {
    "to itself": lambda _: (numbered(1), f"{URL}?page=next&address=x"),
    "to itself on another host": lambda _: (
        numbered(1),
        URL.replace(US, "https://elsewhere.example") + "?address=x",
    ),
    "back and forth": lambda query: (
        numbered(1 if query.get("address") == "a" else 2),
        f"{URL}?page=next&address={'b' if query.get('address') == 'a' else 'a'}",
    ),
    "the same members under new links": lambda _: (
        numbered(1),
        f"{URL}?page=next&address={next(fresh)}",
    ),
}


@pytest.mark.parametrize("pages", ENDLESS.values(), ids=ENDLESS)
def test_cyclic_pages_end_the_sync_and_do_not_count_as_the_whole_list(
    own: OwnIntegration, pages: Paging
) -> None:
    far = paging(pages)
    steps = list(synced_until_outcome(own, far))
    assert isinstance(steps[-1], Outcome)
    assert isinstance(read(own, far), Outcome)
    assert not opt_out_status(own.redis, own.name, REFRESH).trusted
    assert len(far.requests) < 20
    assert {urlsplit(each.url).hostname for each in far.requests} == {"api.mailgun.net"}


def test_sync_of_far_more_members_than_the_list_has_ends(own: OwnIntegration) -> None:
    far = paging(
        lambda query: (
            numbered(int(query.get("address", "0"))),
            f"{URL}?address={len(far.requests)}",
        )
    )
    *_, last = synced(own, far, total=5)
    assert isinstance(last, Outcome)
    assert last.summary == "200, but the pages of members do not end"
    assert len(far.requests) == MORE_MEMBERS // 100 + 2


def test_opt_out_scan_that_lasts_too_long_is_abandoned_and_begun_anew(
    own: OwnIntegration,
) -> None:
    far = paging(
        lambda query: (
            numbered(int(query.get("address", "0"))),
            f"{URL}?address={len(far.requests)}",
        )
    )
    far_answer = far.answer

    def later(request: Sent) -> urllib3.BaseHTTPResponse:
        own.redis.hincrbyfloat(f"signal:{own.name}:opt_outs", "began", -2000)
        return far_answer(request)

    far.answer = later
    assert read(own, far) is None
    assert len(far.requests) < 20
    assert not own.redis.hexists(f"signal:{own.name}:opt_outs", "began")
