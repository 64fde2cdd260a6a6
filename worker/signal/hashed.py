"""Detection of hashed e-mail addresses, which privacy rules send and Mailgun cannot use."""

import re
from base64 import b64decode, b64encode

SIZES = {"md5": 16, "sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}  # in bytes
# Sizes whose base64 counts as a hash even without the algorithm's name before it.
BASE64_ALONE = frozenset({16, 20, 32, 64})
PREFIXED = re.compile(
    r"\{?(?:(md5)|sha[-_]?(?:2[-_]?)?(1|224|256|384|512))[}:=$-]\s*", re.IGNORECASE
)
HEX = re.compile(r"(?:0x)?((?:[0-9a-f]{2})+)", re.IGNORECASE)
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{22,88}={0,2}")
LONGEST = 160  # characters: the hex of SHA-512, with a prefix


def is_hashed(text: str) -> bool:
    """Return True if `text` is an MD5, SHA-1 or SHA-2 hash in hex or base64.

    The algorithm's name may stand before it. A text with an @ is never a hash.
    """
    text = text.strip()
    if "@" in text or len(text) > LONGEST:
        return False
    named = PREFIXED.match(text)
    if named:
        size, rest = SIZES[f"sha{named[2]}" if named[2] else "md5"], text[named.end() :]
        return size in {_hex_size(rest), _base64_size(rest)}
    return _hex_size(text) in SIZES.values() or _is_base64_alone(text)


def _hex_size(text: str) -> int | None:
    found = HEX.fullmatch(text)
    return len(found[1]) // 2 if found else None


def _is_base64_alone(text: str) -> bool:
    # Without padding it could be a word. A hash of that length almost certainly mixes cases.
    mixed = text.lower() != text and text.upper() != text
    return _base64_size(text) in BASE64_ALONE and (text.endswith("=") or mixed)


def _base64_size(text: str) -> int | None:
    """Return how many bytes `text` encodes in base64, also URL-safe; None if it is no base64."""
    if not BASE64.fullmatch(text):
        return None
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    padded = standard + "=" * (-len(standard) % 4)
    try:
        decoded = b64decode(padded, validate=True)
    except ValueError:
        return None
    return len(decoded) if b64encode(decoded).decode() == padded else None
