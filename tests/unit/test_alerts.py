"""Which alerts are due, and what they say: holds that begin, end and come back, dead letters that pile up."""

import json

import pytest

from worker.gate.holds import HoldState
from worker.monitoring.alert_messages import message, sample_alert
from worker.monitoring.alerts import (
    MOST_WAITING,
    OVER_AFTER,
    PILE,
    PILE_SECONDS,
    SENDING_SECONDS,
    TOLD_AFTER,
    AlertState,
    Observation,
    claimed,
    observed,
    without,
)

BEGAN = 1_700_000_000.0
REFUSED = "unauthorized (401): Forbidden"


def hold(kind: str, *, since: float = BEGAN, until: float | None = None) -> HoldState:
    why = REFUSED if kind == "incident" else f"{kind} (test)"
    return HoldState(kind, why, since, until, None)


def after(state: AlertState, at: float, *holds: HoldState) -> AlertState:
    """The state after a look `at` seconds after `BEGAN`."""
    return observed(
        state, Observation(holds=holds, buried={}, letters={}, queued=0, delayed=0), BEGAN + at
    )


def with_letters(state: AlertState, at: float, buried: int, there: int | None = None) -> AlertState:
    letters = {"rejected": buried if there is None else there}
    seen = Observation(holds=(), buried={"rejected": buried}, letters=letters, queued=7, delayed=0)
    return observed(state, seen, BEGAN + at)


def events(state: AlertState) -> list[tuple[str, str]]:
    return [(each.event, each.kind) for each in state.waiting]


@pytest.mark.parametrize("kind", ["incident", "paused"])
def test_an_incident_and_a_pause_are_told_at_once_and_once(kind: str) -> None:
    state = after(AlertState(), 0, hold(kind))
    for second in range(1, 100):
        state = after(state, second, hold(kind))
    assert events(state) == [("hold_began", kind)]
    assert state.waiting[0].since == BEGAN


@pytest.mark.parametrize("kind", ["unavailable", "throttled"])
def test_short_hold_is_not_told_and_longer_one_is(kind: str) -> None:
    long = TOLD_AFTER[kind]
    state = after(AlertState(), long - 1, hold(kind))
    assert events(after(state, long + 1)) == []
    assert events(after(state, long, hold(kind))) == [("hold_began", kind)]


def test_wait_that_mailgun_asks_for_is_told_at_once_if_it_is_long() -> None:
    brief = hold("throttled", until=BEGAN + TOLD_AFTER["throttled"] - 1)
    assert events(after(AlertState(), 1, brief)) == []
    long = hold("throttled", until=BEGAN + TOLD_AFTER["throttled"])
    assert events(after(AlertState(), 1, long)) == [("hold_began", "throttled")]


@pytest.mark.parametrize("kind", ["incident", "unavailable", "throttled"])
def test_hold_that_comes_back_soon_is_the_same_trouble(kind: str) -> None:
    told = after(AlertState(), 100, hold(kind))
    gone = after(told, 110)
    back = after(gone, 110 + OVER_AFTER[kind] - 1, hold(kind, since=BEGAN + 111))
    assert events(back) == [("hold_began", kind)]
    over = after(after(back, 200), 200 + OVER_AFTER[kind])
    assert events(over) == [("hold_began", kind), ("hold_ended", kind)]
    assert (over.waiting[1].since, over.waiting[1].ended) == (BEGAN, BEGAN + 200)
    assert over.told == ()


def test_end_of_a_pause_is_told_at_once_with_the_hold_that_still_stands() -> None:
    state = after(AlertState(), 0, hold("paused"), hold("incident"))
    state = after(state, 60, hold("incident"))
    assert events(state) == [
        ("hold_began", "paused"),
        ("hold_began", "incident"),
        ("hold_ended", "paused"),
    ]
    assert "still on hold: incident" in message("eu", state.waiting[2])["text"]


def test_dead_letters_that_pile_up_are_told_once_until_it_is_over() -> None:
    state = with_letters(AlertState(), 0, 100)
    for number in range(1, PILE):
        state = with_letters(state, number, 100 + number)
    assert events(state) == []
    for number in range(PILE, 3 * PILE):
        state = with_letters(state, number, 100 + number)
    assert events(state) == [("dead_letters_began", "dead_letters")]
    assert (state.waiting[0].new, state.waiting[0].letters) == ({"rejected": 10}, {"rejected": 110})
    for second in range(3 * PILE, int(PILE_SECONDS) + 4 * PILE, 5):
        state = with_letters(state, second, 100 + 3 * PILE)
    state = with_letters(state, 2 * PILE_SECONDS, 100 + 3 * PILE)
    assert events(state)[1:] == [("dead_letters_ended", "dead_letters")]


