"""Addresses in their one form, and what is refused because a parser may read it as another address."""

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import any_text
from worker.mailgun.member import is_same_address
from worker.sandbox.flanker import parse_address
from worker.signal.address import (
    BLANKS,
    MalformedEmail,
    ascii_lower,
    lenient_address,
    normalize_address,
)

JANE = "jane@example.com"


@pytest.mark.parametrize(
    "text",
    [
        *(
            JANE,
            " Jane@Example.COM\n",
            "\ufeffjane@example.com",
            "\u00a0jane@example.com\u00a0",
            " \ufeff jane@example.com",
        ),
        *(
            "<jane@example.com>",
            "< Jane@example.com >",
            "Jane <jane@example.com>",
            "Jane Doe<jane@example.com>",
        ),
        *(
            '"Doe, Jane" <jane@example.com>',
            '"Jane \\"J\\" <x>" <jane@example.com>',
            '"jane@example.org" <jane@example.com>',
        ),
        *(
            "Zoë O'Hara <JANE@example.com>",
            "mailto:jane@example.com",
            "MailTo:Jane@example.com",
            "<mailto:jane@example.com>",
        ),
        "Jane <mailto:jane@example.com>",
    ],
)
def test_address_in_brackets_or_with_display_name_is_unwrapped(text: str) -> None:
    assert normalize_address(text) == JANE


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a@example.com, b@example.com", "comma"),
        ("a@example.com;b@example.com", "semicolon"),
        ("Doe, Jane <jane@example.com>", "comma"),
        ("a@example.com b@example.com", "space"),
        ("a@example.com <b@example.com>", "angle"),
        ("<a@example.com> <b@example.com>", "angle"),
        ("<jane@example.com", "angle"),
        ("jane@example.com>", "angle"),
        ("<<jane@example.com>>", "angle"),
        ("Jane <jane@example.com> (work)", "brackets"),
        ("jane(work)@example.com", "brackets"),
        ("jane@example.com (work)", "brackets"),
        ('"jane doe"@example.com', "quotes"),
        ('"jane@example.com"', "quotes"),
        ("jane\\@example.com", "backslash"),
        ("jane@[127.0.0.1]", "square"),
        ("jane@[IPv6:::1]", "colon"),
        ("team: jane@example.com", "colon"),
        ("mailto:jane%40example.com", "colon"),
        ("jane/doe@example.com", "slash"),
        ("mailto:jane@example.com?subject=x", "sign after"),
        ("jane@example.com'", "sign after"),
        ("jane@example.com.", "dot"),
        (".jane@example.com", "dot"),
        ("jane.@example.com", "dot"),
        ("jane..doe@example.com", "dot"),
        ("jane@.example.com", "dot"),
        ("jane@example..com", "dot"),
        ("jane", "exactly one"),
        ("jane@a@example.com", "exactly one"),
        ("@example.com", "nothing"),
        ("jane@", "nothing"),
        ("", "exactly one"),
        ("j" * 309 + "@example.com", "longer"),
        ("Name <" + "j" * 309 + "@example.com>", "longer"),
        ("jane\uff20example.com", "ASCII"),
        ("jane@example\u3002com", "ASCII"),
        ("jane@example\uff0ecom", "ASCII"),
    ],
)
def test_address_that_parsers_read_differently_is_refused_and_not_quoted(
    text: str, why: str
) -> None:
    with pytest.raises(MalformedEmail, match=why) as caught:
        normalize_address(text)
    assert "jane" not in str(caught.value)


INVISIBLE = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad"
    "\u00a0\u2003\u3000\u202e\u2066\u200e\u2028\u0000\u0085\u180e\u034f\u115f\u3164\ufe0f\u2800"
)


@pytest.mark.parametrize(
    "character", [*INVISIBLE, "\U000e0061", "\U000e0100", "\ue000", "\ufffd", chr(0xD800)]
)
@pytest.mark.parametrize(
    "place", ["ja{}ne@example.com", "jane@exam{}ple.com", "jane{}@example.com"]
)
def test_a_character_that_cannot_be_seen_is_refused(character: str, place: str) -> None:
    with pytest.raises(MalformedEmail):
        normalize_address(place.format(character))


