"""Members that an answer shows as they cannot be held: each kind has its own outcome and reason, and none breaks anything."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import any_text, strange_json
from worker.mailgun.answer_json import DEEPEST, MOST_DIGITS, decoded, why_unusable
from worker.mailgun.member import Member
from worker.mailgun.outcome import (
    Outcome,
    OutcomeKind,
    classify_bulk_write,
    classify_read,
    classify_write,
)
from worker.mailgun.response import Response
from worker.mailgun.retry_hint import retry_after
from worker.mailgun.texts import shown

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)
JANE = "jane@example.com"
# What Mailgun shows as the variables of a member without any, as JSON; b"" is a member without the field.
NO_VARS = (
    b"",
    b"null",
    b"{}",
    b"[]",
    *(
        json.dumps(each).encode()
        for each in ("null", " null\r\n", "", " ", '""', "[]", "{}", "\ufeffnull")
    ),
)

# By field, its value as it is spelt in JSON.
UNREADABLE: dict[str, dict[str, bytes]] = {
    "a lone surrogate": {"vars": rb'{"a":"bad \ud800 thing"}'},
    "a lone surrogate in a name": {"name": rb'"\udfff"'},
    "a lone surrogate as a key": {"vars": rb'{"\ud800":1}'},
    "bytes that are not UTF-8": {"name": b'"J\xe4ne"'},
    "a surrogate in UTF-8": {"name": b'"\xed\xa0\x80"'},
    "NaN": {"vars": b'{"a":NaN}'},
    "Infinity": {"vars": b'{"a":[{"b":-Infinity}]}'},
    "1e400": {"vars": b'{"a":1e400}'},
    "5,000 digits": {"vars": b'{"a":' + b"9" * 5000 + b"}"},
    "5,000 digits below nought": {"vars": b'{"a":-' + b"9" * 5000 + b"}"},
    "deep nesting": {"vars": b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"},
    "nesting somewhat too deep": {"vars": b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1)},
    "a list as vars": {"vars": b'[{"plan":"pro"}]'},
    "a number as vars": {"vars": b"5"},
    "true as vars": {"vars": b"true"},
    "a text as vars": {"vars": b'"plan"'},
    "the JSON text of a list as vars": {"vars": b'"[1]"'},
    "JSON text in JSON text as vars": {"vars": rb'"\"{}\""'},
    "broken JSON as vars": {"vars": rb'"{\"plan\":"'},
    "the JSON text of a number as vars": {"vars": b'"5"'},
    "the JSON text of a text as vars": {"vars": rb'"\"null\""'},
    "the JSON text of NaN as vars": {"vars": rb'"{\"a\":NaN}"'},
    "a number as name": {"name": b"5"},
    "an object as name": {"name": b'{"first":"Jane"}'},
    "a list as name": {"name": b'["Jane"]'},
    "another word as subscribed": {"subscribed": b'"perhaps"'},
    "null as subscribed": {"subscribed": b"null"},
    "a list as subscribed": {"subscribed": b"[true]"},
    "a number as subscribed": {"subscribed": b"2"},
    "5,000 digits as subscribed": {"subscribed": b"1" * 5000},
    "NaN as subscribed": {"subscribed": b"NaN"},
}


def spelt(address: str, **fields: bytes) -> bytes:
    """The JSON of a member with these fields, each spelt as given; one spelt with nothing is left out."""
    every = {
        "address": json.dumps(address).encode(),
        "name": b'""',
        "subscribed": b"false",
        "vars": b"{}",
        **fields,
    }
    return b"{%b}" % b",".join(
        b'"%b":%b' % (name.encode(), value) for name, value in every.items() if value
    )


def answer(**fields: bytes) -> Response:
    return Response(200, b'{"message":"ok","member":%b}' % spelt(JANE, **fields))


@pytest.mark.parametrize("fields", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("outcome_of", [classify_read, classify_write])
def test_unreadable_member_has_an_outcome_with_a_reason_of_its_own(
    outcome_of: object, fields: dict[str, bytes]
) -> None:
    found = outcome_of(answer(**fields), JANE, NOW)  # type: ignore[operator]
    assert isinstance(found, Outcome)
    assert (found.kind, found.status, found.member, found.unsettled) == (
        OutcomeKind.UNREADABLE_MEMBER,
        200,
        None,
        False,
    )
    assert found.summary == found.answer == shown(found.answer)
    assert "digest" not in found.answer


@pytest.mark.parametrize("outcome_of", [classify_read, classify_write])
def test_member_that_is_too_long_is_no_outage(outcome_of: object) -> None:
    cut = Response(200, b' {"member":{"address":"jane@example.com","vars":{"a":"xxxx', cut=True)
    found = outcome_of(cut, JANE, NOW)  # type: ignore[operator]
    assert isinstance(found, Outcome)
    assert (found.kind, found.answer) == (
        OutcomeKind.UNREADABLE_MEMBER,
        "200, but the member cannot be read: it is too long",
    )
    strange = outcome_of(Response(200, b"<html>xxxx", cut=True), JANE, NOW)  # type: ignore[operator]
    assert strange.kind is OutcomeKind.UNAVAILABLE


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"vars": rb'"{\"plan\":\"pro\"}"'}, Member(JANE, subscribed=False, vars={"plan": "pro"})),
        ({"vars": b"null", "name": b"null"}, Member(JANE, subscribed=False)),
        *(({"vars": spelling}, Member(JANE, subscribed=False)) for spelling in NO_VARS),
        (
            {"name": rb'"a\u0000b"', "vars": b'{"a":"x\0y"}'},
            Member(JANE, "a\0b", subscribed=False, vars={"a": "x\0y"}),
        ),
        ({"vars": b'{"a":1,"a":2}'}, Member(JANE, subscribed=False, vars={"a": 2})),
        (
            {"vars": b'{"a":' + b"9" * MOST_DIGITS + b"}"},
            Member(JANE, subscribed=False, vars={"a": 10**MOST_DIGITS - 1}),
        ),
        (
            {"vars": rb'{"a":"\ud83d\ude00"}'},
            Member(JANE, subscribed=False, vars={"a": "\U0001f600"}),
        ),
        ({"subscribed": b"0"}, Member(JANE, subscribed=False)),
    ],
)
def test_odd_but_readable_member_is_read(fields: dict[str, bytes], expected: Member) -> None:
    found = classify_read(answer(**fields), JANE, NOW)
    assert found == expected
    assert isinstance(found, Member)
    json.loads(found.form()["vars"])
    json.loads(found.entry())


@pytest.mark.parametrize(
    "named", [rb'"\\ud800@example.com"', b"[" * 900 + b"]" * 900, b"5" * 5000, b"NaN", b"null"]
)
def test_odd_address_in_an_answer_raises_no_error(named: bytes) -> None:
    for what in (b"member", b"list"):
        odd = Response(200, b'{"%b":{"address":%b}}' % (what, named))
        assert classify_write(odd, JANE, NOW).kind in {
            OutcomeKind.WRONG_MEMBER,
            OutcomeKind.UNAVAILABLE,
        }
        assert classify_bulk_write(odd, "l@example.com", NOW).kind is OutcomeKind.UNAVAILABLE
        classify_write(odd, JANE, NOW).answer.encode()


@given(any_text | strange_json, strange_json | any_text, strange_json)
def test_member_of_any_fields_can_be_sent_again_or_is_unreadable(
    name: object, vars_: object, yes: object
) -> None:
    content = json.dumps(
        {"member": {"address": JANE, "name": name, "vars": vars_, "subscribed": yes}}
    ).encode()
    found = classify_read(Response(200, content), JANE, NOW)
    if isinstance(found, Member):
        f"{found.form()} {found.entry()}".encode()
    else:
        assert found
        assert found.kind is OutcomeKind.UNREADABLE_MEMBER


@given(st.binary() | strange_json.map(lambda value: json.dumps(value).encode()))
def test_answer_of_any_bytes_is_decoded_or_none(content: bytes) -> None:
    found = decoded(content)
    if why_unusable(found) is None:
        json.dumps(found, allow_nan=False).encode()


@pytest.mark.parametrize(
    "more",
    [
        b"",
        rb',"x":"\ud800"',
        b',"x":' + b"9" * 5000,
        b',"x":NaN',
        b',"x":' + b"[" * 9000 + b"]" * 9000,
    ],
)
def test_retry_hint_beside_an_unreadable_value_counts(more: bytes) -> None:
    until = retry_after(Response(429, b'{"retry-seconds":60%b}' % more), NOW)
    assert until
    assert (until - NOW).total_seconds() == 60


@pytest.mark.parametrize(
    "value", [b"1e400", b"NaN", b"9" * 5000, b"[" * 500 + b"]" * 500, b"true", rb'"\ud800"']
)
def test_unreadable_retry_hint_is_none(value: bytes) -> None:
    assert retry_after(Response(429, b'{"retry-seconds":%b}' % value), NOW) is None
