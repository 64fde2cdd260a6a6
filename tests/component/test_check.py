"""`check`: is the key right, does the list exist, is it the other region? – with two sandboxes as the two regions."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from tests.raw_mailguns import RawMailgun, answer, said
from tests.sandboxes import RunningSandbox
from tests.servers import free_port
from worker.cli.check import OTHER_REGION, mailgun_finding
from worker.environment.addresses import EU_REGION, US_REGION
from worker.mailgun.client import MailgunClient
from worker.ops.redis_check.result import CheckResult

LIST = "newsletter@mg.example.com"
KEY = "sandbox-key"
PAGE = b"<html>\r\n<h1>Bad Gateway</h1>\n squid at proxy.lan\n</html>\n"


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[RunningSandbox, RunningSandbox]]:
    with RunningSandbox() as here, RunningSandbox() as there:
        yield here, there


@pytest.fixture
def regions(
    running: tuple[RunningSandbox, RunningSandbox],
) -> tuple[RunningSandbox, RunningSandbox]:
    """The region that is set, and the other one; the key and the list are known to both."""
    for each in running:
        each.control.reset()
    return running


def asking(base_url: str, key: str = KEY) -> MailgunClient:
    return MailgunClient(
        base_url=base_url,
        key=SecretStr(key),
        list_address=LIST,
        connect_timeout=5,
        read_timeout=5,
    )


def found(regions: tuple[RunningSandbox, RunningSandbox], key: str = KEY) -> CheckResult:
    here, there = regions
    return mailgun_finding(
        asking(here.base_url, key), here.base_url, asking(there.base_url, key), there.base_url
    )


def test_known_key_and_list_are_ok(
    regions: tuple[RunningSandbox, RunningSandbox],
) -> None:
    finding = found(regions)
    assert finding.ok
    assert "0 members" in finding.found
    assert regions[1].control.requests() == []


def test_a_list_of_the_other_region_is_found_there(
    regions: tuple[RunningSandbox, RunningSandbox],
) -> None:
    regions[0].control.remove_list(LIST)
    finding = found(regions)
    assert "other region" in finding.found
    assert finding.fix == f"Set MAILGUN_API_BASE_URL={regions[1].base_url}"


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_of_the_other_region_is_found_there(
    regions: tuple[RunningSandbox, RunningSandbox], status: int
) -> None:
    regions[0].control.switches(bad_key_status=status)
    regions[0].control.set_key("another")
    finding = found(regions)
    assert str(status) in finding.found
    assert finding.fix == f"Set MAILGUN_API_BASE_URL={regions[1].base_url}"


def test_list_missing_in_both_regions_is_to_be_created(
    regions: tuple[RunningSandbox, RunningSandbox],
) -> None:
    for each in regions:
        each.control.remove_list(LIST)
    finding = found(regions)
    assert "404" in finding.found
    assert "Create the mailing list in Mailgun first" in finding.fix


def test_key_unknown_in_both_regions_is_to_be_confirmed(
    regions: tuple[RunningSandbox, RunningSandbox],
) -> None:
    finding = found(regions, key="wrong-key")
    assert "401" in finding.found
    assert "MAILGUN_API_KEY" in finding.fix
    assert "wrong-key" not in finding.found + finding.fix


FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "429": ({"kind": "status", "status": 429}, "slow down"),
    "503": ({"kind": "status", "status": 503}, "unavailable"),
    "html": ({"kind": "html_502"}, "unavailable"),
    "magnificent": ({"kind": "magnificent"}, "MAILGUN_API_BASE_URL"),
    "odd": ({"kind": "status", "status": 418}, "MAILGUN_API_BASE_URL"),
    "redirect": ({"kind": "status", "status": 302}, "MAILGUN_API_BASE_URL"),
    "reset": ({"kind": "reset"}, "network"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unexpected_answer_is_not_ok_and_has_a_fix(
    regions: tuple[RunningSandbox, RunningSandbox], fault: str
) -> None:
    options, word = FAULTS[fault]
    regions[0].control.add_fault(**options)  # type: ignore[arg-type]
    finding = found(regions)
    assert not finding.ok
    assert word in finding.fix


ANSWERS = {
    "a proxy's page": (
        answer(PAGE, "502 Bad Gateway"),
        "502 <html> <h1>Bad Gateway</h1> squid at proxy.lan </html>",
    ),
    "a captive portal": (
        answer(b"<a href='http://login.lan/'>Log in</a>"),
        "200 <a href='http://login.lan/'>Log in</a>",
    ),
    "JSON": (answer(b'{"message": "domain is disabled"}', "420 X"), "420 domain is disabled"),
    "an echo": (
        answer(b"You sent Authorization: Basic YXBpOnNhbmRib3gta2V5", "400 X"),
        "400 You sent Authorization: ***",
    ),
    "the key": (answer(b"sandbox-key is blocked", "403 X"), "403 *** is blocked"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_of_a_foreign_server_is_reported_without_the_key(name: str) -> None:
    said_bytes, told = ANSWERS[name]
    with RawMailgun(said(said_bytes)) as far:
        finding = mailgun_finding(asking(far.url), far.url)
    assert not finding.ok
    assert finding.found == f"{far.url}: {told}"


def test_a_long_answer_is_cut() -> None:
    with RawMailgun(said(answer(b"<p>" + b"long " * 100_000, "503 X"))) as far:
        assert len(mailgun_finding(asking(far.url), far.url).found) < 600


def test_refused_connection_is_reported_with_the_address() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    unreachable = MailgunClient(
        base_url=url, key=SecretStr(KEY), list_address=LIST, connect_timeout=1, read_timeout=1
    )
    finding = mailgun_finding(unreachable, url)
    assert not finding.ok
    assert url in finding.found


def test_check_changes_nothing(regions: tuple[RunningSandbox, RunningSandbox]) -> None:
    regions[0].control.remove_list(LIST)
    found(regions)
    asked = [*regions[0].control.requests(), *regions[1].control.requests()]
    assert {each.method for each in asked} == {"GET"}


def test_other_region_is_eu_for_us_and_us_for_eu() -> None:
    assert {US_REGION: EU_REGION, EU_REGION: US_REGION} == OTHER_REGION
