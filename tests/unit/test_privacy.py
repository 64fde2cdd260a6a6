"""What stands for a person where operators look."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import any_text
from worker.mailgun.texts import shown
from worker.privacy import digest, disclose, redacted
from worker.signal.address import MalformedEmail
from worker.signal.event import parse_event
from worker.signal.patch import Patch, patch_from_event
from worker.signal.preset import load_preset

KEY = b"key"
PRESET = load_preset()


def taken(email: str) -> bool:
    """Would an event with this address be sent to Mailgun?"""
    try:
        return isinstance(
            patch_from_event(parse_event({"type": "identify", "traits": {"email": email}}), PRESET),
            Patch,
        )
    except MalformedEmail:
        return False


def test_a_digest_is_twelve_hex_digits() -> None:
    assert re.fullmatch("[0-9a-f]{12}", digest("jane@example.com", KEY))


def test_a_digest_is_the_same_under_the_same_key_ignoring_case() -> None:
    assert digest("Jane@Example.com", KEY) == digest("jane@example.com", KEY)


def test_digests_differ_by_address_and_by_key() -> None:
    digests = {
        digest("jane@example.com", KEY),
        digest("joe@example.com", KEY),
        digest("jane@example.com", b"other"),
    }
    assert len(digests) == 3


@pytest.mark.parametrize("size", [0, 1, 64, 65, 1000])
def test_a_key_of_any_length_will_do(size: int) -> None:
    assert re.fullmatch("[0-9a-f]{12}", digest("jane@example.com", b"k" * size))


@given(any_text, st.binary())
def test_any_address_has_a_digest_under_any_key(address: str, key: bytes) -> None:
    assert re.fullmatch("[0-9a-f]{12}", digest(address, key))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing to see", "nothing to see"),
        ("Member jane@example.com of mailing list x", "Member <address> of mailing list x"),
        ("GET /members/jane%40example.com failed", "GET <address> failed"),
        ("a\n b\tc", "a b c"),
        ("celery@worker-1 ready", "celery@worker-1 ready"),
        ("at redis://me:secret@host:6379/0, now", "at redis://host:6379/0, now"),
        ("at rediss://:**@[::1]:6379/0", "at rediss://[::1]:6379/0"),
        ("at redis://me:a@b@host:6379/0", "at <address>"),
        ("redis://host/jane@example.com", "<address>"),
    ],
)
def test_text_that_looks_like_an_address_is_struck_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "address",
    [
        "jane@example.com",
        "jane+news@example.com",
        "o'brien@example.com",
        "jane!work@example.com",
        "jane%@example.com",
        "a=b@example.com",
        "jäne@exämple.com",
        "jane@127.0.0.1",
    ],
)
@pytest.mark.parametrize(
    "told", ["{}", "Address already exists '{}'", 'no "{}" here', "address={}&name=", "<{}>,"]
)
def test_no_address_that_mailgun_is_sent_survives(address: str, told: str) -> None:
    assert taken(address)
    shown = redacted(told.format(address))
    assert "@" not in shown
    for part in re.split(r"\W+", address):
        assert len(part) < 3 or part not in shown


@given(any_text)
def test_redacted_text_is_one_line_without_addresses(text: str) -> None:
    shown = redacted(f"{text} jane@example.com")
    assert "jane" not in shown
    assert len(shown.splitlines()) <= 1


@given(st.emails().filter(lambda each: taken(each) and not each.startswith("celery@")))
def test_any_address_is_struck_out(address: str) -> None:
    assert "@" not in redacted(f"Member {address} of mailing list")


def test_own_names_stay_and_only_as_whole_words() -> None:
    disclose("News@mg.example.com", "worker1@host")
    assert redacted("list 'news@mg.example.com' gone") == "list 'news@mg.example.com' gone"
    assert redacted("worker1@host: ready.") == "worker1@host: ready."
    assert redacted("x-news@mg.example.com news@mg.example.com.evil") == "<address> <address>"
    assert shown("Mailing list news@mg.example.com not found").startswith("Mailing list news@")
    assert "<address>" in shown("Mailing list jane@example.com not found")
