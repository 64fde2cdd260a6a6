"""Lossless text for bytes of other programs: bytes that are not UTF-8 are surrogates (PEP 383)."""


def text_of(raw: bytes | str) -> str:
    """Return `raw` as text; bytes that are not UTF-8 become surrogates."""
    return raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else raw


def bytes_of(text: str) -> bytes:
    """Return the bytes of `text`, the inverse of `text_of`."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
