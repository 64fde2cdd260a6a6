"""Rounds of housekeeping: one at a time, however many threads keep house."""

from threading import Event, Thread

import redis

from worker.consumer.housekeeping_rounds import Rounds

DEADLINE = 20


def test_round_is_skipped_while_another_thread_runs_one() -> None:
    entered, go, done = Event(), Event(), []

    def hang() -> None:
        entered.set()
        assert go.wait(DEADLINE)

    rounds, steps = Rounds(), [hang, lambda: done.append("stored")]
    first = Thread(target=rounds.run, args=(steps,))
    first.start()
    assert entered.wait(DEADLINE)
    assert not rounds.run(steps)
    assert done == []
    go.set()
    assert rounds.run(steps, wait=DEADLINE)
    first.join(DEADLINE)
    assert done == ["stored", "stored"]


def test_step_that_fails_stops_neither_the_round_nor_the_next() -> None:
    done = []

    def fail() -> None:
        raise KeyError("p1@example.com")

    rounds, steps = Rounds(), [fail, lambda: done.append("stored")]
    assert rounds.run(steps)
    assert rounds.run(steps)
    assert done == ["stored", "stored"]


def test_round_ends_when_redis_does_not_answer() -> None:
    done = []

    def hang_up() -> None:
        raise redis.TimeoutError

    rounds, steps = Rounds(), [hang_up, lambda: done.append("stored")]
    assert rounds.run(steps)
    assert done == []
