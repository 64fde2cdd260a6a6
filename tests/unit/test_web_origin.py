"""Whose page a request comes from, and under which name this machine was asked."""

import pytest

from worker.web_origin import is_from_elsewhere, is_loopback, is_safe_host

STRANGE = (
    "evil.example",
    "evil.example:5555",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example.",
    "evil.localhost.example",
    "127.0.0.1.nip.io",
    "1.0.0.127.in-addr.arpa",
    "",
    "[",
    "[::1",
    "localhost@evil.example",
    "evil.example@localhost",
    "localhost/evil.example",
    "localhost evil",
    "localhost:x",
)
ADDRESSES = ("10.0.0.7:5555", "192.168.1.4", "[fd00::1]:5555")
LOOPBACK = ("localhost", "LOCALHOST:99", "localhost.", "127.0.0.1", "127.8.8.8:1", "[::1]:80")


@pytest.mark.parametrize("host", STRANGE)
def test_a_name_that_public_dns_could_point_here_is_not_safe(host: str) -> None:
    assert not is_safe_host(host)
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [*ADDRESSES, *LOOPBACK, "sandbox:8025", "flower.ops.internal", "box.local", "nas.home.arpa"],
)
def test_an_address_and_a_name_that_public_dns_does_not_know_are_safe(host: str) -> None:
    assert is_safe_host(host)
    assert is_loopback(host) == (host in LOOPBACK)


def test_an_allowed_name_is_safe_and_no_other_like_it() -> None:
    assert is_safe_host("Flower.Example.com:443", ["flower.example.COM"])
    assert not is_safe_host("x.flower.example.com", ["flower.example.com"])
    assert not is_safe_host("", [""])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_what_a_page_of_another_site_sends_is_from_elsewhere(headers: dict[str, str]) -> None:
    assert is_from_elsewhere("POST", {"Host": "localhost:5555", **headers})


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {}),
        ("POST", {"Origin": "http://localhost:5555"}),
        ("POST", {"Origin": "https://LOCALHOST:5555"}),
        ("POST", {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"}),
        ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
    ],
)
def test_programs_own_pages_and_followed_links_are_not_from_elsewhere(
    method: str, headers: dict[str, str]
) -> None:
    assert not is_from_elsewhere(method, {"Host": "localhost:5555", **headers})
