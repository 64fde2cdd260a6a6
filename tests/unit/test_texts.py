"""What is shown of an answer's text, and that nothing of any other text is."""

import base64
import html
from urllib.parse import quote

import pytest
from hypothesis import given

from tests.unit.strategies import any_text
from worker.mailgun.outcome import Outcome, OutcomeKind
from worker.mailgun.response import Response
from worker.mailgun.texts import ANSWER_LIMIT, KNOWN, LEADS, shown

ADDRESS = "jane.roe+news@example.com"
KEY = base64.b64encode(b"api:key-5ecret").decode()

QUOTING = {
    "the address": f"bad: {ADDRESS}",
    "the address as HTML": f"<p>{html.escape(ADDRESS).replace('@', '&#64;')}</p>",
    "the address percent-encoded": f"address={quote(ADDRESS, safe='')}&name=Jane",
    "the address twice percent-encoded": quote(quote(ADDRESS, safe=""), safe=""),
    "the address spelt out": "jane dot roe at example dot com",
    "the key": f"Authorization: Basic {KEY}",
    "a known text and more": f"Forbidden {ADDRESS}",
    "a known text before a line": f"Mailing list x not found\n{ADDRESS}",
    "a known text within": f"{KEY} Member x of mailing list y not found",
}


@pytest.mark.parametrize("text", sorted(KNOWN))
def test_known_text_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"Member {ADDRESS} of mailing list l@x.com not found",
            "Member <address> of mailing list <address> not found",
        ),
        (f"Mailing list {ADDRESS} not found", "Mailing list <address> not found"),
        (f"Address already exists '{ADDRESS}'", "Address already exists <address>"),
        (
            f"Member {KEY} of mailing list {KEY} not found",
            "Member <address> of mailing list <address> not found",
        ),
        ("'vars' parameter is not a valid JSON.", "'vars' parameter is not a valid JSON."),
        ("", "no text"),
        (
            "200, but not Mailgun's answer: Mailgun Magnificent API",
            "200, but not Mailgun's answer: Mailgun Magnificent API",
        ),
    ],
)
def test_known_text_is_shown_without_what_it_quotes(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize("lead", ["", *LEADS])
@pytest.mark.parametrize("text", QUOTING.values(), ids=QUOTING)
def test_any_other_text_is_shown_by_length_and_digest(text: str, lead: str) -> None:
    found = shown(lead + text)
    assert found.startswith(f"{lead}{len(text)} characters, digest ")
    assert len(found) == len(f"{lead}{len(text)} characters, digest ") + 12
    assert found == shown(lead + text) != shown(lead + text + ".")


@given(any_text)
def test_shown_text_of_any_answer_is_short_and_safe(text: str) -> None:
    for each in (text, text * 1000, LEADS[0] + text):
        assert len(shown(each)) < 120
        assert shown(each).isascii() or each.lower() in {known.lower() for known in KNOWN}


def test_cut_text_is_marked_as_cut() -> None:
    outcome = Outcome(OutcomeKind.UNAVAILABLE, 503, Response(503, b"x" * 10_000).text())
    assert outcome.summary.startswith(f"{ANSWER_LIMIT} or more characters")


def test_own_texts_are_shown_whole() -> None:
    assert Outcome(
        OutcomeKind.UNAVAILABLE, None, "time-out: the answer did not end in time"
    ).summary.endswith("in time")


def test_half_a_character_in_an_answer_is_kept_escaped() -> None:
    text = Response(400, rb'{"message":"bad \ud800 thing"}').text()
    assert text == r"bad \ud800 thing"
