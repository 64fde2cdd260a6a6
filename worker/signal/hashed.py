"""Hashes that stand where an e-mail address should: an upstream privacy rule put them there, and Mailgun cannot use them."""

import re
from base64 import b64decode, b64encode

SIZES = {"md5": 16, "sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}  # in bytes
BASE64_ALONE = frozenset(
    {16, 20, 32, 64}
)  # sizes whose base64 is taken for a hash without a prefix that says so
PREFIXED = re.compile(
    r"\{?(?:(md5)|sha[-_]?(?:2[-_]?)?(1|224|256|384|512))[}:=$-]\s*", re.IGNORECASE
)
HEX = re.compile(r"(?:0x)?((?:[0-9a-f]{2})+)", re.IGNORECASE)
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{22,88}={0,2}")
LONGEST = 160  # characters: the hex of SHA-512, with a prefix


def is_hashed(text: str) -> bool:
    """Return True if `text` is an MD5, SHA-1 or SHA-2 hash, in hex or base64, with or without its name before it.

    What has an @ is never taken for one.
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
    # Without its padding it could be a word: a hash of that length is all but certain to have letters of both cases.
    mixed = text.lower() != text and text.upper() != text
    return _base64_size(text) in BASE64_ALONE and (text.endswith("=") or mixed)


def _base64_size(text: str) -> int | None:
    """Return how many bytes `text` stands for in base64, standard or URL-safe; None if no encoder would write it so."""
    if not BASE64.fullmatch(text):
        return None
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    padded = standard + "=" * (-len(standard) % 4)
    try:
        decoded = b64decode(padded, validate=True)
    except ValueError:
        return None
    return len(decoded) if b64encode(decoded).decode() == padded else None
