"""A worker that is stopped for longer than its leases (SIGSTOP, a frozen machine) and goes on: the newest word stands."""

import json
import signal

from tests.integration.bench import IMPATIENT, Bench, consenting, identified, until
from tests.integration.modes import Mode, each_mode

PEOPLE = [f"p{number}@example.com" for number in range(20)]
# What had no answer is looked after for so long.
SETTINGS = {**IMPATIENT, "MAILGUN_READ_LAG_SECONDS": "2"}


def put(own: Bench, mode: Mode, plan: str, *, marketing: bool) -> None:
    events = (consenting(identified(each, plan=plan), marketing=marketing) for each in PEOPLE)
    mode.put(own.redis, own.queue, *events)


def words(own: Bench) -> set[tuple[str, bool]]:
    """The plans of all members, each with whether its member is subscribed."""
    return {(each.vars["plan"], each.subscribed) for each in own.members().values()}


def old_writes(own: Bench) -> int:
    """How often Mailgun was told the old plan."""
    return sum(json.dumps(each.form).count("old") for each in own.posts())


@each_mode
def test_worker_frozen_past_its_leases_writes_nothing_old_afterwards(
    own: Bench, mode: Mode
) -> None:
    own.sandbox.control.latency(300)
    settings = {**SETTINGS, **mode.settings}
    stopped = own.worker(**settings).ready()
    put(own, mode, "old", marketing=True)
    until(lambda: len(own.requests()) >= 5, "requests under way")
    stopped.process.send_signal(signal.SIGSTOP)
    own.worker(**settings)
    put(own, mode, "new", marketing=False)
    until(
        lambda: len(own.members()) == len(PEOPLE) and words(own) == {("new", False)},
        "the newest word",
        60,
    )
    before = old_writes(own)
    stopped.process.send_signal(signal.SIGCONT)
    assert stopped.stop() == 0  # once it has ended what it had in hand
    own.ended()
    # A look that the worker had claimed before it ended is due again half a minute later.
    until(
        lambda: not own.redis.zcard(f"signal:{own.integration}:look_after"),
        "an end of all looks",
        90,
    )
    assert words(own) == {("new", False)}
    assert old_writes(own) == before
