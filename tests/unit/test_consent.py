"""What counts as a yes, as a no, and as not understood."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import strange_json
from worker.signal.consent import (
    NO_KEYS,
    NO_WORDS,
    UNKNOWN_WORDS,
    YES_KEYS,
    YES_WORDS,
    Consent,
    normalize_word,
    read_consent,
    resolve_consent,
)

YES, NO, ABSENT, UNKNOWN, UNCLEAR = (
    Consent.YES,
    Consent.NO,
    Consent.ABSENT,
    Consent.UNKNOWN,
    Consent.UNCLEAR,
)
EVENTS_PAGE = Path(__file__).parents[2] / "docs/events.md"


@pytest.mark.parametrize(
    "value",
    [
        *(
            "no",
            "No ",
            "NO!",
            "n",
            "N",
            "false",
            "False",
            "f",
            "off",
            "0",
            "0.0",
            "-0",
            "'no'",
            '"no"',
            "ｎｏ",
        ),
        *(
            "denied",
            "deny",
            "DENIED",
            "rejected",
            "revoked",
            "withdrawn",
            "declined",
            "refused",
            "disagree",
        ),
        *(
            "opt_out",
            "opt-out",
            "opt out",
            "OptOut",
            "opted out",
            "opted_out",
            "opted‑out",
            "unsubscribed",
            "un-subscribe",
        ),
        *("not granted", "not_subscribed", "do not contact", "no consent", "consent withdrawn"),
        *("nein", "Non", "não", "нет", "いいえ", "refusé", "refuse\u0301"),
        *(False, 0, 0.0, -0.0),
        *(
            {"granted": False},
            {"status": "denied"},
            {"value": False},
            {"Status": "Opted Out"},
            {"opted_in": "no"},
        ),
        *(
            {"consent": {"granted": 0}},
            {"email": False, "sms": True},
            {"email": {"status": "unsubscribed"}},
        ),
        *(
            {"denied": True},
            {"opted_out": "yes"},
            {"unsubscribed": 1},
            {"optedOut": True},
            {"granted": False, "x": 1},
        ),
        *(
            {"revoked_at": "2026-11-01T00:00:00Z"},
            {"unsubscribedAt": 1793491200},
            {"granted": False, "status": "?"},
        ),
        *(["no"], [False, "denied"], ["no", 0]),
    ],
)
def test_plain_denial_is_read_as_denial(value: object) -> None:
    assert read_consent(value) is NO


@pytest.mark.parametrize(
    "value",
    [
        *(
            "yes",
            "YES ",
            "y",
            "true",
            "True",
            "t",
            "on",
            "1",
            "1.0",
            "granted",
            "opt_in",
            "Opted-In",
            "subscribed",
        ),
        *("accepted", "allow", "ja", "oui", "sí", True, 1, 1.0),
        *(
            {"granted": True},
            {"status": "granted"},
            {"value": "yes"},
            {"granted": True, "revoked_at": None},
        ),
        *(
            {"granted": True, "at": "2026-11-01"},
            {"email": True, "sms": False},
            {"opted_in": 1, "opted_out": False},
        ),
    ],
)
def test_plain_grant_is_read_as_grant(value: object) -> None:
    assert read_consent(value) is YES


@pytest.mark.parametrize(
    "value",
    [
        *(
            0.5,
            2,
            -1,
            10**400,
            float("nan"),
            float("inf"),
            "-1",
            "0.5",
            "+-1",
            "maybe",
            "none",
            "pending",
            "newsletter",
        ),
        *(
            "yes and no",
            "no thanks, yes please",
            "expired",
            "legitimate interest",
            "1YYN",
            "not",
            "CPXxRfAPXxRfAAfKABENB" * 4,
        ),
        *(
            {},
            {"purpose": True},
            {"granted": True, "denied": True},
            {"granted": True, "status": "pending"},
        ),
        *(
            {"granted": True, "revoked_at": "2026-11-01"},
            {"value": {"value": {"value": {"value": {"value": True}}}}},
        ),
        *([], ["yes"], [True], ["yes", "no"], [[]], ["marketing"]),
    ],
)
def test_consent_neither_plainly_granted_nor_denied_is_not_understood(value: object) -> None:
    assert read_consent(value) is UNCLEAR


@pytest.mark.parametrize(
    "value",
    [
        "unknown",
        "Not set",
        "n/a",
        "N/A",
        "undefined",
        "null",
        {"granted": None},
        {"opted_out": False},
        {"value": ""},
    ],
)
def test_word_for_unknown_consent_is_read_as_unknown(value: object) -> None:
    assert read_consent(value) is UNKNOWN


@pytest.mark.parametrize("value", [None, "", "  ", "''"])
def test_empty_consent_counts_as_absent(value: object) -> None:
    assert read_consent(value) is ABSENT


@given(strange_json)
def test_every_json_value_has_exactly_one_reading(value: Any) -> None:
    assert read_consent(value) in set(Consent)


@given(
    st.sampled_from(sorted(YES_WORDS | NO_WORDS | UNKNOWN_WORDS)),
    st.sampled_from(["{}", " {}\n", "'{}'"]),
    st.booleans(),
)
def test_case_and_blanks_around_a_word_do_not_matter(word: str, around: str, upper: bool) -> None:  # noqa: FBT001
    spelled = around.format(word.upper() if upper else word)
    assert read_consent(spelled) is read_consent(word)


@given(st.lists(st.sampled_from(Consent), max_size=4))
def test_denial_in_the_first_known_field_is_never_read_as_a_grant(readings: list[Consent]) -> None:
    known = [each for each in readings if each in {YES, NO}]
    found = resolve_consent(readings)
    if found is YES:
        assert known[0] is YES
        assert UNCLEAR not in readings[: readings.index(YES)]
    if known and known[0] is NO:
        assert found is NO


def test_consent_words_are_case_folded_and_belong_to_one_kind() -> None:
    for one, other in product((YES_WORDS, NO_WORDS, UNKNOWN_WORDS), repeat=2):
        assert one is other or not one & other
    assert not YES_KEYS & NO_KEYS
    for word in YES_WORDS | NO_WORDS | UNKNOWN_WORDS | YES_KEYS | NO_KEYS:
        assert normalize_word(word) == word


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a yes", YES_WORDS),
        ("a no", NO_WORDS),
        ("unknown", UNKNOWN_WORDS),
        ("key of the consent", YES_KEYS),
        ("key of its opposite", NO_KEYS),
    ],
)
def test_documented_consent_words_are_the_codes(row: str, words: frozenset[str]) -> None:
    (cells,) = re.findall(
        rf"^\| {row} \|(.*)\|$", EVENTS_PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(re.findall(r"`([^`]+)`", cells)) == words


@pytest.mark.parametrize(
    "value",
    [
        {"value": True, "isOptedOut": True},
        {"granted": True, "email_opt_out": True},
        {"value": True, "isGranted": False},
        {"status": "granted", "channels": {"email": False}},
        {"granted": True, "isRevoked": True},
        {"granted": True, "action": "unsubscribe"},
        {"granted": True, "unsubscribeDate": "2024"},
        {"granted": True, "revocation_date": "2024"},
        {"granted": True, "marketing_emails": False},
    ],
)
def test_grant_beside_a_possible_withdrawal_is_no_grant(value: object) -> None:
    assert read_consent(value) in {Consent.UNCLEAR, Consent.NO}


@pytest.mark.parametrize(
    "value",
    [
        {"granted": True, "sms": False, "source": "web", "version": 0},
        {"granted": True, "revoked_at": None, "isRevoked": False},
        {"status": "opted-in", "analytics": "denied"},
    ],
)
def test_grant_beside_other_purposes_and_descriptions_counts(value: object) -> None:
    assert read_consent(value) is Consent.YES


@pytest.mark.parametrize(
    "value",
    [
        *(
            "No, thanks",
            "not interested",
            "“no”",
            "no\u200b",
            "inactive",
            "reject_all",
            "opt-out-all",
            "non-consented",
        ),
        *(
            {"isGranted": False},
            {"hasConsent": False},
            {"isOptedOut": True},
            {"deny": True},
            {"allow": False},
        ),
        *({"optedOut": "2024-01-01"}, {"unsubscribed": 1714550400}),
    ],
)
def test_further_plain_denials_are_read_as_denials(value: object) -> None:
    assert read_consent(value) is Consent.NO
