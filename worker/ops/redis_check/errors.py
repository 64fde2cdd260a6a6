"""Classification of Redis errors: why Redis refused, and the fix.

`check`, the errors of every command, and a worker's start use it. It reads the text of an exception
as well as its type: inside a script Redis wraps its own errors, redis-py keeps some as plain
`ResponseError`, and a proxy in between has words of its own.
"""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis
from redis.sentinel import MasterNotFoundError

from worker.ops.redis_check.known_errors import (
    ASKED_PLAIN,
    ASKED_TLS,
    AT_ADDRESS,
    CERTIFICATE,
    FORBIDDEN,
    KNOWN_ERRORS,
    NOT_SENTINEL_FIX,
    RIGHTS_DOC,
    UNASKED_ERRORS,
    UNAVAILABLE,
    USE_NEWER,
    VERSION,
)
from worker.ops.redis_check.name_lookup import AddressLook, look_at_address
from worker.redis_client.client import connect, where
from worker.redis_client.sentinels import SentinelsRefusedLogin


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the Redis of REDIS_URL.

    Attributes:
        found: What is wrong. It names the address, never a user or a password.
        fix: What to do about it.
        passes: It may end without a change of settings or rights, so a worker waits for that.
        answered: The server itself refused. False: there was no answer, another kind of server
            answered, or Redis is still loading.
    """

    found: str
    fix: str
    passes: bool = False
    answered: bool = True


def describe_redis_error(error: BaseException, url: str) -> Trouble:
    """Return what is wrong with the Redis at `url`.

    If the error alone does not tell, it connects to the address to see what answers there.
    """
    text = text_of(error)
    place = where(url)
    if isinstance(error, MasterNotFoundError):
        return _of_sentinels(error, place)
    for pattern, found, fix, passes in KNOWN_ERRORS:
        if re.search(pattern, text):
            return Trouble(f"{place} {found}", fix, passes, answered=not text.startswith("LOADING"))
    return (
        _of_password(error, text, url)
        or _of_database(text, url)
        or _of_right(text, place)
        or _of_tls(error, place)
        or _of_address(error, url)
    )


def text_of(error: BaseException) -> str:
    """Return the text of the error with its code in front, as Redis sent it."""
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error)


def is_unavailable(error: BaseException) -> bool:
    """Return True if the server, or a proxy in front of it, does not have the command."""
    text = text_of(error)
    known = is_untriable(error) or any(re.search(pattern, text) for pattern, *_ in KNOWN_ERRORS)
    return not known and bool(re.search(UNAVAILABLE, text))


def is_untriable(error: BaseException) -> bool:
    """Return True if the command was refused only because it was sent within a transaction."""
    return bool(re.search(r"(?i)\b(inside|within|in) (an? )?(multi|transaction)", text_of(error)))


def is_forbidden(error: BaseException) -> bool:
    """Return True if the user lacks a right to the command, its key or its channel."""
    return bool(re.search(FORBIDDEN, text_of(error)))


def _of_right(text: str, place: str) -> Trouble | None:
    fix = f"Give it the rights of {RIGHTS_DOC}; signal-mailgun check names each that is missing."
    if re.search(FORBIDDEN, text):
        command = re.search(r"run the '([\w|]+)'", text)
        lacks = f"run {command[1].upper()}" if command else "use a key or channel that is needed"
        return Trouble(f"{place} does not let REDIS_URL's user {lacks}", fix)
    unknown = re.search(r"unknown command [`'\"]?(\w+)", text)
    if unknown and unknown[1].upper() == "SENTINEL":
        return Trouble(f"{place} is Redis itself, not a Sentinel", NOT_SENTINEL_FIX)
    if unknown and unknown[1].upper() == "HELLO":
        return Trouble(f"{place} is older than Redis 6", USE_NEWER)
    if unknown:
        return Trouble(
            f"{place} has no command {unknown[1].upper()}",
            f"{USE_NEWER} Or it was renamed: undo that.",
        )
    return None


def _of_password(error: BaseException, text: str, url: str) -> Trouble | None:
    if not isinstance(error, redis.AuthenticationError) and "invalid password" not in text:
        return None
    if _options(url).get("username"):
        # Redis says the same of both, so that its answer does not reveal user names.
        return Trouble(
            f"{where(url)} refused user name or password (or the user is switched off)",
            "Correct both in REDIS_URL; percent-encode what is no letter or digit.",
        )
    return Trouble(
        f"{where(url)} refused the password",
        "Correct the password in REDIS_URL; percent-encode what is no letter or digit.",
    )


def _of_database(text: str, url: str) -> Trouble | None:
    if not re.search(r"DB index is out of range|invalid DB index|Invalid Database", text):
        return None
    return Trouble(
        f"{where(url)}: this database is not there",
        "End REDIS_URL with a number that it has, such as /0, or raise its `databases`.",
    )


def _of_tls(error: BaseException, place: str) -> Trouble | None:
    refused = next(
        (each for each in _chain(error) if isinstance(each, ssl.SSLCertVerificationError)), None
    )
    if refused:
        known = CERTIFICATE.get(refused.verify_code)
        found, fix = known or (
            f"is not trusted ({refused.verify_message})",
            "Name the CA that signed it: ?ssl_ca_certs=FILE in REDIS_URL.",
        )
        return Trouble(f"the certificate of {place} {found}", fix)
    # Only a server that speaks TLS sends an alert, which says why it refuses the connection.
    alert = next(
        (said[1] for each in _chain(error) if (said := re.search(r"ALERT_(\w+)", str(each)))), None
    )
    if alert == "CERTIFICATE_REQUIRED":
        fix = "Name yours: ?ssl_certfile=FILE&ssl_keyfile=FILE in REDIS_URL."
        return Trouble(f"{place} wants a client certificate", fix)
    if alert:
        why = alert.replace("_", " ").lower()
        return Trouble(
            f"TLS with {place} fails ({why})",
            "Compare its TLS versions and certificates with REDIS_URL.",
        )
    return None


def _of_address(error: BaseException, url: str) -> Trouble:
    place = where(url)
    kinds = (redis.ConnectionError, redis.TimeoutError, redis.InvalidResponse, OSError)
    if not isinstance(error, kinds):
        return Trouble(
            f"{place} refused a command ({type(error).__name__})",
            f"It must be a writable Redis ≥ {VERSION} or Valkey; see signal-mailgun check.",
            passes=True,
        )
    options = _options(url)
    if "host" not in options:  # the Sentinels name it
        return Trouble(
            f"{place}: the master does not answer",
            "Wait for a failover, or start it.",
            passes=True,
            answered=False,
        )
    look = look_at_address(str(options["host"]), int(options.get("port", 6379)))
    return _of_look(look, place, tls=place.startswith("rediss:"))


def _of_look(look: AddressLook, place: str, *, tls: bool) -> Trouble:
    refusals = (
        (found, fix, passes)
        for pattern, found, fix, passes in UNASKED_ERRORS
        if re.search(pattern, look.reply)
    )
    meanings = {**AT_ADDRESS, **(ASKED_TLS if tls else ASKED_PLAIN)}
    found, fix, passes = next(refusals, meanings[look.speaks])
    return Trouble(f"{place} {found}", fix, passes, answered=False)


def _of_sentinels(error: MasterNotFoundError, place: str) -> Trouble:
    if refused := _of_tls(error, place):
        return refused
    found, _, fix = str(error).partition("; ")
    if not fix:
        found, fix = (
            "no Sentinel names a master",
            "Start the Sentinels, or correct master_name and the ports in REDIS_URL.",
        )
    return Trouble(
        f"{place}: {found}",
        fix,
        passes=not isinstance(error, SentinelsRefusedLogin),
        answered=False,
    )


def _options(url: str) -> dict[str, Any]:
    return connect(url).connection_pool.connection_kwargs


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
