"""The texts in REDIS_URL: how they are decoded, and the error of one that cannot be read."""

import re
from urllib.parse import unquote_to_bytes


class RedisAddressError(ValueError):
    """An unusable REDIS_URL.

    The text is one line without any secret, which callers put after the setting's name.
    """


def decoded(text: str, what: str) -> str:
    """Return `text` without percent-encoding.

    Raises:
        RedisAddressError: A % begins no escape of UTF-8. The error names `what` that is.
    """
    try:
        if re.search(r"%(?![0-9A-Fa-f]{2})", text):
            raise ValueError
        return unquote_to_bytes(text).decode("utf-8")
    except ValueError:
        raise RedisAddressError(
            f"{what} holds a % that begins no UTF-8 escape; write a % itself as %25"
        ) from None
