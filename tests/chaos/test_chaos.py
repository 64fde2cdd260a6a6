"""Whatever goes wrong, alone or together: every event ends, every member ends right, nobody is asked too early.

`make test` runs a few storms in brief; `make chaos` (CHAOS=full) every storm with thousands of events, for each form of
delivery that it can hurt. CHAOS_FORM names one form to run alone: single, batches, ledger or volume.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos import storms
from tests.chaos.forms import BATCHES, FORMS, LEDGER, SINGLE, VOLUME, Form
from tests.chaos.producing import Producer, singles
from tests.chaos.sessions import Sent, as_produced, never_denying, sessions
from tests.chaos.verdict import Figures, judged
from tests.chaos.world import World
from tests.sandboxes import RunningSandbox
from tests.servers import RedisServer
from worker.queue.producer import EventQueue

FULL = os.environ.get("CHAOS") == "full"
FORM = os.environ.get("CHAOS_FORM")  # the one to run alone
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
    """One storm, the forms of delivery that go through it, how many events, and how much disorder the producers add."""

    name: str
    storm: storms.Storm
    forms: tuple[Form, ...] = REQUESTS
    events: int = 3000
    brief: int = 0  # events where it is run in brief; 0: it is not
    brief_forms: tuple[Form, ...] = ()
    workers: int = 3
    repeated: float = 0.05
    late: float = 0.03
    known: bool = False  # whether every other member is on the list before its first event


CASES = (
    Case("repeated and out of order", storms.calm, EVERY, repeated=0.4, late=0.2),
    Case("kill -9 in mid-request", storms.kill_one_in_mid_request, EVERY),
    Case("kill -9 of all at once", storms.kill_all_at_once),
    Case("SIGTERM under load", storms.terminate_under_load),
    Case("Redis killed, restarted", storms.restart_redis, EVERY),
    Case(
        "Redis killed, light load",
        storms.restart_redis_under_light_load,
        events=1200,
        brief=300,
        brief_forms=(SINGLE,),
    ),
    Case("Redis connections cut", storms.cut_connections, events=4000),
    Case("10 % 500, 502, 503", storms.fail_one_in_ten, EVERY, events=4000),
    Case("429 with each hint", storms.throttle_with_every_hint, EVERY),
    Case("outage, shortened", storms.outage(20)),
    Case("slow, hung after commit", storms.be_slow_and_hang),
    Case("applied after time-out", storms.apply_after_time_out, EVERY),
    Case("reads 3 s behind", storms.read_late, EVERY, brief=250, brief_forms=(SINGLE,)),
    Case("10 % of members missed", storms.miss_members),
    Case("applied after the lease", storms.apply_after_the_lease, EVERY),
    Case("stored, answered 500, 504", storms.fail_once_stored, EVERY),
    Case("SIGSTOP in mid-request", storms.stop_one_in_mid_request, EVERY),
    Case("wrong key, fixed", storms.wrong_key, EVERY),
    Case("addresses refused", storms.refuse_addresses, EVERY),
    Case(
        "bad members among many",
        storms.a_few_bad_members,
        EVERY,
        brief=200,
        brief_forms=(SINGLE, VOLUME),
    ),
    Case("one hot member", storms.hang_one_hot_member, EVERY, brief=200, brief_forms=(SINGLE,)),
    Case("everything refused", storms.refuse_everything, EVERY, brief=300, brief_forms=(BATCHES,)),
    Case("one 429 in fifty", storms.throttle_one_in_fifty, EVERY),
    Case(
        "opt-outs while paused",
        storms.opt_out_while_paused,
        EVERY,
        brief=500,
        brief_forms=(SINGLE, BATCHES),
    ),
    Case("opt-outs at any moment", storms.opt_out_at_any_moment, EVERY),
    Case(
        "new and known, opt-outs",
        storms.opt_out_with_task_ids,
        (LEDGER, VOLUME),
        brief=400,
        brief_forms=(LEDGER, VOLUME),
        known=True,
    ),
    Case(
        "stored in the background",
        storms.store_in_background,
        (BATCHES, LEDGER, VOLUME),
        brief=400,
        brief_forms=(LEDGER,),
        known=True,
    ),
    Case(
        "everything together",
        storms.everything_together,
        EVERY,
        events=5000,
        brief=600,
        brief_forms=(SINGLE, BATCHES),
    ),
)


def chosen() -> Iterator[tuple[Case, Form]]:
    """The storms to run now, each with the form of delivery that goes through it."""
    for case in CASES:
        if FORM:
            forms: tuple[Form, ...] = (FORMS[FORM],) if FULL or case.brief else ()
        else:
            forms = case.forms if FULL else case.brief_forms
        yield from ((case, form) for form in forms)


def named(case: Case, form: Form) -> str:
    """The run as pytest shows it."""
    return f"{case.name}-{form.name}".replace(" ", "-")


@pytest.mark.parametrize(
    ("case", "form"), [pytest.param(*each, id=named(*each)) for each in chosen()]
)
def test_no_event_is_lost_and_every_member_ends_right(
    case: Case,
    form: Form,
    server: RedisServer,
    sandbox: RunningSandbox,
    tmp_path: Path,
    figures: list[Figures],
) -> None:
    world = World(server, sandbox, tmp_path, f"storm{CASES.index(case)}-{form.name}", form)
    try:
        result = weathered(case, world)
    finally:
        world.close()
    figures.append(result)
    assert result.broken == []


def weathered(case: Case, world: World) -> Figures:
    """The figures of the storm, after it is over, everything drained, and every dead letter replayed."""
    happened = sessions(SEED, case.events if FULL else case.brief)
    produced = as_produced(happened, SEED, repeated=case.repeated, late=case.late)
    world.brief = not FULL
    world.clickers = never_denying(happened)
    world.producer = producer(world, produced)
    if case.known:
        world.put_on_list(sorted({each.fact.address for each in produced if each.fact})[::2])
    world.start_workers(case.workers if FULL else 2)
    began = time.monotonic()
    world.producer.start()
    case.storm(world)
    world.be_calm()
    world.drain()
    died = world.died()
    world.replay()
    world.drain()
    world.settle()
    return judged(case.name, world, produced, died, time.monotonic() - began)


def producer(world: World, produced: list[Sent]) -> Producer:
    """Puts events as the form of delivery says; in brief fewer at once."""
    form = world.form
    made = Producer(
        form.putting(EventQueue(world.redis, world.queue)),
        lambda: world.redis.llen(world.queue),
        produced,
    )
    made.backlog = form.backlog
    made.burst, made.pause = (
        (form.burst, form.pause) if FULL else (min(form.burst, 60), form.pause / 10)
    )
    return made


@pytest.mark.skipif(not FULL, reason="a hundred thousand events are for `make chaos`")
def test_a_worker_grows_no_larger_through_an_outage_however_many_events_wait(
    server: RedisServer, sandbox: RunningSandbox, tmp_path: Path, lines: list[str]
) -> None:
    waiting = 100_000
    world = World(server, sandbox, tmp_path, "flood", SINGLE)
    world.producer = Producer(
        singles(EventQueue(world.redis, world.queue)), lambda: 0, sessions(SEED, waiting)
    )
    try:
        world.start_workers(1)
        sandbox.control.add_fault("status", status=503)
        before, delayed = storms.memory(world), [0]

        def looked_thrice() -> bool:
            delayed.append(world.delay_queue.count())
            return world.requests() >= asked + 3

        world.producer.burst = 500
        world.producer.start()
        world.until(lambda: world.gate().state().kind == "unavailable", "a hold")
        world.when_put(1.0)
        asked = world.requests()
        world.until(looked_thrice, "three more reads of the list")
        after, held = storms.memory(world), sum(world.left())
        world.be_calm()
        world.until(lambda: world.control.totals()["touched"] > 200, "members again", 90)
        later = storms.memory(world)
    finally:
        world.close()
    lines.append(
        f"{waiting} events waiting through an outage: worker {before:.0f} MB before, {after:.0f} MB after, "
        f"{later:.0f} MB when it was over; at most {max(delayed)} delayed, {held} waiting"
    )
    assert held > 0.85 * waiting
    assert after < before + 30
    assert max(delayed) < 100
