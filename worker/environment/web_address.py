"""The form of web addresses in settings: that of Mailgun's API, and that of a webhook. Pure."""

import re
from urllib.parse import urlsplit

US_REGION = "https://api.mailgun.net"
EU_REGION = "https://api.eu.mailgun.net"


def mailgun_address(url: str) -> str:
    """Return the address of Mailgun's API without a slash at its end.

    Raises:
        ValueError: `url` is no such address; the text says what is wrong, and quotes nothing.
    """
    parts = urlsplit(url)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.query
        or parts.fragment
        or parts.port == 0  # raises ValueError if it is no number
        or not url.isprintable()
    ):
        raise ValueError(f"is not a Mailgun address; use {US_REGION} or {EU_REGION}")
    if parts.username or parts.password:
        raise ValueError("carries a user name or password; the key belongs in MAILGUN_API_KEY")
    return url.rstrip("/")


def is_web_address(url: str) -> bool:
    """Return True if `url` can be asked: http or https, a host, no sign that a URL must escape."""
    try:
        parts = urlsplit(url)
        port = parts.port  # raises ValueError if it is no number
    except ValueError:
        return False
    known = parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0
    # Some parsers take what follows a backslash for the path, others for the host.
    return known and re.fullmatch(r"[\x21-\x5b\x5d-\x7e]+", url) is not None