def test_few_dead_letters_in_every_period_do_not_pile_up() -> None:
    state = AlertState()
    for number in range(100):
        state = with_letters(state, number * PILE_SECONDS / (PILE - 2), number)
    assert events(state) == []
    assert len(state.samples) < 40


def test_pile_is_over_when_no_dead_letter_is_left() -> None:
    state = with_letters(with_letters(AlertState(), 0, 0), 1, PILE)
    state = with_letters(state, 60, PILE, there=0)
    assert [event for event, _ in events(state)] == ["dead_letters_began", "dead_letters_ended"]


def test_counts_that_were_deleted_or_a_clock_set_back_are_no_pile() -> None:
    state = with_letters(AlertState(), 0, 1000)
    state = with_letters(state, 60, 3)
    assert events(with_letters(state, 61, 3 + PILE - 1)) == []
    assert events(with_letters(with_letters(state, -500, 500), -499, 501)) == []


def test_alerts_are_numbered_and_the_oldest_beyond_the_limit_are_dropped() -> None:
    state = AlertState()
    for number in range(MOST_WAITING):
        state = after(after(state, number, hold("paused")), number + 0.5)
    assert len(state.waiting) == MOST_WAITING
    assert [each.number for each in state.waiting] == [
        *range(MOST_WAITING + 1, 2 * MOST_WAITING + 1)
    ]


def test_one_worker_sends_at_a_time_and_another_one_if_it_dies() -> None:
    assert claimed(AlertState(), BEGAN) is None
    state = claimed(after(AlertState(), 0, hold("paused")), BEGAN)
    assert state
    assert claimed(state, BEGAN + SENDING_SECONDS - 1) is None
    assert claimed(state, BEGAN + SENDING_SECONDS)
    assert claimed(state, BEGAN - 3600), "Redis's clock was set back"
    assert claimed(without(state, BEGAN, number=1), BEGAN + 1) is None, "there is nothing to send"


def test_sender_goes_on_with_the_next_alert() -> None:
    state = after(after(AlertState(), 0, hold("paused")), 1)
    state = without(state, BEGAN, number=1)
    assert [each.number for each in state.waiting] == [2]
    assert claimed(state, BEGAN + 1) is None


# --- messages


def test_message_of_an_incident_has_cause_fix_and_counts() -> None:
    holds = [hold("incident")]
    seen = Observation(holds, {}, {"unauthorized": 5}, queued=12, delayed=1)
    [alert] = observed(AlertState(), seen, BEGAN).waiting
    sent = message("eu", alert)
    assert sent["text"].startswith("signal-mailgun, eu: INCIDENT: Mailgun refuses every event")
    for part in (
        REFUSED,
        "Likely cause: Wrong key",
        "Fix: Confirm",
        "queued: 12",
        "dead letters: 5",
    ):
        assert part in sent["text"]
    assert {name: sent[name] for name in ("event", "integration", "kind", "since", "ended")} == {
        "event": "hold_began",
        "integration": "eu",
        "kind": "incident",
        "since": "2023-11-14T22:13:20Z",
        "ended": None,
    }
    assert sent["cause"].startswith("Wrong key")
    assert sent["counts"] == {
        "queued": 12,
        "delayed": 1,
        "dead_letters": 5,
        "new_dead_letters": 0,
    }
    assert json.dumps(sent).isascii()


def test_message_of_a_pause_says_how_to_resume_and_of_its_end_how_long() -> None:
    state = after(after(AlertState(), 0, hold("paused")), 240)
    began, ended = (message("eu", each)["text"] for each in state.waiting)
    assert "an operator has paused" in began
    assert "`signal-mailgun resume`" in began
    assert "the pause is over, after 4 minutes" in ended


def test_message_holds_no_address_and_no_markup() -> None:
    odd = HoldState(
        "incident", "rejected (400): <!channel> jane@example.com & co", BEGAN, None, None
    )
    [alert] = observed(AlertState(), Observation([odd], {}, {}, 0, 0), BEGAN).waiting
    sent = message("eu", alert)
    assert "jane" not in json.dumps(sent)
    assert "&lt;!channel&gt;" in sent["text"]
    assert "&amp; co" in sent["text"]


@pytest.mark.parametrize("kind", ["incident", "paused", "throttled", "unavailable"])
def test_every_message_is_whole_sentences_on_one_line(kind: str) -> None:
    state = after(after(AlertState(), 100, hold(kind)), 110)
    state = after(state, 200)
    state = with_letters(with_letters(state, 300, 0), 301, 20)
    state = with_letters(state, 302, 20, there=0)
    texts = [message("eu", each)["text"] for each in (*state.waiting, sample_alert(BEGAN))]
    assert len(texts) == 5
    for text in texts:
        assert text.isprintable()
        assert text.endswith(".")
        assert ".." not in text
