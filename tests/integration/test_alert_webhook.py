"""Alerts of real workers at a real webhook: once for all workers, never in delivery's way, never its path in a log."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.integration.bench import Bench, identified
from tests.servers import eventually, free_port
from tests.webhooks import RecordingWebhook
from tests.workers import RunningWorker

SECRET = "SECRET"


@pytest.fixture
def far() -> Iterator[RecordingWebhook]:
    with RecordingWebhook() as running:
        yield running


def sent_by(workers: list[RunningWorker]) -> int:
    return sum(each.printed().count("an alert was sent") for each in workers)


def test_two_workers_tell_an_incident_and_a_pause_once(own: Bench, far: RecordingWebhook) -> None:
    own.sandbox.control.set_key("another")
    settings = {
        "ALERT_WEBHOOK_URL": far.url,
        "INCIDENT_THRESHOLD": "3",
        "INCIDENT_PROBE_SECONDS": "600",
        "LOG_LEVEL": "debug",
    }
    with ExitStack() as stack:
        workers = [stack.enter_context(own.working(**settings)) for _ in range(2)]
        own.put(*(identified(f"m{number}@example.com") for number in range(20)))
        began = [("hold_began", "incident")]
        eventually(lambda: began[0] in far.events(), what="the incident")
        assert own.run("pause").status == 0
        eventually(lambda: ("hold_began", "paused") in far.events(), what="the pause")
        own.run("resume")
        eventually(lambda: ("hold_ended", "paused") in far.events(), what="its end")
        # A worker logs that it sent an alert after the answer.
        eventually(lambda: sent_by(workers) >= 3, what="three alerts in the log")
        printed = "".join(each.printed() for each in workers)
    holds = [event for event in far.events() if event[1] != "dead_letters"]
    assert holds == [*began, ("hold_began", "paused"), ("hold_ended", "paused")]
    [incident] = [each for each in far.messages() if each["kind"] == "incident"]
    assert "Confirm the key" in incident["fix"]
    assert incident["integration"] == own.integration
    assert "example.com" not in str(far.messages()).replace("newsletter@mg.example.com", "")
    assert SECRET not in printed
    assert SECRET not in own.run("status").everything


def test_webhook_that_hangs_keeps_no_event_waiting(own: Bench, far: RecordingWebhook) -> None:
    far.status = None
    own.sandbox.control.add_fault("status", status=503, address="again@example.com", count=1)
    with own.working(ALERT_WEBHOOK_URL=far.url) as worker:
        own.run("pause")
        eventually(lambda: far.received, what="an alert that hangs")
        own.run("resume")
        own.put(*(identified(f"m{number}@example.com") for number in range(50)))
        # Its second try needs housekeeping.
        own.put(identified("again@example.com"))
        own.ended(within=30)
        assert own.delivered() == 51
        assert "an alert" not in worker.printed(), "the webhook has not answered yet"


def test_alert_that_cannot_be_sent_is_one_line_with_the_host_alone(
    own: Bench, far: RecordingWebhook
) -> None:
    far.status = 404
    with own.working(ALERT_WEBHOOK_URL=far.url, LOG_LEVEL="debug") as worker:
        own.run("pause")
        eventually(lambda: "an alert could not be sent" in worker.printed(), what="a line")
        printed = worker.printed()
    [line] = [each for each in printed.splitlines() if "could not be sent" in each]
    assert far.host in line
    assert "it answered 404" in line
    assert SECRET not in printed
    assert "Traceback" not in printed


def test_check_tells_whether_the_webhook_can_be_reached(own: Bench, far: RecordingWebhook) -> None:
    printed = own.run("check", ALERT_WEBHOOK_URL=far.url)
    assert (printed.status, f"Alert webhook: {far.host} can be reached" in printed.out) == (0, True)
    assert far.messages() == []
    gone = f"http://127.0.0.1:{free_port()}/{SECRET}"
    printed = own.run("check", ALERT_WEBHOOK_URL=gone)
    assert "! Alert webhook: 127.0.0.1:" in printed.out
    assert printed.status == 0, "workers deliver without it"
    assert SECRET not in printed.everything
    assert "Alert webhook" not in own.run("check").out


def test_check_alert_sends_a_test_message_and_tells_if_it_is_refused(
    own: Bench, far: RecordingWebhook
) -> None:
    printed = own.run("check", "--alert", ALERT_WEBHOOK_URL=far.url)
    assert (printed.status, f"{far.host} took the test message" in printed.out) == (0, True)
    [sent] = far.messages()
    assert (sent["event"], sent["integration"]) == ("test", own.integration)
    far.status = 403
    printed = own.run("check", "--alert", ALERT_WEBHOOK_URL=far.url)
    assert (printed.status, "it answered 403" in printed.out) == (1, True)
    assert SECRET not in printed.everything
    assert own.run("check", "--alert", "--probe", ALERT_WEBHOOK_URL=far.url).status == 2
    unset = own.run("check", "--alert")
    assert (unset.status, unset.err.count("\n")) == (1, 1)
    assert "ALERT_WEBHOOK_URL is not set" in unset.err
