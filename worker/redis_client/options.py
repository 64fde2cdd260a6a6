"""The options that REDIS_URL may carry after its `?`, the same for every part of the program.

The table in `docs/redis.md` lists them. An error says what a value must be and never quotes it,
since it may be a secret.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

# The longest time-out: a worker must notice that Redis is gone before its messages are delivered
# again.
MOST_SECONDS = 60
MOST_DATABASES = 2**31
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class Option:
    """One option of REDIS_URL.

    Attributes:
        read: Returns the value of the option's text, or raises `ValueError` with what it must be.
        meaning: What the option does, for docs/redis.md.
        scope: With which addresses it may be used: any, those over TLS, or those of sentinels.
    """

    read: Callable[[str], Any]
    meaning: str
    scope: Literal["any", "tls", "sentinel"] = "any"


def whole_number(text: str, least: int, most: int) -> int:
    """Return the whole number in `text`.

    Raises:
        ValueError: `text` is no whole number from `least` to `most`.
    """
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise ValueError(f"must be a whole number from {least} to {most}")
    return int(text)


def database(text: str) -> int:
    """Return the number of a database.

    Raises:
        ValueError: `text` is no such number.
    """
    try:
        return whole_number(text, 0, MOST_DATABASES - 1)
    except ValueError:
        raise ValueError("must be a whole number from 0") from None


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", text) or not 0 < float(text) <= MOST_SECONDS:
        raise ValueError(f"must be a number of seconds above 0, at most {MOST_SECONDS}")
    return float(text)


def _health_check(text: str) -> int:
    return whole_number(text, 0, 3600)


def _protocol(text: str) -> int:
    if text not in {"2", "3"}:
        raise ValueError("must be 2 or 3")
    return int(text)


def _name(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,200}", text):
        raise ValueError("must be ASCII without blanks, at most 200 characters")
    return text


def _file(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be the path of a file")
    return text


def _switch(text: str) -> bool:
    if text.lower() not in (*TRUE, *FALSE):
        raise ValueError("must be true or false")
    return text.lower() in TRUE


def _verifies(text: str) -> bool:
    word = text.lower().removeprefix("cert_")
    if word not in {"required", "optional", "none"}:
        raise ValueError("must be required or none")
    return word != "none"


OPTIONS = {
    "db": Option(database, "the database, as in the path"),
    "socket_timeout": Option(_seconds, "seconds until an answer counts as missing"),
    "socket_connect_timeout": Option(_seconds, "seconds until a connection counts as refused"),
    "health_check_interval": Option(
        _health_check, "idle seconds after which a connection is tried first; 0: never"
    ),
    "protocol": Option(_protocol, "RESP version, 2 or 3"),
    "client_name": Option(_name, "what CLIENT LIST shows"),
    "ssl_ca_certs": Option(
        _file, "file of the certificates to trust beside the system's (PEM)", "tls"
    ),
    "ssl_certfile": Option(_file, "file of the client's certificate (PEM)", "tls"),
    "ssl_keyfile": Option(_file, "file of its key (PEM), if ssl_certfile does not hold it", "tls"),
    "ssl_password": Option(str, "what opens that key", "tls"),
    "ssl_cert_reqs": Option(
        _verifies, "required, or none: verify neither certificate nor name, with a warning", "tls"
    ),
    "ssl_check_hostname": Option(
        _switch, "false: verify the certificate but not its name, with a warning", "tls"
    ),
    "master_name": Option(_name, "the master's name at the sentinels", "sentinel"),
    "sentinel_username": Option(str, "user name at the sentinels themselves", "sentinel"),
    "sentinel_password": Option(str, "password at the sentinels themselves", "sentinel"),
    "ssl": Option(_switch, "true: TLS to Redis and to the sentinels", "sentinel"),
    "sentinel_ssl": Option(_switch, "false: with ssl=true, no TLS to the sentinels", "sentinel"),
}
