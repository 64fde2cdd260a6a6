"""The forms of delivery that storms go through: how the workers are set, and how events are put on the queue."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tests.chaos.producing import Put, bundles, singles
from worker.queue.producer import EventQueue

REFRESH_SECONDS = 1.0  # of who opted out, where the ledger is trusted
DECIDED_TO_SENT_SECONDS = (
    2.0  # on a busy machine: from the decision to write a member until the request is there
)


@dataclass(frozen=True)
class Form:
    """One form of delivery."""

    name: str
    settings: Mapping[str, str] = field(
        default_factory=dict
    )  # in place of those that all forms have
    putting: Callable[[EventQueue], Put] = singles
    burst: int = 25  # events put at once
    pause: float = 0.0  # seconds between two bursts
    backlog: int = 250  # messages that may wait before more are put
    throttled: int = (
        120  # events whose requests a rate limit lets through in one and a half seconds
    )
    blind_seconds: float = (
        0.0  # how old a click may be that nobody need know of; 0: each write has its own reading
    )


BATCHED = {"MAILGUN_BATCH_SIZE": "100", "WORKER_CONCURRENCY": "200"}
TRUSTING = {
    "MAILGUN_MEMBER_STATE": "ledger",
    "MAILGUN_OPT_OUT_REFRESH_SECONDS": f"{REFRESH_SECONDS:g}",
}
# What a worker goes by is trusted until two refreshes after its reading began, or less; then each member is read again.
BLIND_SECONDS = 2 * REFRESH_SECONDS + DECIDED_TO_SENT_SECONDS

SINGLE = Form("single")
# Bursts fill the batches of three workers, and the pauses between them leave time for something to go wrong.
BATCHES = Form("batches", BATCHED, burst=600, pause=2.1, throttled=250)
LEDGER = replace(BATCHES, name="ledger", settings=BATCHED | TRUSTING, blind_seconds=BLIND_SECONDS)
VOLUME = replace(LEDGER, name="volume", putting=bundles)

FORMS = {each.name: each for each in (SINGLE, BATCHES, LEDGER, VOLUME)}
