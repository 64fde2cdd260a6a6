"""Jobs on delayed events that Flower does: what one keeps in memory when it ends – on a real server."""

from collections.abc import Callable

import pytest

from tests.integrations import OwnIntegration
from tests.servers import RedisServer, eventually
from worker.dashboard.pages.job import Job, State
from worker.dashboard.pages.query import ListQuery
from worker.dashboard.retries.events import Retries
from worker.dashboard.retries.selection import SelectedEvents
from worker.dashboard.retries.words import BURY
from worker.queue.message import Message
from worker.settings import Settings


@pytest.fixture
def retries(own: OwnIntegration, server: RedisServer) -> Retries:
    found = Retries(Settings(redis_url=server.url, signal_integration=own.name))
    messages = [Message(id=f"m-{each}", args=({},), enqueued_at=each) for each in range(5)]
    found.queue.add([(each, 3600.0) for each in messages])
    return found


@pytest.mark.parametrize(
    ("act", "end", "left"),
    [(Job.cancel, State.CANCELLED, 5), (lambda job: job.start(1000), State.DONE, 0)],
)
def test_ended_job_keeps_its_figures_and_not_the_events_counted(
    retries: Retries,
    act: Callable[[Job], object],
    end: State,
    left: int,
) -> None:
    meant = retries.matching(ListQuery())
    assert isinstance(meant, SelectedEvents)
    job = Job(retries, BURY, meant)
    job.count()
    eventually(lambda: job.state == State.READY, what="a count")
    assert len(meant._counted) == 5
    act(job)
    eventually(lambda: job.state == end and not meant._counted, what=f"a job that is {end}")
    assert (job.survey.total, retries.count()) == (5, left)
