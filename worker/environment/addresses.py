"""The form of addresses in settings: of Mailgun's API, of the mailing list, of a webhook. Pure."""

import re
from urllib.parse import urlsplit

from pydantic import SecretStr

US_REGION = "https://api.mailgun.net"
EU_REGION = "https://api.eu.mailgun.net"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


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


def check_mailgun_host(url: str, *, may_be_custom: bool) -> None:
    """Raise if requests with the API key may not go to the host of `url`.

    Args:
        url: The address of Mailgun's API.
        may_be_custom: MAILGUN_ALLOW_CUSTOM_HOST.

    Raises:
        ValueError: It is none of Mailgun's own and not allowed, or the key would be readable.
    """
    if url in {US_REGION, EU_REGION}:
        return
    if not may_be_custom:
        raise ValueError(
            f"MAILGUN_API_BASE_URL is neither {US_REGION} nor {EU_REGION}; "
            "set MAILGUN_ALLOW_CUSTOM_HOST=true in the environment, not in .env, "
            "if the key may really go there"
        )
    if _is_readable_on_the_way(url):
        raise ValueError(
            "MAILGUN_API_BASE_URL is plain http and not this machine; "
            "the key would be readable: use https"
        )


def mailing_list(address: str) -> str:
    """Return the address of a mailing list.

    Raises:
        ValueError: It is no such address.
    """
    if not re.fullmatch(r"[^@/\s]+@[^@/\s]+", address):
        raise ValueError("is not a list address such as newsletter@mg.example.com")
    return address


def webhook_url(value: SecretStr) -> SecretStr:
    """Return the URL of a webhook without space around it.

    Raises:
        ValueError: It cannot be asked, or would be readable. The text does not quote it, since it
            is a secret.
    """
    url = value.get_secret_value().strip()
    if not _is_web_address(url):
        raise ValueError("is not an address such as https://hooks.example.com/services/…")
    if _is_readable_on_the_way(url):
        raise ValueError(
            "is plain http and not this machine; whoever reads it could post: use https"
        )
    return SecretStr(url)


def _is_readable_on_the_way(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS


def _is_web_address(url: str) -> bool:
    """Return True if `url` can be asked: http or https, a host, no sign that a URL must escape."""
    try:
        parts = urlsplit(url)
        port = parts.port  # raises ValueError if it is no number
    except ValueError:
        return False
    known = parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0
    # Some parsers take what follows a backslash for the path, others for the host.
    return known and re.fullmatch(r"[\x21-\x5b\x5d-\x7e]+", url) is not None
