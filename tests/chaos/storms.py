"""Storms: functions that cause faults in a world under load, and return when these are over."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from tests.chaos.world import KEY, READ_TIMEOUT_SECONDS, World, resident_megabytes
from worker.sandbox.retry_hints import HintKind

REDIS_AWAY_SECONDS = 3.0
LEASE_SECONDS = 16.6  # of a member's lease, with the time-outs of the storms
HINTS: tuple[HintKind, ...] = (
    "retry_after_seconds",
    "retry_after_date",
    "reset_seconds",
    "reset_ms",
    "body",
    "none",
)

Storm = Callable[[World], None]


def calm(world: World) -> None:
    """Cause no fault; events come twice and out of order as always."""
    world.when_put(1.0)


def kill_one_in_mid_request(world: World) -> None:
    """Kill one worker (SIGKILL) with requests under way, three times.

    Another worker is started each time, as by a supervisor.
    """
    world.control.latency(60)
    for share in world.moments(0.2, 0.45, 0.7):
        world.when_put(share)
        _kill_in_mid_request(world, 1)


def kill_all_at_once(world: World) -> None:
    """Kill all workers at once (SIGKILL), twice."""
    world.control.latency(60)
    for share in world.moments(0.3, 0.65):
        world.when_put(share)
        _kill_in_mid_request(world, len(world.workers))


def terminate_under_load(world: World) -> None:
    """Send SIGTERM to one worker after the other.

    Each finishes what it has begun, and exits with 0.
    """
    world.control.latency(60)
    for share in world.moments(0.25, 0.5, 0.75):
        world.when_put(share)
        began = time.monotonic()
        assert world.terminate(world.workers[0]) == 0
        world.note("ended on SIGTERM in {:.1f} s", time.monotonic() - began)
        world.start_workers(1)


def restart_redis(world: World) -> None:
    """Kill Redis and start it again on its append-only file, twice.

    It is away for three seconds.
    """
    for share in world.moments(0.25, 0.6):
        world.when_put(share)
        _restart_redis(world)


def restart_redis_under_light_load(world: World) -> None:
    """Restart Redis three times while each worker has events in hand and room for more.

    The workers then wait for Redis when it is killed.
    """
    world.control.latency(300)
    with world.producer.trickling(a_second=40):
        for share in world.moments(0.15, 0.4, 0.65):
            world.when_put(share)
            world.until(world.lightly_loaded, "a light load")
            _restart_redis(world)


def cut_connections(world: World) -> None:
    """Cut all connections to Redis, four times, the last time under light load."""
    for share in (0.2, 0.4, 0.6):
        world.when_put(share)
        _cut_connections(world)
    world.control.latency(300)
    with world.producer.trickling():
        world.until(world.lightly_loaded, "a light load")
        _cut_connections(world)


def fail_one_in_ten(world: World) -> None:
    """Answer a tenth of all requests with 500, 502 or 503."""
    for fault in ({"status": 500}, {"status": 503, "body": "html"}):
        world.control.add_fault("status", share=0.035, **fault)
    world.control.add_fault("html_502", share=0.035)
    world.drain()


def throttle_with_every_hint(world: World) -> None:
    """Set a rate limit below what the events need.

    Its 429 or 420 has each kind of hint in turn, and none.
    """
    few = world.requests_for(world.form.throttled)
    for number, hint in enumerate(HINTS, 1):
        world.control.switches(throttled_status=420 if number % 2 else 429)
        world.control.limit(few, window_seconds=1.5, hint=hint)
        world.when_put(number / len(HINTS))
    world.drain()


def outage(seconds: float) -> Storm:
    """Take Mailgun away for `seconds`: resets, 503, and no answer at all.

    Real outages last longer; the waits of the storm's workers are shortened as much.
    """

    def act(world: World) -> None:
        world.when_put(0.3)
        _take_mailgun_away(world)
        _weather(seconds)
        world.control.clear_faults()
        ended, before = time.time(), world.control.totals()["touched"]
        world.until(
            lambda: world.control.totals()["touched"] > before, "Mailgun's recovery noticed", 90
        )
        world.back(time.time() - ended)

    act.__doc__ = outage.__doc__
    return act


def be_slow_and_hang(world: World) -> None:
    """Answer late, half, or never, and apply the change in most cases."""
    world.control.latency(40)
    world.control.add_fault("latency", share=0.1, ms=300)
    world.control.add_fault("hang_after_commit", method="POST", share=0.04, seconds=3)
    world.control.add_fault("hang", share=0.01, seconds=3)
    world.control.add_fault("truncated", method="POST", share=0.03)
    world.drain()


def apply_after_time_out(world: World) -> None:
    """Apply some changes only after the worker has given up waiting.

    They are applied after twice the read time-out.
    """
    world.control.add_fault(
        "latency", method="POST", share=0.05, ms=int(2000 * READ_TIMEOUT_SECONDS)
    )
    world.drain()


def read_late(world: World) -> None:
    """Answer all reads with what Mailgun held three seconds ago (if brief, one second)."""
    world.control.switches(read_lag_seconds=1 if world.brief else 3)
    world.drain()


def miss_members(world: World) -> None:
    """Answer a tenth of the reads of a member with 404."""
    world.control.add_fault("member_not_found", share=0.1)
    world.drain()


def apply_after_the_lease(world: World) -> None:
    """Apply some changes when other workers have long written the member.

    They are applied after four read time-outs.
    """
    world.control.add_fault(
        "latency", method="POST", share=0.05, ms=int(4000 * READ_TIMEOUT_SECONDS)
    )
    world.drain()


def fail_once_stored(world: World) -> None:
    """Answer a tenth of the applied writes with 500 or 504."""
    for status in (500, 504):
        world.control.add_fault("status_after_commit", method="POST", share=0.05, status=status)
    world.drain()


def stop_one_in_mid_request(world: World) -> None:
    """Stop one worker (SIGSTOP) with requests under way, three times.

    It goes on when other workers have its members.
    """
    world.control.latency(60)
    for share in world.moments(0.2, 0.45, 0.7):
        world.when_put(share)
        world.until(lambda: _under_way(world), "requests under way")
        with world.producer.trickling():
            world.stop_for_a_while(world.workers[0], LEASE_SECONDS + 3)
    world.drain()


def wrong_key(world: World) -> None:
    """Make the key wrong, then right again; do it once more with 403 as the answer.

    The dead letters are replayed at the end.
    """
    for share in world.moments(0.3, 0.65):
        world.when_put(share)
        _spoil_key(world, 401 if share < 0.5 else 403)


def opt_out_while_paused(world: World) -> None:
    """Click unsubscribe links while the integration is paused and no event is in hand."""
    gate, random = world.gate(), Random(1)
    for share in world.moments(0.3, 0.5, 0.75):
        world.when_put(share)
        world.until(lambda: _clickable(world), "members who may click")
        gate.pause()
        world.until(lambda: not world.in_hand(), "empty hands")
        _click(world, random, 0.4)
        _weather(world.form.blind_seconds)  # until each worker must know of the clicks
        gate.resume()


def opt_out_at_any_moment(world: World) -> None:
    """Click unsubscribe links at any moment."""
    random = Random(2)
    for percent in range(10, 100, 2):
        world.when_put(percent / 100)
        _click(world, random, 0.02)


def opt_out_with_task_ids(world: World) -> None:
    """Click unsubscribe links at any moment, while bulk answers have a task-id.

    A worker is killed meanwhile.
    """
    world.control.switches(bulk_answer="list_and_task_id")
    world.control.latency(60)
    world.until(lambda: world.redis.exists(f"signal:{world.integration}:synced"), "a sync")
    random = Random(4)
    for percent in range(10, 100, 10 if world.brief else 2):
        world.when_put(percent / 100)
        if percent == 50 and not world.brief:
            _kill_in_mid_request(world, 1)
        _click(world, random, 0.02)
    if world.form.settings.get("MAILGUN_MEMBER_STATE") == "ledger":
        reads = sum(
            each.method == "GET" and each.address is not None for each in world.control.requests()
        )
        world.note("{:.0f} requests read a single member", reads)


def store_in_background(world: World) -> None:
    """Store the members of each bulk call 0.3 s after its answer, later 3 s, then at once."""
    for share, seconds in zip((0.0, 0.4, 0.7), (0.3, 3.0, 0.0), strict=True):
        world.when_put(share)
        world.control.switches(bulk_answer="task_id", bulk_job_seconds=seconds)
    world.drain()


def refuse_addresses(world: World) -> None:
    """Refuse every thirtieth address, however plain it looks.

    Members that share a bulk request with such an address must not suffer.
    """
    facts = {each.id: each.fact.address for each in world.producer.sent if each.fact}
    refused = set(sorted(set(facts.values()))[::30])
    world.control.refuse(*refused)
    world.drain()
    rejected = {
        each.message.id for each in world.letters.oldest_first() if each.letter.reason == "rejected"
    }
    died = {facts[each] for each in rejected}
    assert died
    assert died <= refused
    world.note("{:.0f} events of {:.0f} refused addresses died alone", len(rejected), len(died))


BAD: tuple[Mapping[str, Any], ...] = (
    {"kind": "status", "status": 500},
    {"kind": "other_member"},
    {"kind": "truncated"},
    {"kind": "hang", "seconds": 3},
)


def a_few_bad_members(world: World) -> None:
    """Answer 500, strangely, half or never for one member each, those with most events.

    No other member waits.
    """
    counts = Counter(each.fact.address for each in world.producer.sent if each.fact)
    for fault, (address, _) in zip(BAD, counts.most_common(len(BAD)), strict=True):
        world.control.add_fault(address=address, **fault)
        world.bad.add(address)
    healthy = [
        each.id
        for each in world.producer.sent
        if not (each.fact and each.fact.address in world.bad)
    ]
    world.when_put(1.0)
    world.until(lambda: not set(healthy) - world.ended_ids(), "an end of all other events", 120)
    bad = len(world.producer.sent) - len(healthy)
    world.note(
        "{:.0f} events of {:.0f} bad members among {:.0f}", bad, len(BAD), len(world.producer.sent)
    )


def hang_one_hot_member(world: World) -> None:
    """Let all writes of the member with most events hang until all other events have ended.

    A worker is killed meanwhile.
    """
    counts = Counter(each.fact.address for each in world.producer.sent if each.fact)
    [(hot, count)] = counts.most_common(1)
    world.control.add_fault("hang", method="POST", address=hot, seconds=600)
    world.bad.add(hot)
    others = {
        each.id for each in world.producer.sent if not (each.fact and each.fact.address == hot)
    }
    if not world.brief:
        world.control.latency(60)
        world.when_put(0.5)
        _kill_in_mid_request(world, 1)
    world.when_put(1.0)
    took = world.until(lambda: not others - world.ended_ids(), "an end of all others' events", 120)
    world.note(
        "others had ended {:.0f} s after the last was put, "
        "while {:.0f} events of one member waited",
        took,
        count,
    )
    world.control.clear_faults()
    world.drain()


def refuse_everything(world: World) -> None:
    """Answer all writes with 302, then 400, while the list can be read.

    Only a handful of events become dead letters, however long that lasts.
    """
    gate = world.gate()
    for share, status in zip(world.moments(0.3, 0.65), (302, 400), strict=False):
        world.when_put(share)
        before = world.letters.count()
        world.control.add_fault("status", status=status, method="POST")
        with world.sparing():
            world.until(lambda: gate.state().kind == "incident", "an incident")
            looks = [gate.state().since]

            def comes_again(seen: list[float | None] = looks) -> bool:
                state = gate.state()
                if state.kind == "incident" and state.since not in seen:
                    seen.append(state.since)
                return len(seen) > 2

            world.until(comes_again, "an incident that comes again, twice")
            world.note(
                "{:.0f} dead letters while everything was answered {:.0f}",
                world.letters.count() - before,
                status,
            )
            world.control.clear_faults()
            world.back(
                world.until(lambda: gate.state().kind != "incident", "an end of the incident")
            )


def throttle_one_in_fifty(world: World) -> None:
    """Answer one request in fifty, at random, with 429 and no hint."""
    world.control.add_fault("status", share=0.02, status=429)
    world.drain()


def everything_together(world: World) -> None:
    """Cause all faults in one run."""
    random = Random(3)
    world.control.latency(20)
    world.control.add_fault("status", share=0.03, status=503)
    world.control.add_fault("html_502", share=0.02)
    world.control.add_fault("hang_after_commit", method="POST", share=0.02, seconds=3)
    if not world.brief:  # the pace learned from repeated 429s would outlast a short run
        world.control.limit(
            world.requests_for(2 * world.form.throttled),
            window_seconds=1.5,
            hint="retry_after_seconds",
        )
    world.when_put(0.15)
    world.until(lambda: _clickable(world), "members who may click")
    _click(world, random, 0.1)
    _kill_in_mid_request(world, 1)
    world.when_put(0.3)
    _cut_connections(world)
    _click(world, random, 0.1)
    world.when_put(0.45)
    _restart_redis(world)
    world.when_put(0.6)
    _spoil_key(world, 401)
    world.control.add_fault("status", status=429, hint="reset_ms", wait_seconds=1.5, count=1)
    _click(world, random, 0.1)
    world.when_put(0.75)
    with world.sparing():
        fresh = world.start_worker()
        assert world.terminate(world.workers[0]) == 0
        fresh.ready()
    world.when_put(0.8)
    _kill_in_mid_request(world, len(world.workers))
    _click(world, random, 0.1)
    world.drain()


def _kill_in_mid_request(world: World, count: int) -> None:
    world.until(lambda: _under_way(world) and _each_has_some(world, count), "requests under way")
    held = world.in_hand_ids()
    world.kill(*world.workers[:count])
    world.held_when_killed.append((time.time(), held))
    with world.sparing():
        world.start_workers(count)


def _under_way(world: World) -> bool:
    return any(each["status"] is None for each in world.control.state()["requests"])


def _each_has_some(world: World, count: int) -> bool:
    """Return True if `count` workers must each have events in hand.

    It is also True if so few events come at once that it cannot be known.
    """
    others = (len(world.workers) - count) * world.threads
    return world.in_hand() > others or world.producer.share >= 1.0 or world.producer.burst <= others


def _restart_redis(world: World) -> None:
    world.server.kill()
    gone = time.time()
    _weather(REDIS_AWAY_SECONDS)
    world.start_redis()
    again = time.time()
    world.unlucky.append((gone - 2, again + 1))
    world.back(world.each_consumes_again(again))


def _cut_connections(world: World) -> None:
    cut = time.time()
    world.redis.client_kill_filter(_type="normal", skipme=True)
    world.unlucky.append((cut - 1, cut + 2))
    world.back(world.each_consumes_again(cut))


def _take_mailgun_away(world: World) -> None:
    world.control.add_fault("hang", share=0.05, seconds=3)
    world.control.add_fault("reset", share=0.4)
    world.control.add_fault("status", status=503)


def _spoil_key(world: World, status: int) -> None:
    world.control.switches(bad_key_status=status)
    world.control.set_key("another")
    gate = world.gate()
    with world.sparing():
        world.until(lambda: gate.state().kind == "incident", "an incident")
        world.until(lambda: not world.in_hand(), "empty hands")
        world.note("{:.0f} dead letters of a wrong key", float(world.letters.count()))
        world.control.set_key(KEY)
        world.back(world.until(lambda: gate.state().kind != "incident", "an end of the incident"))


def _click(world: World, random: Random, share: float) -> None:
    """Unsubscribe this share of the subscribed members that never denied consent."""
    for address in _sample(random, _clickable(world), share):
        world.control.unsubscribe(address)


def _clickable(world: World) -> list[str]:
    members = world.control.members()
    return sorted(each for each in world.clickers if each in members and members[each].subscribed)


def _sample(random: Random, addresses: list[str], share: float) -> Iterable[str]:
    return random.sample(addresses, min(len(addresses), max(1, round(len(addresses) * share))))


def _weather(seconds: float) -> None:
    """Sleep: the storm tries an absence of this length."""
    time.sleep(seconds)


def memory(world: World) -> float:
    """Return the resident memory of the largest worker, in MB."""
    return max(
        (resident_megabytes(each) for each in world.workers if each.process.poll() is None),
        default=0.0,
    )
