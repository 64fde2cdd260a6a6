"""Which texts are taken for a hashed e-mail address."""

import hashlib
from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.signal.hashed import is_hashed

ALONE = ["md5", "sha1", "sha256", "sha512"]
NAMED = [*ALONE, "sha224", "sha384"]


def digest_of(text: str, name: str) -> bytes:
    return hashlib.new(name, text.encode(), usedforsecurity=False).digest()


emails = st.text(min_size=1).map(
    lambda each: f"{each.encode('utf-8', 'replace').hex()}@example.com"
)


@pytest.mark.parametrize("name", NAMED)
@given(email=emails)
def test_a_hash_in_hex_is_one_in_either_case_and_with_its_name(name: str, email: str) -> None:
    text = digest_of(email, name).hex()
    dashed = name.replace("sha", "sha-")
    forms = (
        text,
        text.upper(),
        f" {text}\n",
        f"0x{text}",
        f"{name}:{text}",
        f"{dashed.upper()}: {text}",
        f"{name}={text}",
    )
    assert [each for each in forms if not is_hashed(each)] == []


@pytest.mark.parametrize("name", NAMED)
@given(email=emails)
def test_a_hash_in_base64_is_one_with_its_name(name: str, email: str) -> None:
    for text in (
        b64encode(digest_of(email, name)).decode(),
        urlsafe_b64encode(digest_of(email, name)).decode(),
    ):
        for form in (f"{name}:{text}", f"{name}-{text.rstrip('=')}", f"{{{name.upper()}}}{text}"):
            assert is_hashed(form), form


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("email", ["jane@example.com", "joe@example.org", "x" * 50])
def test_a_hash_in_base64_is_one_without_a_name_too(name: str, email: str) -> None:
    for text in (
        b64encode(digest_of(email, name)).decode(),
        urlsafe_b64encode(digest_of(email, name)).decode(),
    ):
        assert is_hashed(text)
        assert is_hashed(text.rstrip("="))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "jane",
            "a" * 31,
            "a" * 33,
            "a" * 63,
            "g" * 64,
            "md5:",
            "md5:abc",
            "sha256:" + "a" * 32,
            "sha3:" + "a" * 64,
        ),
        *(
            "thisisnotanemailaddress",
            "jane_doe_from_somewher",
            "a" * 43,
            "A" * 43,
            "JaneDoe",
            "=" * 44,
            "a" * 100_000,
        ),
        *("a" * 64 + "@example.com", "sha256:" + "a" * 64 + "@x"),
    ],
)
def test_text_that_only_resembles_a_hash_is_no_hash(text: str) -> None:
    assert not is_hashed(text)


@given(st.text(), st.text())
def test_text_with_an_at_sign_is_no_hash(before: str, after: str) -> None:
    assert not is_hashed(f"{before}@{after}")
