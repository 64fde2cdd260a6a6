"""Replays and purges that Flower does: their rate, their end if Redis fails – on a real server."""

import time
from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.integrations import OwnIntegration
from tests.servers import RedisServer, eventually
from worker.dashboard.dead_letters.letters import DeadLetters
from worker.dashboard.dead_letters.words import PURGE, REPLAY
from worker.dashboard.pages import jobs as jobs_module
from worker.dashboard.pages.job import Job, State
from worker.dashboard.pages.jobs import Jobs, TooManyJobs
from worker.dashboard.pages.query import ListQuery
from worker.dashboard.pages.words import Act
from worker.ops.dead_letter_pages import key_of
from worker.ops.paced import BATCH, act_on, batch_size
from worker.ops.replay_preview import ReplayEffect
from worker.ops.survey import SAMPLE, Survey
from worker.queue.dead_letter import DeadLetter, dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.message import Message
from worker.settings import Settings


@pytest.fixture
def dead_letters(own: OwnIntegration, server: RedisServer) -> DeadLetters:
    return DeadLetters(Settings(redis_url=server.url, signal_integration=own.name))


def bury(dead_letters: DeadLetters, number: int, died_at: float = 1000.0) -> None:
    letters = dead_letters.letters
    for each in range(number):
        message = Message(id=f"m-{each}", args=({"type": "page"},), kind="page")
        letter = dead_letter(
            DeadLetterReason.REJECTED,
            message,
            status=400,
            answer="No",
            died_at=died_at,
            integration=letters.integration,
        )
        letters.bury([(message, letter)])


def in_state(job: Job, *states: State) -> None:
    eventually(lambda: job.state in states, what=f"a job that is {states}")


def purge_all(dead_letters: DeadLetters) -> Job:
    return Job(dead_letters, PURGE, dead_letters.matching(ListQuery()))


def ready(dead_letters: DeadLetters, act: Act = PURGE, keys: Sequence[str] = ()) -> Job:
    """Return a job, on all letters by default, that is counted."""
    meant = dead_letters.ticked(keys) if keys else dead_letters.matching(ListQuery())
    job = Job(dead_letters, act, meant)
    job.count()
    in_state(job, State.READY, State.DONE, State.FAILED)
    return job


@pytest.mark.parametrize(
    ("rate", "size"), [(None, BATCH), (0.01, 1), (4, 1), (100, 20), (1e6, BATCH)]
)
def test_batches_are_small_if_the_rate_is(rate: float | None, size: int) -> None:
    assert batch_size(rate) == size


