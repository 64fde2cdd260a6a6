"""The address in REDIS_URL, parsed in the same way for every part of the program.

    redis://[user:password@]host[:6379][/db][?option=value&…]
    rediss://…                                                     the same over TLS
    sentinel://[user:password@]host[:26379][;host2[:26379]…][/db][?option=value&…]

User name and password end at the last `@`, so a password may hold any character but a raw `?`, or a
`%` that begins no escape. An address that cannot be read raises `RedisAddressError`: one line that
names the part or option and quotes no value.
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any

from worker.redis_client.address_text import RedisAddressError, decoded
from worker.redis_client.given_options import options_in
from worker.redis_client.options import OPTIONS, database, whole_number

DEFAULT_MASTER = "mymaster"  # the name in Redis's own Sentinel documentation
DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379}
HOW = "write redis://HOST:PORT/DB, rediss://… or sentinel://…"
ENCODE = (
    "percent-encode ? as %3F, # as %23, @ as %40, / as %2F, : as %3A, ; as %3B and % as %25 "
    "in passwords and options"
)
OTHER_SCHEMES = {
    "valkey": "write redis:// for Valkey, too",
    "valkeys": "write rediss:// for Valkey, too",
    "unix": "let Redis listen on TCP and write redis://127.0.0.1:6379/0",
    "redis+socket": "let Redis listen on TCP and write redis://127.0.0.1:6379/0",
    "redis+sentinel": "write sentinel://",
    "rediss+sentinel": "write sentinel://…?ssl=true",
}


@dataclass(frozen=True)
class Server:
    """A host and port to connect to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Login:
    """User name and password, each None if the address has none."""

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.password)


@dataclass(frozen=True)
class Tls:
    """How a TLS connection is made and verified.

    Attributes:
        ca_certs: File of the certificates to trust beside the system's.
        certfile: File of the client's certificate.
        keyfile: File of its key; None if `certfile` holds it.
        password: The password of the key.
        verifies: The server's certificate is verified.
        checks_name: The name in the server's certificate is verified.
    """

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    password: str | None = field(default=None, repr=False)
    verifies: bool = True
    checks_name: bool = True


@dataclass(frozen=True)
class Sentinels:
    """The master's name at the sentinels, and their own login and TLS."""

    master_name: str = DEFAULT_MASTER
    login: Login = field(default=Login(), repr=False)
    tls: Tls | None = None


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is and how to connect to it. Its `repr` and `place` hold no secret.

    Attributes:
        scheme: `redis`, `rediss` or `sentinel`.
        servers: One server, or every sentinel.
        db: The number of the database.
        login: The login at Redis.
        tls: The TLS to Redis; None for none.
        sentinels: How to ask the sentinels; None if there are none.
        connection: Options for every connection, by redis-py's names.
    """

    scheme: str
    servers: tuple[Server, ...]
    db: int = 0
    login: Login = field(default=Login(), repr=False)
    tls: Tls | None = None
    sentinels: Sentinels | None = None
    connection: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The address to be shown: every server, without login and options."""
        return f"{self.scheme}://{';'.join(map(str, self.servers))}/{self.db}"

    @property
    def first_place(self) -> str:
        """The address to be shown, with the first server only."""
        return f"{self.scheme}://{self.servers[0]}/{self.db}"


def redis_address(url: str) -> RedisAddress:
    """Parse `url`.

    Raises:
        RedisAddressError: `url` cannot be read.
    """
    scheme, rest = _scheme(url.strip())
    before, _, query = rest.partition("?")
    if "@" in query or "#" in query:
        raise RedisAddressError(f"holds a raw ?, # or @; {ENCODE}")
    nodes = [_node(part, DEFAULT_PORTS[scheme]) for part in _parts(before, scheme)]
    given = options_in(query, scheme)
    return RedisAddress(
        scheme=scheme,
        servers=tuple(server for _, server, _ in nodes),
        db=_database([db for *_, db in nodes], given.pop("db", None)),
        login=_login([login for login, *_ in nodes]),
        tls=_tls(given) if scheme == "rediss" or given.get("ssl") else None,
        sentinels=_sentinels(given) if scheme == "sentinel" else None,
        connection={name: value for name, value in given.items() if OPTIONS[name].scope == "any"},
    )


