"""Retry window: time in which no request may be sent, and time before the first attempt, bury no event."""

import time

from tests.integration.bench import Bench, identified, until
from tests.integration.modes import Mode, each_mode
from tests.integrations import rules_with
from worker.gate.gate import Gate

WINDOW_SECONDS = 10
SETTINGS = {"RETRY_MAX_AGE_HOURS": f"{WINDOW_SECONDS / 3600:.6f}"}


@each_mode
def test_pause_longer_than_the_retry_window_buries_no_event(own: Bench, mode: Mode) -> None:
    gate = Gate(own.redis, own.integration, rules_with(), lambda: 0.5)
    own.sandbox.control.add_fault("status", status=503, method="POST")
    with own.working(**{**SETTINGS, **mode.settings}):
        mode.put(own.redis, own.queue, identified("tried@example.com", plan="pro"))
        until(own.delay_queue.count, "a failed attempt")
        gate.pause()
        mode.put(own.redis, own.queue, identified("untried@example.com", plan="pro"))
        time.sleep(WINDOW_SECONDS + 1)  # how long the pause lasts is what is tried here
        asked = len(own.posts())
        gate.resume()
        until(lambda: len(own.posts()) > asked, "another failed attempt")
        own.sandbox.control.clear_faults()
        own.ended()
    assert set(own.members()) == {"tried@example.com", "untried@example.com"}
    assert own.letters() == []
