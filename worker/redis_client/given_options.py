"""The options that one REDIS_URL carries after its `?`, read by the table in `options.py`."""

import re
from difflib import get_close_matches
from typing import Any

from worker.redis_client.address_text import RedisAddressError, decoded
from worker.redis_client.options import OPTIONS


def options_in(query: str, scheme: str) -> dict[str, Any]:
    """Return the values of the options in `query`, by name.

    Raises:
        RedisAddressError: An option cannot be read, or does not go with the rest of the address.
    """
    given: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        name, _, text = part.partition("=")
        if name in given:
            raise RedisAddressError(f"the option {_shown(name)} is given twice; keep one of them")
        given[name] = _value(name, text)
    for name in given:
        _check_scope(name, scheme, tls=scheme == "rediss" or bool(given.get("ssl")))
    return given


def _value(name: str, text: str) -> Any:
    if name not in OPTIONS:
        raise RedisAddressError(f"the option {_shown(name)} is not supported; {_instead(name)}")
    value = decoded(text, f"the option {name}")
    if not value:
        raise RedisAddressError(f"the option {name} has no value; give it one, or leave it out")
    try:
        return OPTIONS[name].read(value)
    except ValueError as error:
        raise RedisAddressError(f"the option {name} {error}; correct it") from None


def _shown(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,39}", name) else "with that name"


def _instead(name: str) -> str:
    if name in {"username", "user", "password"}:
        return "write user name and password before the host: redis://USER:PASSWORD@HOST"
    close = get_close_matches(name.lower(), OPTIONS, 1, 0.8)
    return (
        f"did you mean {close[0]}?" if close else "take it away, docs/redis.md lists those that are"
    )


def _check_scope(name: str, scheme: str, *, tls: bool) -> None:
    scope = OPTIONS[name].scope
    if name == "ssl" and scheme != "sentinel":
        raise RedisAddressError(
            "the option ssl is for sentinel:// only; rediss:// is TLS, redis:// is not"
        )
    if scope == "sentinel" and scheme != "sentinel":
        raise RedisAddressError(
            f"the option {name} is for sentinel:// only; take it away, or write sentinel://"
        )
    if (scope == "tls" or name == "sentinel_ssl") and not tls:
        instead = "add ssl=true" if scheme == "sentinel" else "write rediss://"
        raise RedisAddressError(f"the option {name} needs TLS; {instead}, or take it away")