@pytest.mark.parametrize("character", [*"\u212aſİ＠ａＫ①ﬁªⅰ\u2024"])
@pytest.mark.parametrize("place", ["{}ate@example.com", "kate@{}elvin.example"])
def test_a_character_that_may_pass_for_an_ascii_one_is_refused(character: str, place: str) -> None:
    with pytest.raises(MalformedEmail, match="ASCII"):
        normalize_address(place.format(character))


def test_only_ascii_case_is_folded_before_the_at() -> None:
    assert normalize_address("JÄNE@example.com") == "jÄne@example.com"
    assert ascii_lower("\u212aAT\u0130\u017f") == "\u212aat\u0130\u017f"


@pytest.mark.parametrize(
    "text",
    [
        "Bob@BÜCHER.example",
        "bob@xn--bcher-kva.example",
        "BOB@XN--Bcher-KVA.Example",
        "bob@bu\u0308cher.example",
    ],
)
def test_a_domain_is_one_in_punycode_and_in_unicode(text: str) -> None:
    assert normalize_address(text) == "bob@bücher.example"
    assert is_same_address(text, "bob@bücher.example")


@pytest.mark.parametrize(
    "domain", ["xn--zzzzzzzz.example", "xn--.example", "xn--a.example", "xn--ls8h.example"]
)
def test_punycode_that_is_not_valid_stays_as_it_is(domain: str) -> None:
    assert normalize_address(f"bob@{domain}") == f"bob@{domain}"


def test_a_local_part_is_one_composed_and_decomposed() -> None:
    assert (
        normalize_address("zoe\u0308@example.com")
        == normalize_address("zoë@example.com")
        == "zoë@example.com"
    )


@pytest.mark.parametrize(
    "text",
    [
        "o'brien@example.com",
        "a!b#c$d%e&f@example.com",
        "jane+news@example.com",
        "a@b",
        "用户@例え.jp",
        "a_b@c_d.example",
    ],
)
def test_unusual_address_that_every_parser_reads_alike_is_accepted(text: str) -> None:
    assert normalize_address(text) == text


@pytest.mark.parametrize(
    "other", ["\u212aate@example.com", "kate@example.org", "", "Kate", "kate@example.com."]
)
def test_address_match_refuses_another_address(other: str) -> None:
    assert not is_same_address("kate@example.com", other)


@pytest.mark.parametrize("text", ["Jane@Example.com.", " A@B, C@D "])
def test_leniently_a_malformed_address_is_trimmed_and_folded(text: str) -> None:
    assert lenient_address(text) == text.strip().lower()


def test_blanks_are_all_white_space_of_python_and_the_byte_order_mark() -> None:
    blank = {each for each in map(chr, range(sys.maxunicode + 1)) if each.isspace()}
    assert set(BLANKS) == blank | {"\ufeff"}


signs = st.sampled_from(
    [
        *"jJkK.@<>,;:\"'()[]\\/ -_+%!",
        "xn--",
        "bcher-kva",
        "mailto:",
        *INVISIBLE,
        *"\u212aſİüÜß\u0308＠。名",
    ]
)
texts = (
    any_text
    | st.lists(signs, max_size=20).map("".join)
    | st.lists(signs, max_size=8).map(lambda each: f"j{''.join(each)}@a.b")
)


@given(texts)
def test_normalized_address_is_stable_and_read_alike_by_mailguns_parser(
    text: str,
) -> None:
    try:
        address = normalize_address(text)
    except MalformedEmail:
        return
    assert normalize_address(address) == address
    assert parse_address(address) == address
    assert re.fullmatch(r"[^@\s]+@[^@\s]+", address)
    assert not set(address) & set('"(),:;<>[\\]/')
    assert not any(unicodedata.category(each)[0] in "CZ" for each in address)


@given(texts)
def test_non_ascii_address_never_becomes_ascii_when_case_is_folded(text: str) -> None:
    try:
        address = normalize_address(text)
    except MalformedEmail:
        return
    assert address.isascii() or not address.lower().isascii()


def test_canonically_equal_addresses_are_one() -> None:
    assert normalize_address("A\u030angela@example.com") == normalize_address(
        "\u00c5ngela@example.com"
    )
