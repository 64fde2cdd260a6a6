"""What Mailgun's answers mean: all of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import any_text, strange_json
from worker.mailgun.member import Member
from worker.mailgun.outcome import Outcome, OutcomeKind, classify_read, classify_write
from worker.mailgun.response import NoResponse, Response
from worker.mailgun.retry_hint import retry_after
from worker.mailgun.texts import ANSWER_LIMIT

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)
ADDRESS = "jane@example.com"
MEMBER = {
    "address": "Jane@Example.com",
    "name": "Jane",
    "subscribed": False,
    "vars": {"plan": "pro"},
}
JANE = Member(ADDRESS, "Jane", False, {"plan": "pro"})  # noqa: FBT003

# The table of the design: every status but 200. Whatever is not here is unexpected.
KINDS = {
    **dict.fromkeys(range(500, 600), OutcomeKind.UNAVAILABLE),
    408: OutcomeKind.UNAVAILABLE,
    420: OutcomeKind.THROTTLED,
    429: OutcomeKind.THROTTLED,
    400: OutcomeKind.REJECTED,
    401: OutcomeKind.UNAUTHORIZED,
    403: OutcomeKind.UNAUTHORIZED,
    404: OutcomeKind.LIST_NOT_FOUND,
}


def body(data: object) -> bytes:
    return json.dumps(data).encode()


OURS = body({"member": MEMBER, "message": "Mailing list member has been created"})

STRANGE_BODIES = {
    "nothing": b"",
    "spaces": b"  \n",
    "plain text": b"Forbidden",
    "Mailgun's front page": b"Mailgun Magnificent API",
    "a proxy's page": b"<html><body><h1>502 Bad Gateway</h1></body></html>",
    "null": b"null",
    "a number": b"5",
    "a string": b'"ok"',
    "an array": b"[]",
    "an empty object": b"{}",
    "a message that is no text": b'{"message": {"a": 1}}',
    "no member": b'{"member": null}',
    "a member without an address": body({"member": {**MEMBER, "address": ""}}),
    "an address that is no text": body({"member": {**MEMBER, "address": ["joe@example.com"]}}),
    "cut JSON": OURS[:-5],
    "not UTF-8": b"\xff\xfe\xfa",
    "a number too long to read": b"9" * 5000,
    "nested without end": b"[" * 100_000,
    "very long": b"x" * 100_000,
}

Read = Callable[[Response | NoResponse, str, datetime], Outcome | Member | None]


@pytest.mark.parametrize("content", [*STRANGE_BODIES.values(), OURS], ids=[*STRANGE_BODIES, "ours"])
@pytest.mark.parametrize("outcome_of", [classify_read, classify_write])
def test_status_other_than_200_has_one_outcome_for_any_body(
    outcome_of: Read, content: bytes
) -> None:
    message = Response(200, content).text()
    for status in (each for each in range(100, 600) if each != 200):
        found = outcome_of(Response(status, content), ADDRESS, NOW)
        if outcome_of is classify_read and status == 404 and content == OURS:
            continue  # JSON that speaks of a member
        assert found == Outcome(
            KINDS.get(status, OutcomeKind.UNEXPECTED_STATUS), status, message
        ), status


@pytest.mark.parametrize("content", STRANGE_BODIES.values(), ids=STRANGE_BODIES)
@pytest.mark.parametrize("outcome_of", [classify_read, classify_write])
def test_a_200_that_is_not_mailguns_answer_counts_as_unavailable(
    outcome_of: Read, content: bytes
) -> None:
    found = outcome_of(Response(200, content), ADDRESS, NOW)
    assert isinstance(found, Outcome)
    assert (found.kind, found.status, found.member) == (OutcomeKind.UNAVAILABLE, 200, None)
    assert found.answer.startswith("200, but not Mailgun's answer")
    assert len(found.answer) <= ANSWER_LIMIT


@pytest.mark.parametrize("outcome_of", [classify_read, classify_write])
@pytest.mark.parametrize(
    "named", ["joe@example.com", "jane@example.org", "\u212aate@example.com", "x" * 5000]
)
def test_a_200_about_another_address_is_no_outage(outcome_of: Read, named: str) -> None:
    found = outcome_of(Response(200, body({"member": {**MEMBER, "address": named}})), ADDRESS, NOW)
    assert isinstance(found, Outcome)
    assert (found.kind, found.status, found.member, found.unsettled) == (
        OutcomeKind.WRONG_MEMBER,
        200,
        None,
        False,
    )
    assert found.answer.startswith("200, but for another address: ")
    assert len(found.answer) <= ANSWER_LIMIT


@pytest.mark.parametrize(
    ("ours", "named"),
    [
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@bücher.example", "Bob@XN--BCHER-KVA.example"),
        ("bob@bücher.example", "bob@BÜCHER.example"),
        ("bob@bücher.example", "bob@bu\u0308cher.example"),
        ("bob@example.com", "Bob <bob@example.com>"),
    ],
)
def test_answer_may_spell_the_address_differently(ours: str, named: str) -> None:
    for outcome_of in (classify_read, classify_write):
        found = outcome_of(Response(200, body({"member": {**MEMBER, "address": named}})), ours, NOW)
        member = found if isinstance(found, Member) else found and found.member
        assert member
        assert member.address == ours


def test_a_200_with_our_member_is_delivered_as_mailgun_confirmed_it() -> None:
    found = classify_write(Response(200, OURS), ADDRESS, NOW)
    assert found == Outcome(
        OutcomeKind.DELIVERED, 200, "Mailing list member has been created", member=JANE
    )


def test_read_returns_the_member_ignoring_the_case_of_its_address() -> None:
    assert classify_read(Response(200, OURS), ADDRESS, NOW) == JANE
    assert classify_read(Response(200, OURS), "JANE@example.com", NOW) == replace(
        JANE, address="JANE@example.com"
    )


@pytest.mark.parametrize(
    "message",
    ["Member jane@example.com of mailing list news@mg.example.com not found", "member not found"],
)
def test_read_with_a_404_about_the_member_means_absent(message: str) -> None:
    assert classify_read(Response(404, body({"message": message})), ADDRESS, NOW) is None


@pytest.mark.parametrize(
    "content",
    [
        body({"message": "Mailing list news@mg.example.com not found"}),
        body({"message": "mailing list not found"}),
        body({"message": None}),
        body({"error": "not found"}),
        body(["Member jane@example.com not found"]),
        b"Member jane@example.com not found",
        b"404 page not found",
        b"",
    ],
)
def test_read_with_any_other_404_means_list_not_found(content: bytes) -> None:
    found = classify_read(Response(404, content), ADDRESS, NOW)
    assert isinstance(found, Outcome)
    assert found.kind is OutcomeKind.LIST_NOT_FOUND


def test_write_with_a_404_always_means_list_not_found() -> None:
    found = classify_write(
        Response(404, body({"message": "Member x of mailing list y not found"})), ADDRESS, NOW
    )
    assert found.kind is OutcomeKind.LIST_NOT_FOUND


@pytest.mark.parametrize("outcome_of", [classify_read, classify_write])
def test_no_answer_is_unavailable_with_its_reason(outcome_of: Read) -> None:
    found = outcome_of(NoResponse("refused", asked=False), ADDRESS, NOW)
    assert found == Outcome(OutcomeKind.UNAVAILABLE, None, "refused")


@pytest.mark.parametrize("asked", [True, False])
def test_unanswered_write_is_unsettled_if_it_may_have_reached_mailgun(*, asked: bool) -> None:
    assert classify_write(NoResponse("time-out", asked=asked), ADDRESS, NOW).unsettled is asked
    found = classify_read(NoResponse("time-out", asked=asked), ADDRESS, NOW)
    assert isinstance(found, Outcome)
    assert not found.unsettled


def test_answer_shown_is_mailguns_message_or_else_the_body() -> None:
    assert Response(400, body({"message": "no"})).text() == "no"
    assert Response(400, body({"message": 5})).text() == '{"message": 5}'
    assert Response(401, b"Forbidden").text() == "Forbidden"
    assert Response(400, b"\xff").text() == "\ufffd"


def test_answer_shown_is_cut_to_two_kib() -> None:
    assert len(Response(500, b"x" * 100_000).text()) == 2048
    assert len(Response(500, body({"message": "x" * 100_000})).text()) == 2048


def waits(data: object = None, **headers: str) -> float | None:
    """Seconds until which the answer asks to wait."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    until = retry_after(Response(429, body(data), named), NOW)
    return None if until is None else (until - NOW).total_seconds()


