"""Replays and purges that Flower does: their rate, their end if Redis fails – on a real server."""

import time
from itertools import pairwise

import pytest

from tests.integrations import OwnIntegration
from tests.servers import RedisServer, eventually
from worker.dashboard.dead_letters import job as jobs_module
from worker.dashboard.dead_letters.integration import Integration
from worker.dashboard.dead_letters.job import Action, Job, Jobs, Meant, State, TooManyJobs
from worker.ops.dead_letter_pages import key_of
from worker.ops.dead_letter_survey import SAMPLE, Survey
from worker.ops.paced import BATCH, act_on, batch_size
from worker.ops.replay_preview import ReplayEffect
from worker.queue.dead_letter_filter import DeadLetterFilter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import DeadLetter, dead_letter
from worker.queue.message import Message
from worker.settings import Settings

ALL = Meant((), DeadLetterFilter(), "all")


@pytest.fixture
def integration(own: OwnIntegration, server: RedisServer) -> Integration:
    return Integration(Settings(redis_url=server.url, signal_integration=own.name))


def bury(integration: Integration, number: int, died_at: float = 1000.0) -> None:
    letters = integration.letters
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
        letters.bury(message, letter)


def in_state(job: Job, *states: State) -> None:
    eventually(lambda: job.state in states, what=f"a job that is {states}")


def ready(integration: Integration, action: Action = Action.PURGE, meant: Meant = ALL) -> Job:
    """Return a job, on all letters by default, that is counted."""
    job = Job(integration, action, meant)
    job.count()
    in_state(job, State.READY, State.DONE, State.FAILED)
    return job


@pytest.mark.parametrize(
    ("rate", "size"), [(None, BATCH), (0.01, 1), (4, 1), (100, 20), (1e6, BATCH)]
)
def test_batches_are_small_if_the_rate_is(rate: float | None, size: int) -> None:
    assert batch_size(rate) == size


def test_waits_add_up_to_the_rate(
    integration: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(integration, 45)
    job = ready(integration)
    waits: list[float] = []
    monkeypatch.setattr(Job, "_wait", lambda _, seconds: waits.append(seconds))
    assert job.start(50)
    in_state(job, State.DONE)
    assert sum(waits) == pytest.approx(45 / 50)
    assert (job.done, integration.letters.count()) == (45, 0)


def test_act_without_a_rate_waits_for_nothing() -> None:
    waits: list[float] = []
    acted: list[tuple[int, int]] = []
    batch = [DeadLetter(Message(id="m", args=()), None, "")] * 3  # type: ignore[arg-type]
    act_on([batch, batch], None, lambda _: 2, lambda *each: acted.append(each), waits.append)
    assert (acted, sum(waits)) == ([(2, 3), (2, 3)], 0.0)


def test_letters_that_die_after_the_count_stay(integration: Integration) -> None:
    bury(integration, 5)
    job = ready(integration)
    bury(integration, 3)
    job.start(1000)
    in_state(job, State.DONE)
    assert (job.done, integration.letters.count()) == (5, 3)


def test_new_letters_do_not_take_the_place_of_counted_ones_that_went(
    integration: Integration,
) -> None:
    bury(integration, 5)
    job = ready(integration)
    integration.letters.purge(integration.letters.oldest(2))
    bury(integration, 3, died_at=time.time())
    job.start(1000)
    in_state(job, State.DONE)
    assert (job.done, job.gone, integration.letters.count()) == (3, 2, 3)


def test_ticked_letters_stay_in_the_job_though_older_ones_go(integration: Integration) -> None:
    bury(integration, 10)
    letters, secret = integration.letters, integration.settings.digest_key
    keys = [key_of(each, secret) for each in letters.oldest(10)[5:9]]
    letters.purge(letters.oldest(3))
    job = ready(integration, Action.REPLAY, Meant(tuple(keys), DeadLetterFilter(), "ticked"))
    assert job.survey.total == 4
    letters.purge(letters.oldest(2))
    job.start(1000)
    in_state(job, State.DONE)
    assert (job.done, job.gone) == (4, 0)
    assert [each.message.id for each in letters.oldest_first()] == ["m-9"]
    assert letters.redis.llen(letters.queue) == 4


def test_job_on_no_letters_is_done_at_once(integration: Integration) -> None:
    job = ready(integration)
    assert (job.state, job.start(10)) == (State.DONE, False)


def test_job_fails_in_one_line_if_redis_refuses(integration: Integration) -> None:
    bury(integration, 3)
    job = ready(integration)
    integration.letters.redis.delete(integration.letters.key)
    integration.letters.redis.set(integration.letters.key, "not a list")
    job.start(10)
    in_state(job, State.FAILED)
    assert job.trouble.startswith("Redis at ")
    assert "\n" not in job.trouble


def test_too_many_jobs_at_work_are_refused_and_old_ones_forgotten(
    integration: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(integration, 1)
    monkeypatch.setattr(jobs_module, "MOST_JOBS", 2)
    jobs, made = Jobs(), []
    for _ in range(4):
        made.append(Job(integration, Action.PURGE, ALL))
        jobs.add(made[-1])
        in_state(made[-1], State.READY)
    assert [jobs.with_id(each.id) is not None for each in made] == [False, False, True, True]
    for each in made[2:]:
        each.state = State.RUNNING
    busy = Job(integration, Action.PURGE, ALL, state=State.RUNNING)
    monkeypatch.setattr(busy, "count", lambda: None)
    jobs.add(busy)
    with pytest.raises(TooManyJobs, match="cancel one"):
        jobs.add(Job(integration, Action.PURGE, ALL))


def test_counted_jobs_begin_only_while_there_is_room(
    integration: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(integration, 1)
    jobs, counted = Jobs(), []
    for _ in range(4):
        counted.append(Job(integration, Action.PURGE, ALL))
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
    integration: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(integration, 1)
    job = Job(integration, Action.PURGE, ALL)
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
    letter = dead_letter(
        DeadLetterReason.REJECTED,
        Message(id="m", args=()),
        status=400,
        answer="",
        died_at=1.0,
        integration="own",
    )
    for each in range(number):
        survey.add(DeadLetter(Message(id=str(each), args=()), letter, ""))
    places = [int(each.id) for each in survey.sample]
    assert (survey.total, survey.counts) == (number, {"rejected": number} if number else {})
    assert min(number, SAMPLE // 2) <= len(places) <= SAMPLE
    assert len({after - before for before, after in pairwise(places)}) <= 1
    assert sum(survey.effects().values()) == len(places)
