"""Pages of a list's members: what of Mailgun's answer is believed, and where the next page may be asked for."""

import json
from datetime import UTC, datetime
from itertools import chain, cycle, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import any_text, json_objects, strange_json
from tests.unit.test_outcome import KINDS, STRANGE_BODIES
from tests.unit.test_unreadable import UNREADABLE, spelt
from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome, OutcomeKind, page_outcome
from worker.mailgun.page import ALL_MEMBERS, OPTED_OUT, Page, PageWalk, Query, page_in
from worker.mailgun.response import NoResponse, Response

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)
URL = "https://api.mailgun.net/v3/lists/newsletter@mg.example.com/members/pages"
JANE = {"address": "Jane@Example.com", "name": "Jane", "subscribed": False, "vars": {"plan": "pro"}}
NEXT = f"{URL}?page=next&address=jane%2Bnews%40example.com&limit=100&subscribed=no"


def answered(*items: object, link: object = NEXT) -> dict[str, Any]:
    """A page as Mailgun shows it."""
    return {
        "items": list(items),
        "paging": {"first": URL, "last": URL, "next": link, "previous": URL},
    }


def read(data: object) -> Page | Outcome:
    return page_outcome(Response(200, json.dumps(data).encode()), OPTED_OUT, URL, NOW)


def test_page_has_whole_members_in_lower_case_and_the_next_query() -> None:
    assert read(answered(JANE)) == Page(
        (Member("jane@example.com", "Jane", subscribed=False, vars={"plan": "pro"}),),
        {"limit": "100", "subscribed": "no", "page": "next", "address": "jane+news@example.com"},
    )


def test_page_without_items_is_the_last_despite_its_links() -> None:
    assert read(answered(link=NEXT)) == Page((), None)
    assert read({"items": []}) == Page((), None)


def test_a_member_without_name_or_vars_has_none() -> None:
    found = read(answered({"address": "jane@example.com", "subscribed": "yes"}))
    assert isinstance(found, Page)
    assert found.members == (Member("jane@example.com"),)


def test_page_counts_its_unsubscribed_members() -> None:
    found = read(answered(JANE, {**JANE, "address": "joe@example.com", "subscribed": True}))
    assert isinstance(found, Page)
    assert found.unsubscribed == 1


@pytest.mark.parametrize(
    "link",
    [
        "https://api.eu.mailgun.net/v3/lists/newsletter@mg.example.com/members/pages?page=next&address=x",
        "https://elsewhere.example.com/v3/lists/newsletter@mg.example.com/members/pages?page=next&address=x",
        "http://127.0.0.1:8025/v3/lists/newsletter%40mg.example.com/members/pages?page=next&address=x",
        "/v3/lists/Newsletter@MG.example.com/members/pages?page=next&address=x",
    ],
)
def test_next_link_changes_only_the_parameters_in_its_query(
    link: str,
) -> None:
    found = read(answered(JANE, link=link))
    assert isinstance(found, Page)
    assert found.following == {**OPTED_OUT, "page": "next", "address": "x"}


@pytest.mark.parametrize(
    "link",
    [
        None,
        5,
        "",
        {"url": NEXT},
        URL,
        f"{URL}?limit=100&subscribed=no",
        f"{URL}/?page=next&address=x",
        "https://api.mailgun.net/v3/lists/other@mg.example.com/members/pages?page=next&address=x",
        "https://api.mailgun.net/v3/lists/newsletter@mg.example.com/members/jane@example.com?page=next",
        "https://api.mailgun.net/v3/lists/newsletter@mg.example.com/members/pages/../../x?page=next",
        "https://api.mailgun.net?page=next&address=x",
        "https://[elsewhere/v3?page=next",
    ],
)
def test_page_whose_link_leads_elsewhere_or_to_itself_is_none(link: object) -> None:
    assert page_in(answered(JANE, link=link), OPTED_OUT, URL) is None


@pytest.mark.parametrize("paging", [None, 5, [], {}, "next"])
def test_a_page_without_links_is_none(paging: object) -> None:
    assert page_in({"items": [JANE], "paging": paging}, ALL_MEMBERS, URL) is None


@pytest.mark.parametrize(
    "item",
    [
        None,
        5,
        "jane@example.com",
        [],
        {},
        *({**JANE, "address": each} for each in ("", None, 5, ["a"], "\ud800@x.com")),
    ],
)
def test_item_without_an_address_is_left_out_and_the_others_are_kept(item: object) -> None:
    found = page_in(answered(item, {**JANE, "address": "joe@example.com"}), ALL_MEMBERS, URL)
    assert found
    assert ([each.address for each in found.members], found.unreadable) == (["joe@example.com"], ())
    alone = page_in(answered(item), ALL_MEMBERS, URL)
    if (
        isinstance(item, dict) and item.get("address") == "\ud800@x.com"
    ):  # the others are on the pages after it
        assert alone
        assert (alone.members, alone.unreadable) == ((), ())
        assert alone.following
    else:
        assert alone is None


