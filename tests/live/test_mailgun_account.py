"""A real Mailgun account, asked what `signal-mailgun check --probe` asks. Opt-in:

    MAILGUN_LIVE_API_KEY=… MAILGUN_LIVE_LIST_ADDRESS=list@mg.example.com .venv/bin/python -m pytest tests/live -s

MAILGUN_LIVE_API_BASE_URL names the other region. Take a list of its own. About eighty requests; one throw-away member,
signal-mailgun-throw-away@ the list's domain, is made and deleted again. What is found is printed (`-s`).
"""

import os
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from worker.mailgun.client import MailgunClient
from worker.mailgun.outcome import list_exists
from worker.ops.account_probe.probe_member import ProbeMember
from worker.ops.account_probe.questions import BOTH, MERGE, QUESTIONS, Question
from worker.ops.account_probe.runner import ProbeReport, run_probe

KEY = os.environ.get("MAILGUN_LIVE_API_KEY", "")
LIST = os.environ.get("MAILGUN_LIVE_LIST_ADDRESS", "")
BASE_URL = os.environ.get("MAILGUN_LIVE_API_BASE_URL", "https://api.mailgun.net").rstrip("/")
RELIED_ON = [question for question in QUESTIONS if question.relied_on in {MERGE, BOTH}]

pytestmark = pytest.mark.skipif(
    not (KEY and LIST),
    reason="set MAILGUN_LIVE_API_KEY and MAILGUN_LIVE_LIST_ADDRESS to ask a real Mailgun account",
)


@pytest.fixture(scope="module")
def mailgun() -> MailgunClient:
    return MailgunClient(
        base_url=BASE_URL, key=SecretStr(KEY), list_address=LIST, connect_timeout=5, read_timeout=30
    )


@pytest.fixture(scope="module")
def probe_member(mailgun: MailgunClient) -> Iterator[ProbeMember]:
    assert list_exists(mailgun.read_list()), (
        "the key is wrong, or the list is not there, or in the other region"
    )
    it = ProbeMember(mailgun)
    yield it
    assert it.clean(), f"{it.address} is still on the list: delete it in Mailgun"


@pytest.fixture(scope="module")
def result(probe_member: ProbeMember) -> ProbeReport:
    return run_probe(probe_member, "merge")


def test_account_probe_ends_and_leaves_nothing_behind(
    result: ProbeReport, probe_member: ProbeMember
) -> None:
    assert result.trouble is None
    assert result.gone
    assert probe_member.read() is None


@pytest.mark.parametrize("question", RELIED_ON, ids=lambda question: question.tried)
def test_mailgun_behaves_as_the_worker_assumes(result: ProbeReport, question: Question) -> None:
    found = {finding.tried: finding.found for finding in result.findings}
    assert found[question.tried] == question.assumed


def test_findings_of_the_account_probe_are_printed(result: ProbeReport) -> None:
    for finding in result.findings:
        print(  # noqa: T201
            f"{finding.tried}: assumed {finding.assumed}, found {finding.found}, "
            f"to set: {finding.to_set}"
        )
    assert len(result.findings) == len(QUESTIONS)
