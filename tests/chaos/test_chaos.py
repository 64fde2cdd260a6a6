"""Whatever goes wrong, alone or together, loses no event, and no request is sent too early.

`make test` runs a few faults in brief. `make chaos` (CHAOS=full) runs every fault with thousands of
events, in each mode of delivery that it can hurt. CHAOS_FORM names one mode to run alone: single,
batches, ledger or volume.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos import faults
from tests.chaos.checks import Figures, check_run
from tests.chaos.deployment import Deployment
from tests.chaos.modes import BATCHES, LEDGER, MODES, SINGLE, VOLUME, Mode
from tests.chaos.producing import Producer, singles
from tests.chaos.sessions import Sent, as_produced, never_denying, sessions
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer
from worker.queue.producer import EventQueue

FULL = os.environ.get("CHAOS") == "full"
MODE = os.environ.get("CHAOS_FORM")  # the one to run alone
SEED = int(os.environ.get("CHAOS_SEED", "20250301"))
REQUESTS = (SINGLE, BATCHES)  # what hurts requests, or whoever makes them
EVERY = (
    SINGLE,
    BATCHES,
    LEDGER,
    VOLUME,
)  # what may also hurt what is known, or messages that carry many events


@dataclass(frozen=True)
class Case:
    """One fault, the modes of delivery that meet it, how many events, and how much disorder the producers add."""

    name: str
    fault: faults.Fault
    modes: tuple[Mode, ...] = REQUESTS
    events: int = 3000
    brief: int = 0  # events where it is run in brief; 0: it is not
    brief_modes: tuple[Mode, ...] = ()
    workers: int = 3
    repeated: float = 0.05
    late: float = 0.03
    known: bool = False  # whether every other member is on the list before its first event


CASES = (
    Case("repeated and out of order", faults.no_fault, EVERY, repeated=0.4, late=0.2),
    Case("kill -9 in mid-request", faults.kill_one_in_mid_request, EVERY),
    Case("kill -9 of all at once", faults.kill_all_at_once),
    Case("SIGTERM under load", faults.terminate_under_load),
    Case("Redis killed, restarted", faults.restart_redis, EVERY),
    Case(
        "Redis killed, light load",
        faults.restart_redis_under_light_load,
        events=1200,
        brief=300,
        brief_modes=(SINGLE,),
    ),
    Case("Redis connections cut", faults.cut_connections, events=4000),
    Case("10 % 500, 502, 503", faults.fail_one_in_ten, EVERY, events=4000),
    Case("429 with each hint", faults.throttle_with_every_hint, EVERY),
    Case("outage, shortened", faults.outage(20)),
    Case("slow, hung after commit", faults.be_slow_and_hang),
    Case("applied after time-out", faults.apply_after_time_out, EVERY),
    Case("reads 3 s behind", faults.read_late, EVERY, brief=250, brief_modes=(SINGLE,)),
    Case("10 % of members missed", faults.miss_members),
    Case("applied after the lease", faults.apply_after_the_lease, EVERY),
    Case("stored, answered 500, 504", faults.fail_once_stored, EVERY),
    Case("SIGSTOP in mid-request", faults.stop_one_in_mid_request, EVERY),
    Case("wrong key, fixed", faults.wrong_key, EVERY),
    Case("addresses refused", faults.refuse_addresses, EVERY),
    Case(
        "bad members among many",
        faults.a_few_bad_members,
        EVERY,
        brief=200,
        brief_modes=(SINGLE, VOLUME),
    ),
    Case("one hot member", faults.hang_one_hot_member, EVERY, brief=200, brief_modes=(SINGLE,)),
    Case("everything refused", faults.refuse_everything, EVERY, brief=300, brief_modes=(BATCHES,)),
    Case("one 429 in fifty", faults.throttle_one_in_fifty, EVERY),
    Case(
        "opt-outs while paused",
        faults.opt_out_while_paused,
        EVERY,
        brief=500,
        brief_modes=(SINGLE, BATCHES),
    ),
    Case("opt-outs at any moment", faults.opt_out_at_any_moment, EVERY),
    Case(
        "new and known, opt-outs",
        faults.opt_out_with_task_ids,
        (LEDGER, VOLUME),
        brief=400,
        brief_modes=(LEDGER, VOLUME),
        known=True,
    ),
    Case(
        "stored in the background",
        faults.store_in_background,
        (BATCHES, LEDGER, VOLUME),
        brief=400,
        brief_modes=(LEDGER,),
        known=True,
    ),
    Case(
        "everything together",
        faults.everything_together,
        EVERY,
        events=5000,
        brief=600,
        brief_modes=(SINGLE, BATCHES),
    ),
)


def chosen() -> Iterator[tuple[Case, Mode]]:
    """Yield the faults to run now, each with the mode of delivery that meets it."""
    for case in CASES:
        if MODE:
            modes: tuple[Mode, ...] = (MODES[MODE],) if FULL or case.brief else ()
            # A fault of the ledger alone has nothing to hurt in a mode without one.
            if case.modes == (LEDGER, VOLUME) and MODE in (SINGLE.name, BATCHES.name):
                modes = ()
        else:
            modes = case.modes if FULL else case.brief_modes
        yield from ((case, mode) for mode in modes)


def named(case: Case, mode: Mode) -> str:
    """The run as pytest shows it."""
    return f"{case.name}-{mode.name}".replace(" ", "-")


@pytest.mark.parametrize(
    ("case", "mode"), [pytest.param(*each, id=named(*each)) for each in chosen()]
)
def test_events_under_faults_are_not_lost_and_members_end_right(
    case: Case,
    mode: Mode,
    server: RedisServer,
    sandbox: RunningSandbox,
    tmp_path: Path,
    figures: list[Figures],
) -> None:
    deployment = Deployment(
        server, sandbox, tmp_path, f"fault{CASES.index(case)}-{mode.name}", mode
    )
    try:
        result = figures_of(case, deployment)
    finally:
        deployment.close()
    figures.append(result)
    assert result.broken == []


def figures_of(case: Case, deployment: Deployment) -> Figures:
    """Return the figures of the run, once the fault is over, everything drained, and every dead letter replayed."""
    happened = sessions(SEED, case.events if FULL else case.brief)
    produced = as_produced(happened, SEED, repeated=case.repeated, late=case.late)
    deployment.brief = not FULL
    deployment.clickers = never_denying(happened)
    deployment.producer = producer(deployment, produced)
    if case.known:
        deployment.put_on_list(sorted({each.fact.address for each in produced if each.fact})[::2])
    deployment.start_workers(case.workers if FULL else 2)
    began = time.monotonic()
    deployment.producer.start()
    case.fault(deployment)
    deployment.end_faults()
    deployment.drain()
    died = deployment.died()
    deployment.replay()
    deployment.drain()
    deployment.settle()
    return check_run(case.name, deployment, produced, died, time.monotonic() - began)


def producer(deployment: Deployment, produced: list[Sent]) -> Producer:
    """Puts events as the mode of delivery says; in brief fewer at once."""
    mode = deployment.mode
    made = Producer(
        mode.putting(EventQueue(deployment.redis, deployment.queue)),
        lambda: deployment.redis.llen(deployment.queue),
        produced,
    )
    made.backlog = mode.backlog
    made.burst, made.pause = (
        (mode.burst, mode.pause) if FULL else (min(mode.burst, 60), mode.pause / 10)
    )
    return made


@pytest.mark.skipif(not FULL, reason="a hundred thousand events are for `make chaos`")
def test_worker_memory_in_an_outage_does_not_grow_with_waiting_events(
    server: RedisServer, sandbox: RunningSandbox, tmp_path: Path, lines: list[str]
) -> None:
    waiting = 100_000
    deployment = Deployment(server, sandbox, tmp_path, "flood", SINGLE)
    deployment.producer = Producer(
        singles(EventQueue(deployment.redis, deployment.queue)), lambda: 0, sessions(SEED, waiting)
    )
    try:
        deployment.start_workers(1)
        sandbox.control.add_fault("status", status=503)
        before, delayed = faults.memory(deployment), [0]

        def looked_thrice() -> bool:
            delayed.append(deployment.delay_queue.count())
            return deployment.requests() >= asked + 3

        deployment.producer.burst = 500
        deployment.producer.start()
        deployment.until(lambda: deployment.gate().state().kind == "unavailable", "a hold")
        deployment.when_put(1.0)
        asked = deployment.requests()
        # The pause between two reads doubles while the events are put, to a minute at most.
        deployment.until(looked_thrice, "three more reads of the list", 200)
        after, left = faults.memory(deployment), sum(deployment.left())
        deployment.end_faults()
        deployment.until(lambda: deployment.control.totals()["touched"] > 200, "members again", 90)
        later = faults.memory(deployment)
    finally:
        deployment.close()
    lines.append(
        f"{waiting} events waiting through an outage: worker {before:.0f} MB before, {after:.0f} MB after, "
        f"{later:.0f} MB when it was over; at most {max(delayed)} delayed, {left} waiting"
    )
    assert left > 0.85 * waiting
    assert after < before + 30
    assert max(delayed) < 100