@pytest.mark.parametrize("fields", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_member_is_named_and_the_others_are_kept(fields: dict[str, bytes]) -> None:
    items = [spelt("jane@example.com", **fields), spelt("joe@example.com")]
    link = json.dumps(NEXT).encode()
    for order in (items, items[::-1]):
        content = b'{"items":[%b],"paging":{"next":%b}}' % (b",".join(order), link)
        found = page_outcome(Response(200, content), OPTED_OUT, URL, NOW)
        assert isinstance(found, Page)
        assert [each.address for each in found.members] == ["joe@example.com"]
        assert found.unreadable == ("jane@example.com",)
        assert found.following


def test_page_that_is_too_long_is_requested_by_halves_down_to_one_member() -> None:
    query: Query = OPTED_OUT
    limits = []
    while isinstance(
        found := page_outcome(Response(200, b'{"items":[', cut=True), query, URL, NOW), Page
    ):
        assert (found.members, found.unreadable) == ((), ())
        assert found.following
        query = found.following
        limits.append(query["limit"])
        assert query["subscribed"] == "no"
    assert limits == ["50", "25", "12", "6", "3", "1"]
    assert found.kind is OutcomeKind.UNREADABLE_MEMBER


def test_page_after_a_halved_one_is_twice_as_large() -> None:
    link = f"{URL}?page=next&address=x&limit=12"
    for limit, then in (("12", "24"), ("75", "100"), ("1", "2"), ("100", "12")):
        found = page_in(answered(JANE, link=link), {**OPTED_OUT, "limit": limit}, URL)
        assert found
        assert found.following
        assert found.following["limit"] == then


@pytest.mark.parametrize("query", ["address=%ED%A0%80", "address=" + "x" * 5000])
def test_link_whose_query_cannot_be_requested_is_none(query: str) -> None:
    found = page_in(answered(JANE, link=f"{URL}?page=next&{query}"), ALL_MEMBERS, URL)
    assert found is None or found.following == {
        "page": "next",
        "address": "\ufffd\ufffd\ufffd",
        "limit": "100",
    }


@pytest.mark.parametrize("before", [0, 1, 5, 40])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 100])
def test_pages_in_a_loop_are_noticed_within_a_few_turns(before: int, length: int) -> None:
    pages = [Page((Member(f"p{number}@x.com"),), {}) for number in range(before + length)]
    seen = PageWalk()
    asked = islice(chain(pages[:before], cycle(pages[before:])), 3000)
    taken = next((number for number, page in enumerate(asked) if seen.closes(page)), 3000)
    assert taken <= 3 * (before + length) + 2


def test_pages_that_differ_are_no_loop() -> None:
    seen = PageWalk()
    assert not any(seen.closes(Page((Member(f"p{number}@x.com"),), {})) for number in range(3000))
    assert not any(seen.closes(Page((), {})) for _ in range(10))


@pytest.mark.parametrize("content", [*STRANGE_BODIES.values(), json.dumps(answered(JANE)).encode()])
def test_status_other_than_200_has_one_outcome_for_any_body(content: bytes) -> None:
    for status in (each for each in range(100, 600) if each != 200):
        found = page_outcome(Response(status, content), ALL_MEMBERS, URL, NOW)
        assert isinstance(found, Outcome)
        assert (found.kind, found.status) == (
            KINDS.get(status, OutcomeKind.UNEXPECTED_STATUS),
            status,
        )


@pytest.mark.parametrize("content", STRANGE_BODIES.values(), ids=STRANGE_BODIES)
def test_a_200_that_is_no_page_counts_as_unavailable(content: bytes) -> None:
    found = page_outcome(Response(200, content), ALL_MEMBERS, URL, NOW)
    assert isinstance(found, Outcome)
    assert (found.kind, found.status) == (OutcomeKind.UNAVAILABLE, 200)


def test_answer_that_is_no_page_is_not_quoted() -> None:
    found = read(answered({"name": "Joe Doe"}, {"name": "joe@example.com"}))
    assert isinstance(found, Outcome)
    assert found.answer == "200, but not a page of the list's members"


def test_no_answer_counts_as_unavailable() -> None:
    found = page_outcome(NoResponse("time-out"), ALL_MEMBERS, URL, NOW)
    assert found == Outcome(OutcomeKind.UNAVAILABLE, None, "time-out")


any_item = strange_json | st.fixed_dictionaries(
    {"address": any_text, "subscribed": st.booleans(), "vars": json_objects}
)


@given(
    st.lists(any_item, max_size=3) | strange_json,
    st.fixed_dictionaries({"next": any_text}) | strange_json,
)
def test_page_of_any_items_and_links_is_read_or_refused(items: object, paging: object) -> None:
    found = page_in({"items": items, "paging": paging}, ALL_MEMBERS, URL)
    assert found is None or found.members or found.unreadable or found.following is None
