"""What operators may see in place of a person's data: digests, shortened addresses, texts and errors with nothing of it."""

from hashlib import blake2b
from pathlib import Path

DIGEST_BYTES = (
    6  # twelve hex digits: enough to follow one member through a log, too short to be an identity
)


def digest(address: str, key: bytes) -> str:
    """Twelve hex digits that stand for `address`, the same under the same `key` (BLAKE2b, keyed)."""
    # Of bytes only ASCII is folded, as in `worker.signal.address`.
    return blake2b(
        address.encode("utf-8", "replace").lower(), key=key[:64], digest_size=DIGEST_BYTES
    ).hexdigest()


def redacted(text: str) -> str:
    """`text` on one line, each word that could hold an e-mail address replaced."""
    if text.isalnum():
        return text
    return " ".join("<address>" if _could_hold_address(word) else word for word in text.split())


def _could_hold_address(word: str) -> bool:
    return (
        ("@" in word or "%40" in word) and word != "@" and not word.startswith("celery@")
    )  # a worker's own name


def shortened(address: str) -> str:
    """`j…@example.com`: enough to tell a colleague's address from a customer's, on a table that others may see."""
    local, _, domain = address.partition("@")
    return f"{local[:1]}…@{domain}" if domain else "…"


def whereabouts(error: BaseException) -> str:
    """What kind of error and where it arose. Not its text: that may quote a person's data."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"