def _scheme(url: str) -> tuple[str, str]:
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if mark and scheme in OTHER_SCHEMES:
        raise RedisAddressError(f"the scheme {scheme}:// is not supported; {OTHER_SCHEMES[scheme]}")
    if not mark or scheme not in DEFAULT_PORTS:
        raise RedisAddressError(f"is not a Redis address; {HOW}")
    if not url.isprintable():
        raise RedisAddressError(
            "holds a line break or an invisible character; take it away, or percent-encode it"
        )
    return scheme, rest


def _parts(before_options: str, scheme: str) -> list[str]:
    if scheme != "sentinel":
        return [before_options]
    first, *others = re.split(r";(?:sentinel://)?", before_options, flags=re.IGNORECASE)
    if "@" not in first and any("@" in each for each in others):
        raise RedisAddressError(
            f"user name and password belong before the first sentinel; {ENCODE}"
        )
    return [first, *others]


def _node(text: str, default_port: int) -> tuple[Login | None, Server, int | None]:
    login, at, place = text.rpartition("@")
    if re.search("[,;]", place):
        raise RedisAddressError(
            "names several hosts; write one, or sentinel://HOST:PORT;HOST2:PORT/DB for sentinels"
        )
    found = re.fullmatch(r"(\[[^\]]*\]|[^:/]*)(?::([^:/]*))?(?:/([^/]*)/?)?", place)
    if not found:
        raise RedisAddressError(
            f"is not a Redis address; {HOW}, an IPv6 host in brackets: [::1]:6379"
        )
    host, port, db = found.groups()
    return (
        _login_in(login) if at else None,
        Server(_host(host), default_port if port is None else _port(port)),
        _number(db, "the database in the path") if db else None,
    )


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise RedisAddressError("the host in brackets is no IPv6 address; correct it") from None
    if not text:
        raise RedisAddressError(f"names no host; {HOW}")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", text):
        raise RedisAddressError("the host holds a character that no host name has; correct it")
    return text


def _port(text: str) -> int:
    try:
        return whole_number(text, 1, 65535)
    except ValueError as error:
        raise RedisAddressError(f"the port {error}; correct it") from None


def _number(text: str, name: str) -> int:
    try:
        return database(text)
    except ValueError as error:
        raise RedisAddressError(f"{name} {error}; correct it") from None


def _login_in(text: str) -> Login:
    username, _, password = text.partition(":")
    return Login(
        decoded(username, "the user name") or None, decoded(password, "the password") or None
    )


def _login(logins: list[Login | None]) -> Login:
    given = {login for login in logins if login is not None}
    if len(given) > 1:
        raise RedisAddressError(
            "the sentinels carry different logins; write user name and password before the first"
        )
    return given.pop() if given else Login()


def _database(in_paths: list[int | None], in_query: int | None) -> int:
    given = {db for db in (*in_paths, in_query) if db is not None}
    if len(given) > 1:
        raise RedisAddressError(
            "names two databases (in the path, or by the option db); keep one of them"
        )
    return given.pop() if given else 0


def _tls(given: dict[str, Any]) -> Tls:
    tls = Tls(
        ca_certs=given.get("ssl_ca_certs"),
        certfile=given.get("ssl_certfile"),
        keyfile=given.get("ssl_keyfile"),
        password=given.get("ssl_password"),
        verifies=given.get("ssl_cert_reqs", True),
        checks_name=given.get("ssl_check_hostname", given.get("ssl_cert_reqs", True)),
    )
    if tls.checks_name and not tls.verifies:
        raise RedisAddressError(
            "the options ssl_cert_reqs=none and ssl_check_hostname=true contradict; "
            "keep one of them"
        )
    for name in ("keyfile", "password"):
        if getattr(tls, name) and not tls.certfile:
            raise RedisAddressError(
                f"the option ssl_{name} needs ssl_certfile; give both, or take it away"
            )
    return tls


def _sentinels(given: dict[str, Any]) -> Sentinels:
    return Sentinels(
        master_name=given.get("master_name", DEFAULT_MASTER),
        login=Login(given.get("sentinel_username"), given.get("sentinel_password")),
        tls=_tls(given) if given.get("ssl") and given.get("sentinel_ssl", True) else None,
    )
