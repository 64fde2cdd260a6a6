"""The contenders, and how each is started. All that is not set here has its own default."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.bench.figures import YARDSTICK

OTHERS = "tests.bench.contenders"
BATCHES = {"MAILGUN_BATCH_SIZE": "100", "WORKER_CONCURRENCY": "400"}
LEDGER = {**BATCHES, "MAILGUN_MEMBER_STATE": "ledger"}


@dataclass(frozen=True)
class Contender:
    """One way to bring events to Mailgun.

    Attributes:
        name: Its name in the table.
        producer: Whose producer enqueues: "one" or "many" for this program's, "none" for no queue,
            else a module of contenders/.
        arguments: The arguments of `python`, with `{workers}` if one command starts all workers.
        ready: What each worker process prints once it takes events.
        ours: Whether it is this program.
        settings: Environment variables.
        beside: The arguments of one more process, without which retries would not wait.
        workers: The numbers of workers with which it runs.
        latencies_ms: The latencies of the sandbox under which it runs.
        limited: Whether it also runs under the rate limit.
        swift: How many times as many events it gets, because fewer would be stored too soon to
            measure.
        carries: The number of events that one request can carry.
    """

    name: str
    producer: str
    arguments: tuple[str, ...]
    ready: str = " ready."
    ours: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    workers: tuple[int, ...] = (1, 2)
    latencies_ms: tuple[int, ...] = (0, 100)
    limited: bool = True
    swift: int = 1
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
    swift: int = 1,
    carries: int = 1,
) -> Contender:
    """Return this program with these settings as a contender."""
    command = ("-m", "worker", "worker", "--name={name}@%h")
    return Contender(
        name, producer, command, ours=True, settings=settings, swift=swift, carries=carries
    )


def floor(threads: int, latency_ms: int) -> Contender:
    """Return a contender of `threads` threads that post without any queue."""
    name = f"no queue, {threads} thread{'s' if threads > 1 else ''}"
    command = ("-m", f"{OTHERS}.floor", str(threads))
    return Contender(name, "none", command, workers=(1,), latencies_ms=(latency_ms,), limited=False)


LINEUP: dict[str, Contender] = {
    "celery": Contender(
        YARDSTICK,
        "plain_celery",
        (
            "-m",
            "celery",
            "-A",
            f"{OTHERS}.plain_celery",
            "worker",
            "--pool=threads",
            "--concurrency=32",
            "-n",
            "{name}@%h",
        ),
    ),
    "dramatiq": Contender(
        "dramatiq",
        "on_dramatiq",
        ("-m", "dramatiq", f"{OTHERS}.on_dramatiq", "--processes", "{workers}", "--threads", "64"),
        ready="Worker process is ready for action.",
    ),
    "taskiq": Contender(
        "taskiq",
        "on_taskiq",
        (
            "-m",
            "taskiq",
            "worker",
            f"{OTHERS}.on_taskiq:broker",
            "--workers",
            "{workers}",
            "--max-async-tasks",
            "100",
        ),
        ready="Listening started.",
        beside=("-m", "taskiq", "scheduler", f"{OTHERS}.on_taskiq:scheduler"),
    ),
    "floor": floor(1, 0),
    "floor-32": floor(32, 100),
    "default": ours("ours, default", {}),
    "batches": ours("ours, batches", BATCHES, swift=2, carries=100),
    "ledger": ours("ours, ledger + batches", LEDGER, swift=2, carries=100),
    "volume": ours("ours, volume", LEDGER, producer="many", swift=5, carries=100),
}
