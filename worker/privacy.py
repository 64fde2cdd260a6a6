"""What operators may see in place of a person's data: digests, shortened addresses, texts and errors with nothing of it."""

import re
from hashlib import blake2b
from pathlib import Path

DIGEST_BYTES = 6  # twelve hex digits: enough to follow one member through a log, too short to be an identity
EMAIL_LIKE = re.compile(r"[^\s@<>'\"(),:;=%]+(?:@|%40)[^\s@<>'\"(),:;]+")


def digest(address: str, key: bytes) -> str:
    """Twelve hex digits that stand for `address`, the same under the same `key` (BLAKE2b, keyed)."""
    return blake2b(address.lower().encode("utf-8", "replace"), key=key[:64], digest_size=DIGEST_BYTES).hexdigest()


def redacted(text: str) -> str:
    """`text` with everything that looks like an e-mail address replaced, on one line."""
    return EMAIL_LIKE.sub(_struck_out, " ".join(text.split()))


def _struck_out(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("celery@") else "<address>"  # a worker's own name


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