def test_waits_add_up_to_the_rate(
    dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(dead_letters, 45)
    job = ready(dead_letters)
    waits: list[float] = []
    monkeypatch.setattr(Job, "_wait", lambda _, seconds: waits.append(seconds))
    assert job.start(50)
    in_state(job, State.DONE)
    assert sum(waits) == pytest.approx(45 / 50)
    assert (job.done, dead_letters.letters.count()) == (45, 0)


def test_act_without_a_rate_waits_for_nothing() -> None:
    waits: list[float] = []
    acted: list[tuple[int, int]] = []
    batch = [DeadLetter(Message(id="m", args=()), None, "")] * 3  # type: ignore[arg-type]
    act_on([batch, batch], None, lambda _: 2, lambda *each: acted.append(each), waits.append)
    assert (acted, sum(waits)) == ([(2, 3), (2, 3)], 0.0)


def test_letters_that_die_after_the_count_stay(dead_letters: DeadLetters) -> None:
    bury(dead_letters, 5)
    job = ready(dead_letters)
    bury(dead_letters, 3)
    job.start(1000)
    in_state(job, State.DONE)
    assert (job.done, dead_letters.letters.count()) == (5, 3)


def test_new_letters_do_not_take_the_place_of_counted_ones_that_went(
    dead_letters: DeadLetters,
) -> None:
    bury(dead_letters, 5)
    job = ready(dead_letters)
    dead_letters.letters.purge(dead_letters.letters.oldest(2))
    bury(dead_letters, 3, died_at=time.time())
    job.start(1000)
    in_state(job, State.DONE)
    assert (job.done, job.gone, dead_letters.letters.count()) == (3, 2, 3)


def test_ticked_letters_stay_in_the_job_though_older_ones_go(dead_letters: DeadLetters) -> None:
    bury(dead_letters, 10)
    letters, secret = dead_letters.letters, dead_letters.settings.digest_key
    keys = [str(key_of(each, secret)) for each in letters.oldest(10)[5:9]]
    letters.purge(letters.oldest(3))
    job = ready(dead_letters, REPLAY, keys)
    assert job.survey.total == 4
    letters.purge(letters.oldest(2))
    job.start(1000)
    in_state(job, State.DONE)
    assert (job.done, job.gone) == (4, 0)
    assert [each.message.id for each in letters.oldest_first()] == ["m-9"]
    assert letters.redis.llen(letters.queue) == 4


def test_job_on_no_letters_is_done_at_once(dead_letters: DeadLetters) -> None:
    job = ready(dead_letters)
    assert (job.state, job.start(10)) == (State.DONE, False)


def test_job_fails_in_one_line_if_redis_refuses(dead_letters: DeadLetters) -> None:
    bury(dead_letters, 3)
    job = ready(dead_letters)
    dead_letters.letters.redis.delete(dead_letters.letters.key)
    dead_letters.letters.redis.set(dead_letters.letters.key, "not a list")
    job.start(10)
    in_state(job, State.FAILED)
    assert job.trouble.startswith("Redis at ")
    assert "\n" not in job.trouble


def test_too_many_jobs_at_work_are_refused_and_old_ones_forgotten(
    dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(dead_letters, 1)
    monkeypatch.setattr(jobs_module, "MOST_JOBS", 2)
    jobs, made = Jobs(), []
    for _ in range(4):
        made.append(purge_all(dead_letters))
        jobs.add(made[-1])
        in_state(made[-1], State.READY)
    assert [jobs.with_id(each.id) is not None for each in made] == [False, False, True, True]
    for each in made[2:]:
        each.state = State.RUNNING
    busy = purge_all(dead_letters)
    busy.state = State.RUNNING
    monkeypatch.setattr(busy, "count", lambda: None)
    jobs.add(busy)
    with pytest.raises(TooManyJobs, match="cancel one"):
        jobs.add(purge_all(dead_letters))


def test_counted_jobs_begin_only_while_there_is_room(
    dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(dead_letters, 1)
    jobs, counted = Jobs(), []
    for _ in range(4):
        counted.append(purge_all(dead_letters))
        jobs.add(counted[-1])
        in_state(counted[-1], State.READY)
    monkeypatch.setattr(Job, "_run", lambda self: self._cancelled.wait(30) and State.DONE)
    assert [jobs.start(each, 10) for each in counted[:3]] == [True] * 3
    with pytest.raises(TooManyJobs):
        jobs.start(counted[3], 10)
    assert not jobs.start(counted[0], 10)  # a second click
    counted[0].cancel()
    in_state(counted[0], State.DONE)
    assert jobs.start(counted[3], 10)
    for each in counted[1:]:
        each.cancel()


def test_cancel_at_the_last_moment_of_the_count_is_kept(
    dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(dead_letters, 1)
    job = purge_all(dead_letters)
    count = job._count

    def counted() -> State:
        state = count()
        job.cancel()
        return state

    monkeypatch.setattr(job, "_count", counted)
    job.count()
    in_state(job, State.READY, State.CANCELLED)
    assert (job.state, job.start(10)) == (State.CANCELLED, False)


@pytest.mark.parametrize("number", [0, 1, SAMPLE, 1000])
def test_survey_counts_all_and_keeps_an_even_sample(number: int) -> None:
    survey = Survey(lambda _: ReplayEffect.SENT)
    for each in range(number):
        survey.add(Message(id=str(each), args=()), "rejected", 1.0)
    places = [int(each.id) for each in survey.sample]
    assert (survey.total, survey.counts) == (number, {"rejected": number} if number else {})
    assert min(number, SAMPLE // 2) <= len(places) <= SAMPLE
    assert len({after - before for before, after in pairwise(places)}) <= 1
    assert sum(survey.effects().values()) == len(places)
