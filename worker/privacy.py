"""Pseudonyms and redaction: what operators see in place of personal data."""

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


def redacted(text: str) -> str:
    """Return `text` on one line with each word that could hold an e-mail address replaced."""
    if text.isalnum():
        return text
    return " ".join("<address>" if _could_hold_address(word) else word for word in text.split())


def _could_hold_address(word: str) -> bool:
    # `celery@host` is a worker's own name.
    return ("@" in word or "%40" in word) and word != "@" and not word.startswith("celery@")


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
