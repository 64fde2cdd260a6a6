"""The latest jobs of a queue, and how many of them may work at a time."""

from worker.dashboard.pages.job import Job, State

MOST_JOBS, MOST_AT_WORK = 20, 3


class TooManyJobs(Exception):
    """So many jobs are at work that no other may begin; the text is one line."""


class Jobs:
    """The latest jobs."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def add(self, job: Job) -> None:
        """Keep the job and begin to count its messages.

        Raises:
            TooManyJobs: Too many others are at work.
        """
        self._check_room()
        self._jobs[job.id] = job
        idle = [each.id for each in self._jobs.values() if not each.is_at_work]
        for each in idle[: max(0, len(self._jobs) - MOST_JOBS)]:
            del self._jobs[each]
        job.count()

    def start(self, job: Job, rate: int) -> bool:
        """Begin the job; see `Job.start`.

        Raises:
            TooManyJobs: Too many others are at work.
        """
        if job.state == State.READY:
            self._check_room()
        return job.start(rate)

    def with_id(self, id: str) -> Job | None:
        """Return the job, or None if there is none."""
        return self._jobs.get(id)

    def at_work(self) -> list[Job]:
        """Return the jobs that count or run."""
        return [each for each in self._jobs.values() if each.is_at_work]

    def _check_room(self) -> None:
        at_work = self.at_work()
        if len(at_work) >= MOST_AT_WORK:
            names = " or ".join(act.noun for act in at_work[0].queue.acts)
            raise TooManyJobs(
                f"{MOST_AT_WORK} jobs ({names}) are at work; wait until one is done, or cancel one"
            )
