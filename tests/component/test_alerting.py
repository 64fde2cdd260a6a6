"""Alerts of an integration on a real server: several workers look, one sends, and none is lost."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import SecretStr

from tests.integrations import OwnIntegration, hold_for_incident, looked
from tests.servers import RedisServer
from tests.webhooks import RecordingWebhook
from worker.delivery.outcome_stats import OutcomeStats
from worker.mailgun.outcome import OutcomeKind
from worker.monitoring import alerting as module
from worker.monitoring.alerting import Alerting, alerting_for, state_in
from worker.monitoring.alerts import PILE, SENDING_SECONDS
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetterQueue
from worker.queue.message import Message
from worker.redis_client.keys import Keys
from worker.settings import Settings

SECRET = "SECRET"
Working = Callable[[], Alerting]


@pytest.fixture
def far() -> Iterator[RecordingWebhook]:
    with RecordingWebhook() as running:
        yield running


@pytest.fixture
def worker(
    own: OwnIntegration,
    server: RedisServer,
    far: RecordingWebhook,
    monkeypatch: pytest.MonkeyPatch,
) -> Working:
    """The alerting of one more worker. Each look counts, however soon it comes."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)

    def made() -> Alerting:
        settings = Settings(
            _env_file=None,
            redis_url=server.url,
            signal_integration=own.name,
            alert_webhook_url=SecretStr(far.url),
        )
        found = alerting_for(settings, own.redis)
        assert found
        found._sleep = lambda _: None
        return found

    return made


def round_of(alerting: Alerting) -> None:
    alerting.send(alerting.look())


def bury(own: OwnIntegration, count: int) -> None:
    """Make so many dead letters, as a worker does, and count them."""
    queue, stats = (
        DeadLetterQueue(own.redis, own.name, own.queue),
        OutcomeStats(own.redis, own.name),
    )
    for number in range(count):
        message = Message(id=f"m-{number}", args=({},), kind="identify", enqueued_at=1.0)
        letter = dead_letter(
            DeadLetterReason.REJECTED,
            message,
            status=400,
            answer="no",
            died_at=2.0,
            integration=own.name,
        )
        queue.bury([(message, letter)])
        stats.count("dead letter: rejected")
    stats.store()


def moved_back(own: OwnIntegration, seconds: float, *fields: str) -> None:
    """Make so many seconds pass for these fields of the state."""
    key = Keys(own.name).alerts
    state = state_in(str(own.redis.get(key)))
    update: dict[str, Any] = {each: getattr(state, each) - seconds for each in fields}
    update["told"] = tuple(
        each.model_copy(update={"gone": each.gone - seconds}) if each.gone else each
        for each in state.told
    )
    own.redis.set(key, state.model_copy(update=update).model_dump_json())


def test_workers_that_look_at_the_same_moment_tell_a_pause_once(
    own: OwnIntegration, worker: Working, far: RecordingWebhook
) -> None:
    workers = [worker() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for act in (own.gate().pause, own.gate().resume):
            act()
            for _ in range(5):
                list(pool.map(round_of, workers))
    assert far.events() == [("hold_began", "paused"), ("hold_ended", "paused")]


def test_incident_is_told_with_its_cause_and_its_end_after_a_while(
    own: OwnIntegration, worker: Working, far: RecordingWebhook
) -> None:
    first, second = worker(), worker()
    hold_for_incident(own.gate())
    round_of(first)
    round_of(second)
    assert looked(own.gate(), OutcomeKind.UNCHANGED) == "over"
    round_of(second)
    assert far.events() == [("hold_began", "incident")]
    moved_back(own, 3600, "looked_at")
    round_of(first)
    assert far.events() == [("hold_began", "incident"), ("hold_ended", "incident")]
    assert "Wrong key" in far.messages()[0]["cause"]


def test_pause_during_an_incident_ends_alone_or_with_it(
    own: OwnIntegration, worker: Working, far: RecordingWebhook
) -> None:
    hold_for_incident(own.gate())
    own.gate().pause()
    round_of(worker())
    assert sorted(far.events()) == [("hold_began", "incident"), ("hold_began", "paused")]
    assert [each.kind for each in own.gate().holds()] == ["paused", "incident"]
    own.redis.hdel(Keys(own.name).hold, "paused")
    round_of(worker())
    assert far.messages()[2]["kind"] == "paused"
    assert "still on hold: incident" in far.messages()[2]["text"]


def test_alert_of_a_worker_that_died_is_sent_by_another_one(
    own: OwnIntegration, worker: Working, far: RecordingWebhook
) -> None:
    own.gate().pause()
    assert worker().look(), "it claims the alert, and dies"
    assert worker().look() is None
    moved_back(own, SENDING_SECONDS, "sending_until")
    round_of(worker())
    assert far.events() == [("hold_began", "paused")]
    round_of(worker())
    assert len(far.messages()) == 1


def test_dead_letters_that_pile_up_are_told_with_their_reasons(
    own: OwnIntegration, worker: Working, far: RecordingWebhook
) -> None:
    alerting = worker()
    round_of(alerting)
    bury(own, PILE)
    round_of(alerting)
    round_of(alerting)
    [sent] = far.messages()
    assert (sent["event"], sent["new_dead_letters"]) == ("dead_letters_began", {"rejected": PILE})
    assert sent["counts"]["dead_letters"] == PILE
    own.redis.delete(Keys(own.name).dead_letters, Keys(own.name).dead_letter_counts)
    round_of(alerting)
    assert far.events()[1:] == [("dead_letters_ended", "dead_letters")]


def test_alert_refused_for_good_or_too_often_is_one_line_in_the_log(
    own: OwnIntegration, worker: Working, far: RecordingWebhook, caplog: pytest.LogCaptureFixture
) -> None:
    own.gate().pause()
    for status, tries in ((500, 1 + len(module.WAITS)), (404, 1)):
        far.status = status
        far.received.clear()
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "signal_mailgun.alerts"):
            round_of(worker())
        assert len(far.received) == tries
        [record] = caplog.records
        assert (record.levelname, vars(record)["host"]) == ("ERROR", far.host)
        assert str(status) in vars(record)["why"]
        assert SECRET not in str(vars(record))
        own.gate().resume()
    far.status = 200
    far.received.clear()
    round_of(worker())
    assert far.events() == [], "what was given up is not sent later"


def test_alert_that_is_taken_at_the_second_try_is_sent(
    own: OwnIntegration, worker: Working, far: RecordingWebhook
) -> None:
    far.status = 503
    own.gate().pause()
    alerting = worker()
    alerting._sleep = lambda _: setattr(far, "status", 200)
    round_of(alerting)
    assert far.events() == [("hold_began", "paused")] * 2
    round_of(alerting)
    assert len(far.received) == 2


def test_state_of_another_version_counts_as_none(
    own: OwnIntegration, worker: Working, far: RecordingWebhook
) -> None:
    own.redis.set(Keys(own.name).alerts, '{"told": 1}')
    own.gate().pause()
    round_of(worker())
    assert far.events() == [("hold_began", "paused")]


def test_without_a_webhook_nothing_looks(own: OwnIntegration, server: RedisServer) -> None:
    settings = Settings(_env_file=None, redis_url=server.url, signal_integration=own.name)
    assert alerting_for(settings, own.redis) is None