def test_answer_without_a_retry_hint_has_none() -> None:
    assert waits({"message": "Too Many Requests"}) is None
    assert retry_after(Response(429, b"<html>"), NOW) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("60", 60), (" 7 ", 7), ("1.5", 1.5), ("0", None), ("-5", None)]
)
def test_retry_after_in_seconds_is_a_hint(text: str, seconds: float | None) -> None:
    assert waits(retry_after=text) == seconds


def test_retry_after_as_a_date_is_a_hint() -> None:
    assert waits(retry_after=format_datetime(NOW + timedelta(seconds=90), usegmt=True)) == 90
    assert waits(retry_after="Wed, 01 May 2024 12:01:30 +0200") == 90
    assert waits(retry_after="Wed, 01 May 2024 10:01:30 -0000") == 90


@pytest.mark.parametrize("scale", [1, 1000])
def test_the_rate_limits_reset_is_a_hint_in_seconds_and_milliseconds(scale: int) -> None:
    assert waits(x_ratelimit_reset=str(int(NOW.timestamp() + 45) * scale)) == 45


@pytest.mark.parametrize("value", [60, 60.0, "60"])
def test_retry_seconds_in_the_body_is_a_hint(value: object) -> None:
    assert waits({"retry-seconds": value}) == 60


def test_of_several_hints_the_latest_counts() -> None:
    reset = str(int(NOW.timestamp()) + 45)
    assert waits({"retry-seconds": 60}, retry_after="30", x_ratelimit_reset=reset) == 60
    assert waits({"retry-seconds": 10}, retry_after="30", x_ratelimit_reset=reset) == 45


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "1e3",
        "0x10",
        "nan",
        "inf",
        "1,x",
        "60 seconds",
        "Wed, 99 Foo 2024",
        "Thu, 01 Jan 1970 00:00:00 GMT",
    ],
)
def test_a_hint_that_is_past_or_cannot_be_read_is_none(text: str) -> None:
    assert waits(retry_after=text) is None
    assert waits(x_ratelimit_reset=text) is None
    assert waits({"retry-seconds": text}) is None


