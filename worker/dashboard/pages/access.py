"""Who may change queues in Flower, and who may see the events in them."""

from base64 import b64decode
from typing import Any

from worker.web_origin import is_loopback

READ_ONLY = "Flower is read-only (--read-only)."
OPEN = "Flower has no login and is not bound to this machine alone: set FLOWER_BASIC_AUTH."
NOT_A_VIEWER = "FLOWER_EVENT_VIEWERS does not name you."


def why_not_change(options: Any) -> str:
    """Return why nothing may be changed under these options of Flower's, or "" if it may."""
    if options.read_only:
        return READ_ONLY
    return "" if _is_closed(options) else OPEN


def why_not_see_events(options: Any, viewers: str, user: str) -> str:
    """Return why this user may not see events, which are personal data, or "" if they may.

    Args:
        options: Flower's options.
        viewers: FLOWER_EVENT_VIEWERS: `all`, `none`, or names separated by commas.
        user: The user's name; "" without a login.
    """
    if not _is_closed(options):
        return OPEN
    if viewers in {"all", "none"}:
        return "" if viewers == "all" else NOT_A_VIEWER
    names = [each.strip() for each in viewers.split(",")]
    return "" if user and user in names else NOT_A_VIEWER


def user_named(options: Any, current_user: Any, authorization: str) -> str:
    """Return the name of the user who is logged in, or "".

    Args:
        options: Flower's options.
        current_user: What Flower says of the user: the e-mail address of an OAuth login, or True.
        authorization: The request's header Authorization, which Flower checks only if it has a
            `basic_auth`.
    """
    if isinstance(current_user, str):
        return current_user
    if not options.basic_auth:
        return ""
    scheme, _, credentials = authorization.partition(" ")
    try:
        login = b64decode(credentials).decode() if scheme == "Basic" else ""
    except ValueError:
        return ""
    return login.partition(":")[0]


def _is_closed(options: Any) -> bool:
    """Return True if only users with a login, or programs of this machine, reach Flower."""
    # An address of IPv6 stands in brackets in a header, and without them in Flower's option.
    local = is_loopback(options.address) or is_loopback(f"[{options.address}]")
    return bool(options.basic_auth or options.auth or options.unix_socket or local)
