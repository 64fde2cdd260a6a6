"""The competitors, and how each is started. All that is not set here has its own default."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.bench.figures import BASELINE
from tests.bench.traffic import Traffic

OTHER_PROGRAMS = "tests.bench.other_programs"
BATCHES = {"MAILGUN_BATCH_SIZE": "100"}
LEDGER = {**BATCHES, "MAILGUN_MEMBER_STATE": "ledger"}
QUEUE = "mailgun.default"
# Commands that count what is queued, in hand or delayed.
OUR_QUEUE = (
    ("LLEN", QUEUE),
    ("HLEN", "signal:default:unacked"),
    ("ZCARD", "signal:default:delayed"),
)
# What our workers have learned of Mailgun's limit; without it they start cold.
OUR_PACE = ("signal:default:pace",)
CELERY_QUEUE = (("LLEN", "celery"), ("HLEN", "unacked"))
SINGLE_WRITES = (Traffic.KNOWN, Traffic.NEW, Traffic.UNCHANGED)
LIMIT = 300  # requests a minute
CHANGING_LIMITS = (LIMIT, LIMIT // 2, LIMIT)  # halved, then doubled


@dataclass(frozen=True)
class Competitor:
    """One way to bring events to Mailgun.

    Attributes:
        name: Its name in the table.
        producer: Whose producer enqueues: "one" or "many" for this program's, "none" for no queue,
            else a module of other_programs/.
        arguments: The arguments of `python`, with `{workers}` if one command starts all workers.
        ready: What each worker process prints once it takes events.
        ours: Whether it is this program.
        settings: Environment variables.
        scheduler: The arguments of one more process, without which retries would not wait.
        workers: The numbers of workers with which it runs.
        latencies_ms: The latencies of the sandbox under which it runs.
        traffic: The kinds of traffic with which it runs.
        limit_workers: The numbers of workers with which it runs under the rate limit.
        limits: The limits that it meets one after another, in requests a window.
        counting: Commands that count what it has queued, in hand or delayed; empty: it does not
            run with unchanged events.
        event_factor: How many times as many events it gets, so that its rows last seconds, too: in
            one or two seconds, beginning and end would count more than the rate.
        carries: The number of events that one request can carry.
    """

    name: str
    producer: str
    arguments: tuple[str, ...]
    ready: str = " ready."
    ours: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    scheduler: tuple[str, ...] = ()
    workers: tuple[int, ...] = (1, 2)
    latencies_ms: tuple[int, ...] = (0, 100)
    traffic: tuple[Traffic, ...] = (Traffic.KNOWN,)
    limit_workers: tuple[int, ...] = (1,)
    limits: tuple[int, ...] = (LIMIT,)
    counting: tuple[tuple[str, str], ...] = ()
    event_factor: int = 1
    carries: int = 1

    @property
    def keeps_ledger(self) -> bool:
        return "MAILGUN_MEMBER_STATE" in self.settings

    @property
    def starts_workers_itself(self) -> bool:
        return "{workers}" in self.arguments


def ours(
    name: str,
    settings: Mapping[str, str],
    *,
    producer: str = "one",
    event_factor: int = 1,
    carries: int = 1,
    limits: tuple[int, ...] = (LIMIT,),
) -> Competitor:
    """Return this program with these settings as a competitor."""
    command = ("-m", "worker", "worker", "--name={name}@%h")
    return Competitor(
        name,
        producer,
        command,
        ours=True,
        settings=settings,
        traffic=SINGLE_WRITES if carries == 1 else tuple(Traffic),
        limit_workers=(1, 4),
        limits=limits,
        counting=OUR_QUEUE,
        event_factor=event_factor,
        carries=carries,
    )


def no_queue(threads: int, latency_ms: int) -> Competitor:
    """Return a competitor of `threads` threads that post without any queue."""
    name = f"no queue, {threads} thread{'s' if threads > 1 else ''}"
    command = ("-m", f"{OTHER_PROGRAMS}.no_queue", str(threads))
    return Competitor(
        name, "none", command, workers=(1,), latencies_ms=(latency_ms,), limit_workers=()
    )


COMPETITORS: dict[str, Competitor] = {
    "celery": Competitor(
        BASELINE,
        "plain_celery",
        (
            "-m",
            "celery",
            "-A",
            f"{OTHER_PROGRAMS}.plain_celery",
            "worker",
            "--pool=threads",
            "--concurrency=32",
            "-n",
            "{name}@%h",
        ),
        traffic=SINGLE_WRITES,
        limit_workers=(1, 4),
        counting=CELERY_QUEUE,
    ),
    "dramatiq": Competitor(
        "dramatiq",
        "on_dramatiq",
        (
            "-m",
            "dramatiq",
            f"{OTHER_PROGRAMS}.on_dramatiq",
            "--processes",
            "{workers}",
            "--threads",
            "64",
        ),
        ready="Worker process is ready for action.",
    ),
    "taskiq": Competitor(
        "taskiq",
        "on_taskiq",
        (
            "-m",
            "taskiq",
            "worker",
            f"{OTHER_PROGRAMS}.on_taskiq:broker",
            "--workers",
            "{workers}",
            "--max-async-tasks",
            "100",
        ),
        ready="Listening started.",
        scheduler=("-m", "taskiq", "scheduler", f"{OTHER_PROGRAMS}.on_taskiq:scheduler"),
    ),
    "no-queue": no_queue(1, 0),
    "no-queue-32": no_queue(32, 100),
    "default": ours("ours, default", {}, limits=CHANGING_LIMITS),
    "batches": ours("ours, batches", BATCHES, event_factor=2, carries=100, limits=CHANGING_LIMITS),
    "ledger": ours("ours, ledger + batches", LEDGER, event_factor=8, carries=100),
    "volume": ours("ours, volume", LEDGER, producer="many", event_factor=20, carries=100),
}
