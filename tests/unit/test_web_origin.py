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
def test_host_name_that_public_dns_could_point_here_is_not_safe(host: str) -> None:
    assert not is_safe_host(host)
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [*ADDRESSES, *LOOPBACK, "sandbox:8025", "flower.ops.internal", "box.local", "nas.home.arpa"],
)
def test_ip_address_and_name_outside_public_dns_are_safe(host: str) -> None:
    assert is_safe_host(host)
    assert is_loopback(host) == (host in LOOPBACK)


def test_allowed_host_name_is_safe_and_similar_ones_are_not() -> None:
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
def test_request_from_a_page_of_another_site_is_cross_site(headers: dict[str, str]) -> None:
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
def test_program_own_page_or_followed_link_is_not_cross_site(
    method: str, headers: dict[str, str]
) -> None:
    assert not is_from_elsewhere(method, {"Host": "localhost:5555", **headers})
