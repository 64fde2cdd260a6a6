"""Pseudonyms and redaction: what operators see in place of personal data."""

import re
from hashlib import blake2b
from pathlib import Path

# Twelve hex digits: enough to follow one member through a log, too short to identify a person.
DIGEST_BYTES = 6


def digest(address: str, key: bytes, *, size: int = DIGEST_BYTES) -> str:
    """Return hex digits that stand for `address`: its BLAKE2b under a key.

    Args:
        address: The e-mail address; ASCII case is ignored.
        key: The key, of which the first 64 bytes count.
        size: The bytes of the digest: half its hex digits.
    """
    # `bytes.lower` folds ASCII only, as in `worker.signal.address`.
    return blake2b(
        address.encode("utf-8", "replace").lower(), key=key[:64], digest_size=size
    ).hexdigest()


# Names with an @ that are this program's own, in small letters; `disclose` adds them.
_own: set[str] = set()
_LOGIN_IN_URL = re.compile(r"\b(rediss?|sentinel)://[^\s@/;]*@")


def disclose(*names: str) -> None:
    """Let `redacted` keep these names from now on: the list's address, the worker's own name."""
    _own.update(name.lower() for name in names)


def is_own(word: str) -> bool:
    """Return True if `word` is a name that `disclose` was given."""
    return word.lower() in _own


def redacted(text: str) -> str:
    """Return `text` on one line with each word that could hold an e-mail address replaced.

    The program's own names stay, and so does a URL of Redis, without user and password.
    """
    if text.isalnum():
        return text
    return " ".join(map(_redacted_word, text.split()))


def _redacted_word(word: str) -> str:
    if ("@" not in word and "%40" not in word) or word == "@":
        return word
    # `celery@host` is a worker's name by default.
    if word.startswith("celery@") or is_own(word.strip("'\"()[]<>.,:;")):
        return word
    without_login = _LOGIN_IN_URL.sub(r"\1://", word)
    return "<address>" if "@" in without_login or "%40" in without_login else without_login


def shortened(address: str) -> str:
    """Return `address` shortened to `j…@example.com`.

    That tells a colleague's address from a customer's in a table that other people may see.
    """
    local, _, domain = address.partition("@")
    return f"{local[:1]}…@{domain}" if domain else "…"


def whereabouts(error: BaseException) -> str:
    """Return the error's type and place, without its text, which may quote personal data."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"