@pytest.mark.parametrize("value", [True, None, [60], {"a": 60}, -60])
def test_retry_seconds_of_another_type_is_no_hint(value: object) -> None:
    assert waits({"retry-seconds": value}) is None


def test_a_hint_is_at_most_a_day_however_large() -> None:
    assert waits(retry_after="999999999") == 86_400
    assert waits(retry_after="Fri, 31 Dec 9999 23:59:59 GMT") == 86_400
    assert waits(x_ratelimit_reset="999999999999999") == 86_400


@pytest.mark.parametrize("status", [429, 420, 503, 408])
def test_every_answer_that_is_retried_carries_its_hint(status: int) -> None:
    found = classify_write(Response(status, b"", {"retry-after": "30"}), ADDRESS, NOW)
    assert found.wait_until == NOW + timedelta(seconds=30)


@given(any_text | st.integers().map(str) | st.floats().map(str), strange_json)
def test_no_hint_breaks_the_reading_or_lies_in_the_past(text: str, value: object) -> None:
    for hint in (
        waits({"retry-seconds": value}, retry_after=text, x_ratelimit_reset=text),
        waits(value),
    ):
        assert hint is None or 0 < hint <= 86_400


@given(st.integers(100, 599), st.binary() | strange_json.map(body))
def test_any_bytes_have_an_outcome(status: int, content: bytes) -> None:
    assert isinstance(classify_write(Response(status, content), ADDRESS, NOW), Outcome)
    classify_read(Response(status, content), ADDRESS, NOW)


def test_a_hint_that_was_sent_twice_is_the_longer_one() -> None:
    assert waits(retry_after="120, 60") == 120
