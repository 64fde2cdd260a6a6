"""Bytes of other programs as text and back: what is not UTF-8 becomes lone surrogates (PEP 383), so that none is lost."""


def text_of(raw: bytes | str) -> str:
    """Return `raw` as this program handles messages: bytes that are not UTF-8 are surrogates, and come out as they were."""
    return raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else raw


def bytes_of(text: str) -> bytes:
    """Return the bytes that `text_of` was given."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
