"""The modes of delivery of the chaos suite: settings of the workers, and how events are put."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tests.chaos.producing import Put, bundles, singles
from worker.queue.producer import EventQueue

REFRESH_SECONDS = 1.0  # between two scans of the unsubscribed, if workers rely on the ledger
# From the decision to write a member until the request arrives, on a busy machine.
DECIDED_TO_SENT_SECONDS = 2.0


@dataclass(frozen=True)
class Mode:
    """One mode of delivery.

    Attributes:
        name: Its name.
        settings: Settings that override those that all modes have.
        putting: Returns the function that puts events on the queue.
        burst: The events put at once.
        pause: The seconds between two bursts.
        backlog: The messages that may wait before more are put.
        throttled: The events whose requests a rate limit allows in one and a half seconds.
        blind_seconds: How old a click may be that a worker need not know of; 0: each write has a
            read of its own.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    putting: Callable[[EventQueue], Put] = singles
    burst: int = 25
    pause: float = 0.0
    backlog: int = 250
    throttled: int = 120
    blind_seconds: float = 0.0


BATCHED = {"MAILGUN_BATCH_SIZE": "100", "WORKER_CONCURRENCY": "200"}
TRUSTING = {
    "MAILGUN_MEMBER_STATE": "ledger",
    "MAILGUN_OPT_OUT_REFRESH_SECONDS": f"{REFRESH_SECONDS:g}",
}
# A scan is trusted until at most two refreshes after it began; then each member is read again.
BLIND_SECONDS = 2 * REFRESH_SECONDS + DECIDED_TO_SENT_SECONDS

SINGLE = Mode("single")
# Bursts fill the batches of three workers; the pauses between them leave time for faults.
BATCHES = Mode("batches", BATCHED, burst=600, pause=2.1, throttled=250)
LEDGER = replace(BATCHES, name="ledger", settings=BATCHED | TRUSTING, blind_seconds=BLIND_SECONDS)
VOLUME = replace(LEDGER, name="volume", putting=bundles)

MODES = {each.name: each for each in (SINGLE, BATCHES, LEDGER, VOLUME)}
