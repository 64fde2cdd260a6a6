"""Who may change queues in Flower, and who may see events there."""

from base64 import b64encode
from types import SimpleNamespace
from typing import Any

import pytest

from worker.dashboard.pages.access import user_named, why_not_change, why_not_see_events

LOGIN = {"basic_auth": ["ops:secret"]}


def options(**given: Any) -> SimpleNamespace:
    """Flower's options, which by default have no login and listen everywhere."""
    default = {
        "basic_auth": None,
        "auth": "",
        "unix_socket": "",
        "address": "",
        "read_only": False,
    }
    return SimpleNamespace(**{**default, **given})


@pytest.mark.parametrize("address", ["", "0.0.0.0", "192.0.2.1", "::"])  # noqa: S104
def test_flower_without_login_on_other_addresses_shows_and_changes_nothing(address: str) -> None:
    assert "FLOWER_BASIC_AUTH" in why_not_change(options(address=address))
    assert "FLOWER_BASIC_AUTH" in why_not_see_events(options(address=address), "all", "")


@pytest.mark.parametrize(
    "given",
    [
        LOGIN,
        {"auth": ".*@example.com"},
        {"address": "127.0.0.1"},
        {"address": "::1"},
        {"address": "localhost"},
        {"unix_socket": "/run/flower"},
    ],
)
def test_login_or_loopback_allows_changes_and_events(given: dict[str, Any]) -> None:
    assert why_not_change(options(**given)) == ""
    assert why_not_see_events(options(**given), "all", "") == ""


def test_read_only_flower_changes_nothing_and_shows_events() -> None:
    assert "read-only" in why_not_change(options(**LOGIN, read_only=True))
    assert why_not_see_events(options(**LOGIN, read_only=True), "all", "ops") == ""


@pytest.mark.parametrize(
    ("viewers", "user", "may"),
    [
        ("all", "eve", True),
        ("all", "", True),
        ("none", "eve", False),
        ("none", "", False),
        ("none", "none", False),
        ("ops, jane@example.com", "jane@example.com", True),
        ("ops,jane@example.com", "ops", True),
        ("ops,jane@example.com", "eve", False),
        ("ops", "", False),
        ("ops,", "", False),
        ("all,ops", "eve", False),
    ],
)
def test_event_viewers_are_all_none_or_those_named(viewers: str, user: str, *, may: bool) -> None:
    assert (why_not_see_events(options(**LOGIN), viewers, user) == "") is may


@pytest.mark.parametrize(
    ("current", "header", "user"),
    [
        ("jane@example.com", "", "jane@example.com"),
        (True, f"Basic {b64encode(b'ops:se:cret').decode()}", "ops"),
        (True, "", ""),
        (True, "Basic !", ""),
        (True, f"Basic {b64encode(bytes([255])).decode()}", ""),
        (True, "Bearer ops", ""),
    ],
)
def test_user_is_the_oauth_address_or_the_name_of_the_login(
    current: Any, header: str, user: str
) -> None:
    assert user_named(options(**LOGIN), current, header) == user


def test_name_that_flower_does_not_check_is_no_login() -> None:
    header = f"Basic {b64encode(b'ops:anything').decode()}"
    without_login = options(address="127.0.0.1")
    assert user_named(without_login, current_user=True, authorization=header) == ""
