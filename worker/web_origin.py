"""What a browser must not do to a server without a login: whose page a request comes from, and under which name. Pure.

A page from elsewhere can send requests across sites, and its owner can point a name of its own at this machine (DNS rebinding).
"""

import re
from collections.abc import Collection, Mapping
from ipaddress import ip_address

HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+?))\.?(?::[0-9]+)?", re.IGNORECASE)
# What stands behind the last dot of names that no public DNS answers for.
PRIVATE = ("localhost", "local", "internal", "test")
READING = ("GET", "HEAD", "OPTIONS")


def is_loopback(host: str) -> bool:
    """Return True if a Host header names this machine by a name or an address that no other can claim."""
    name = host_name(host)
    return name == "localhost" or _is_address(name, loopback=True)


def is_safe_host(host: str, allowed: Collection[str] = ()) -> bool:
    """Return True if a page that has this Host header cannot be a stranger's whose name was pointed here.

    Safe are addresses, since a page under an address comes from there; names that public DNS does not know; those `allowed`.
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
    """Return True if a Host header, whatever its port, is one of the names `allowed`."""
    name = host_name(host)
    return bool(name) and name in {each.lower() for each in allowed}


def is_from_elsewhere(method: str, headers: Mapping[str, str]) -> bool:
    """Return True if a browser sends the request for a page of another site. Following a link to here is no such request."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if method in READING and headers.get("Sec-Fetch-Mode") == "navigate":
        return False
    if site is not None:
        return site not in ("same-origin", "none")
    return (
        origin is not None and origin.lower().partition("://")[2] != headers.get("Host", "").lower()
    )


def host_name(host: str) -> str:
    """Return the name or address in a Host header, in lower case; "" if it is none."""
    found = HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def _is_address(name: str, *, loopback: bool = False) -> bool:
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not loopback
