"""What may stand for a person where operators look: a short keyed digest, or a text with every address struck out."""

import re
from hashlib import blake2b

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
