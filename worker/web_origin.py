"""Checks against cross-site requests and DNS rebinding, for servers without a login. Pure.

A page of another site can send requests here, and its owner can point a name of its own at this
machine (DNS rebinding).
"""

import re
from collections.abc import Collection, Mapping
from ipaddress import ip_address

HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+?))\.?(?::[0-9]+)?", re.IGNORECASE)
# Top-level labels of names that no public DNS resolves.
PRIVATE = ("localhost", "local", "internal", "test")
READING = ("GET", "HEAD", "OPTIONS")


def is_loopback(host: str) -> bool:
    """Return True if a Host header is `localhost` or a loopback address."""
    name = host_name(host)
    return name == "localhost" or _is_address(name, loopback=True)


def is_safe_host(host: str, allowed: Collection[str] = ()) -> bool:
    """Return True if a page with this Host header cannot be an attack by DNS rebinding.

    Three kinds of host are safe: an IP address, since the page was loaded from it; a name that
    public DNS does not resolve; and a name in `allowed`.
    """
    name = host_name(host)
    if not name:
        return False
    is_private = (
        "." not in name or name.rpartition(".")[2] in PRIVATE or name.endswith(".home.arpa")
    )
    return is_private or _is_address(name) or is_allowed(host, allowed)


def is_address(host: str) -> bool:
    """Return True if a Host header is an IP address."""
    return _is_address(host_name(host))


def is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Return True if a Host header, without its port, is one of the names `allowed`."""
    name = host_name(host)
    return bool(name) and name in {each.lower() for each in allowed}


def is_from_elsewhere(method: str, headers: Mapping[str, str]) -> bool:
    """Return True if a browser sends the request for a page of another site.

    A navigation by GET, such as a click on a link to this server, is no such request. Of the
    headers, Sec-Fetch-Site, Sec-Fetch-Mode, Origin and Host are read.
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    host = headers.get("Host", "").lower()
    if method in READING and headers.get("Sec-Fetch-Mode") == "navigate":
        return False
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and origin.lower().partition("://")[2] != host


def host_name(host: str) -> str:
    """Return the name or IP address in a Host header, in lower case; "" if it has neither."""
    found = HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def _is_address(name: str, *, loopback: bool = False) -> bool:
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not loopback
