"""What REDIS_URL says, and what it may not say: each refusal names the part or option and holds no secret."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.redis_client.address import (
    DEFAULT_MASTER,
    Login,
    RedisAddress,
    Sentinels,
    Server,
    Tls,
    redis_address,
)
from worker.redis_client.address_text import RedisAddressError
from worker.redis_client.options import OPTIONS

DOCS = Path(__file__).parents[2] / "docs/redis.md"
SECRET = "s3cret"
HOST = (Server("h", 6379),)


def refusal(url: str) -> str:
    """Why the address is refused: one line without the secret."""
    with pytest.raises(RedisAddressError) as caught:
        redis_address(url)
    told = str(caught.value)
    assert told.isprintable()
    assert SECRET not in told
    return told


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", RedisAddress("redis", HOST)),
        ("redis://h:6380/", RedisAddress("redis", (Server("h", 6380),))),
        ("redis://h/3", RedisAddress("redis", HOST, db=3)),
        ("redis://h/3/", RedisAddress("redis", HOST, db=3)),
        ("redis://h?db=3", RedisAddress("redis", HOST, db=3)),
        ("redis://h/3?db=3", RedisAddress("redis", HOST, db=3)),
        ("redis://h/?db=03", RedisAddress("redis", HOST, db=3)),
        ("  REDIS://h/3\r\n", RedisAddress("redis", HOST, db=3)),
        (
            "redis://redis_1.example-a.com.",
            RedisAddress("redis", (Server("redis_1.example-a.com.", 6379),)),
        ),
        ("redis://[::1]", RedisAddress("redis", (Server("::1", 6379),))),
        ("redis://[2001:DB8::1]:7/1", RedisAddress("redis", (Server("2001:db8::1", 7),), db=1)),
        ("redis://user:pw@h", RedisAddress("redis", HOST, login=Login("user", "pw"))),
        ("redis://:pw@h", RedisAddress("redis", HOST, login=Login(None, "pw"))),
        ("redis://user@h", RedisAddress("redis", HOST, login=Login("user", None))),
        ("redis://user:@h", RedisAddress("redis", HOST, login=Login("user", None))),
        ("redis://:@h", RedisAddress("redis", HOST)),
        ("redis://@h", RedisAddress("redis", HOST)),
        ("redis://h?", RedisAddress("redis", HOST)),
        ("redis://h?&", RedisAddress("redis", HOST)),
        (
            "redis://h?socket_timeout=5&socket_connect_timeout=0.5&health_check_interval=0&protocol=3&client_name=a%26b",
            RedisAddress(
                "redis",
                HOST,
                connection={
                    "socket_timeout": 5.0,
                    "socket_connect_timeout": 0.5,
                    "health_check_interval": 0,
                    "protocol": 3,
                    "client_name": "a&b",
                },
            ),
        ),
        ("rediss://h", RedisAddress("rediss", HOST, tls=Tls())),
        (
            "rediss://h?ssl_ca_certs=/ca+1.pem&ssl_certfile=c%20d.pem&ssl_keyfile=k&ssl_password=p%40w",
            RedisAddress("rediss", HOST, tls=Tls("/ca+1.pem", "c d.pem", "k", "p@w")),
        ),
        (
            "rediss://h?ssl_check_hostname=no",
            RedisAddress("rediss", HOST, tls=Tls(checks_name=False)),
        ),
        ("sentinel://h", RedisAddress("sentinel", (Server("h", 26379),), sentinels=Sentinels())),
        (
            "sentinel://user:pw@a:1;b;SENTINEL://[::1]:3/2?master_name=signal&sentinel_username=u&sentinel_password=a+b",
            RedisAddress(
                "sentinel",
                (Server("a", 1), Server("b", 26379), Server("::1", 3)),
                db=2,
                login=Login("user", "pw"),
                sentinels=Sentinels("signal", Login("u", "a+b")),
            ),
        ),
        (
            "sentinel://:pw@a/2;sentinel://:pw@b/2",
            RedisAddress(
                "sentinel",
                (Server("a", 26379), Server("b", 26379)),
                db=2,
                login=Login(None, "pw"),
                sentinels=Sentinels(),
            ),
        ),
        (
            "sentinel://h?ssl=true&ssl_ca_certs=ca",
            RedisAddress(
                "sentinel",
                (Server("h", 26379),),
                tls=Tls("ca"),
                sentinels=Sentinels(DEFAULT_MASTER, tls=Tls("ca")),
            ),
        ),
        (
            "sentinel://h?ssl=true&sentinel_ssl=false",
            RedisAddress("sentinel", (Server("h", 26379),), tls=Tls(), sentinels=Sentinels()),
        ),
    ],
)
def test_an_address_is_read(url: str, address: RedisAddress) -> None:
    assert redis_address(url) == address


@pytest.mark.parametrize(
    "word", ["required", "REQUIRED", "CERT_REQUIRED", "cert_required", "optional", "CERT_OPTIONAL"]
)
def test_every_spelling_of_required_verifies(word: str) -> None:
    assert redis_address(f"rediss://h?ssl_cert_reqs={word}").tls == Tls()


@pytest.mark.parametrize("word", ["none", "None", "CERT_NONE", "cert_none"])
def test_every_spelling_of_none_verifies_nothing(word: str) -> None:
    assert redis_address(f"rediss://h?ssl_cert_reqs={word}").tls == Tls(
        verifies=False, checks_name=False
    )


@pytest.mark.parametrize(
    "raw", ["#", "/", "@", ":", ";", ",", "[", "]", " ", "&", "=", "+", "ä", '"', "'", "\\"]
)
def test_password_may_contain_a_raw_special_character(raw: str) -> None:
    assert redis_address(f"redis://user:a{raw}b@h:1/2").login == Login("user", f"a{raw}b")


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_password_can_be_written_with_escapes(username: str, password: str) -> None:
    def escaped(text: str) -> str:
        return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))

    try:
        found = redis_address(
            f"sentinel://{escaped(username)}:{escaped(password)}@a;b/1?sentinel_password={escaped(password)}"
        )
    except RedisAddressError:
        assert not (username + password).isascii()  # half a surrogate pair is no text
        return
    assert found.login == Login(username, password)
    assert found.sentinels == Sentinels(login=Login(None, password))


NO_ADDRESS = "is not a Redis address"
REFUSED = {
    "": NO_ADDRESS,
    "h": NO_ADDRESS,
    "h:6379": NO_ADDRESS,
    "redis:": NO_ADDRESS,
    "redis:/h": NO_ADDRESS,
    f"http://:{SECRET}@h": NO_ADDRESS,
    f"{SECRET}://h": NO_ADDRESS,
    f'"redis://:{SECRET}@h"': NO_ADDRESS,
    "﻿redis://h": NO_ADDRESS,
    "redis://h//1": NO_ADDRESS,
    "redis://h/1/2": NO_ADDRESS,
    "redis://[::1": NO_ADDRESS,
    "redis://::1:6379": "an IPv6 host in brackets",
    "redis://[1.2.3.4]": "the host in brackets is no IPv6 address",
    f"redis://[{SECRET}]": "the host in brackets is no IPv6 address",
    "redis://": "names no host",
    "redis:///0": "names no host",
    f"redis://:{SECRET}@": "names no host",
    "redis://:6379": "names no host",
    f"redis://:{SECRET}@h st": "the host holds a character",
    f"redis://:{SECRET}@hé": "the host holds a character",
    "redis://h%41": "the host holds a character",
    f"redis://:{SECRET}@h\u200b": "invisible character",
    f"redis://:{SECRET}\n@h": "line break",
    "redis://h:0": "the port must be a whole number from 1 to 65535",
    "redis://h:65536": "the port must be",
    "redis://h:-1": "the port must be",
    "redis://h:": "the port must be",
    "redis://h:６３７９": "the port must be",
    f"redis://h:{SECRET}": "the port must be",
    "redis://h/-1": "the database in the path must be a whole number from 0",
    "redis://h/x": "the database in the path must be",
    "redis://h/1.0": "the database in the path must be",
    "redis://h/99999999999": "the database in the path must be",
    "redis://h/１": "the database in the path must be",
    f"redis://h/0#{SECRET}": "the database in the path must be",
    "redis://h/1?db=2": "names two databases",
    "sentinel://a/1;b/2": "names two databases",
    f"redis://:a?{SECRET}@h/0": "percent-encode ? as %3F",
    f"redis://:{SECRET}@h?client_name=a@b": "percent-encode",
    f"redis://:{SECRET}@h/0?db=0#x": "percent-encode",
    f"redis://:{SECRET}%@h": "the password holds a % that begins no UTF-8 escape; write a % itself as %25",
    f"redis://{SECRET}%zz:pw@h": "the user name holds a %",
    f"redis://:{SECRET}%ff@h": "the password holds a %",
    "redis://h?client_name=%": "the option client_name holds a %",
    "redis://a:1;b:2/0": "names several hosts",
    "redis://a,b": "names several hosts",
    f"redis://:{SECRET}@a:1;redis://b:2/0": "names several hosts",
    "sentinel://a,b": "names several hosts",
    "sentinel://a;": "names no host",
    f"sentinel://:a;{SECRET}@b": "percent-encode",
    f"sentinel://a;:{SECRET}@b": "belong before the first sentinel",
    f"sentinel://:x@a;:{SECRET}@b": "different logins",
    "valkey://h": "the scheme valkey:// is not supported; write redis://",
    "VALKEYS://h": "the scheme valkeys:// is not supported; write rediss://",
    f"unix://:{SECRET}@/run/redis.sock": "the scheme unix:// is not supported; let Redis listen on TCP",
    "redis+socket:///run/redis.sock": "the scheme redis+socket:// is not supported",
    "rediss+sentinel://h": "the scheme rediss+sentinel:// is not supported; write sentinel://…?ssl=true",
    "redis://h?socket_timeout=1&socket_timeout=1": "the option socket_timeout is given twice",
    "redis://h?db": "the option db has no value",
    "redis://h?db=": "the option db has no value",
    f"redis://h?{SECRET}%20x=1": "the option with that name is not supported",
    "redis://h?max_connections=5": "the option max_connections is not supported; take it away, docs/redis.md",
    "redis://h?sockettimeout=5": "the option sockettimeout is not supported; did you mean socket_timeout?",
    "redis://h?DB=5": "the option DB is not supported; did you mean db?",
    f"redis://h?password={SECRET}": "the option password is not supported; write user name and password before the host",
    **{
        f"redis://h?socket_timeout={text}": "the option socket_timeout must be a number of seconds above 0, at most 60"
        for text in (
            "0",
            "0.0",
            "-1",
            "nan",
            "inf",
            "Infinity",
            "1e1",
            "five",
            "61",
            "1_0",
            "%201",
            "５",
            SECRET,
        )
    },
    "redis://h?socket_connect_timeout=0": "the option socket_connect_timeout must be",
    "redis://h?health_check_interval=1.5": "the option health_check_interval must be a whole number from 0 to 3600",
    "redis://h?health_check_interval=-1": "the option health_check_interval must be",
    "redis://h?protocol=1": "the option protocol must be 2 or 3",
    "redis://h?protocol=3.0": "the option protocol must be 2 or 3",
    "redis://h?client_name=a%20b": "the option client_name must be ASCII without blanks",
    "redis://h?db=-1": "the option db must be a whole number from 0",
    "redis://h?ssl=true": "the option ssl is for sentinel:// only; rediss:// is TLS",
    "rediss://h?ssl=false": "the option ssl is for sentinel:// only; rediss:// is TLS",
    **{
        f"{url}{name}=true": f"the option {name} needs TLS; {instead}"
        for name, option in OPTIONS.items()
        if option.scope == "tls" and name != "ssl_cert_reqs"
        for url, instead in (("redis://h?", "write rediss://"), ("sentinel://h?", "add ssl=true"))
    },
    "redis://h?ssl_cert_reqs=none": "the option ssl_cert_reqs needs TLS",
    "sentinel://h?ssl=false&ssl_ca_certs=x": "the option ssl_ca_certs needs TLS",
    "sentinel://h?sentinel_ssl=true": "the option sentinel_ssl needs TLS; add ssl=true",
    "redis://h?master_name=x": "the option master_name is for sentinel:// only",
    f"rediss://h?sentinel_password={SECRET}": "the option sentinel_password is for sentinel:// only",
    "sentinel://h?ssl=maybe": "the option ssl must be true or false",
    "rediss://h?ssl_cert_reqs=maybe": "the option ssl_cert_reqs must be required or none",
    "rediss://h?ssl_cert_reqs=false": "the option ssl_cert_reqs must be required or none",
    "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=true": "ssl_cert_reqs=none and ssl_check_hostname=true contradict",
    "rediss://h?ssl_keyfile=k": "the option ssl_keyfile needs ssl_certfile",
    f"rediss://h?ssl_password={SECRET}": "the option ssl_password needs ssl_certfile",
    "rediss://h?ssl_ca_certs=a%00b": "the option ssl_ca_certs must be the path of a file",
}


@pytest.mark.parametrize("url", REFUSED)
def test_invalid_redis_url_is_refused_in_one_line(url: str) -> None:
    assert REFUSED[url] in refusal(url)


def test_repr_and_place_contain_no_secret() -> None:
    url = f"sentinel://{SECRET}:{SECRET}@a;b:7/1?sentinel_username={SECRET}&sentinel_password={SECRET}&ssl=yes"
    found = redis_address(f"{url}&ssl_certfile=c&ssl_password={SECRET}")
    assert (
        SECRET
        not in f"{found!r} {found} {found.place} {found.first_place} {found.sentinels!r} {found.tls!r} {found.login!r}"
    )
    assert found.place == "sentinel://a:26379;b:7/1"
    assert found.first_place == "sentinel://a:26379/1"


def test_an_ipv6_place_is_an_address_again() -> None:
    assert redis_address(redis_address("rediss://[::1]").place) == redis_address("rediss://[::1]")


def test_the_documented_options_are_those_that_there_are() -> None:
    rows = re.findall(
        r"^\| `([a-z_]+)` \| ([a-z:/]+) \| (.+?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    where = {"any": "all", "tls": "TLS", "sentinel": "sentinel://"}
    assert {name: (scope, meaning) for name, scope, meaning in rows} == {
        name: (where[option.scope].lower(), option.meaning) for name, option in OPTIONS.items()
    }
