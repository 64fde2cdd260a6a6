"""Faults: functions that cause them in a deployment under load, and return when they are over."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from tests.chaos.deployment import KEY, READ_TIMEOUT_SECONDS, Deployment, resident_megabytes
from worker.sandbox.retry_hints import HintKind

REDIS_AWAY_SECONDS = 3.0
LEASE_SECONDS = 16.6  # of a member's lease, with the time-outs of these tests
HINTS: tuple[HintKind, ...] = (
    "retry_after_seconds",
    "retry_after_date",
    "reset_seconds",
    "reset_ms",
    "body",
    "none",
)

Fault = Callable[[Deployment], None]


def no_fault(deployment: Deployment) -> None:
    """Cause no fault; events come twice and out of order as always."""
    deployment.when_put(1.0)


def kill_one_in_mid_request(deployment: Deployment) -> None:
    """Kill one worker (SIGKILL) with requests under way, three times.

    Another worker is started each time, as by a supervisor.
    """
    deployment.control.latency(60)
    for share in deployment.moments(0.2, 0.45, 0.7):
        deployment.when_put(share)
        _kill_in_mid_request(deployment, 1)


def kill_all_at_once(deployment: Deployment) -> None:
    """Kill all workers at once (SIGKILL), twice."""
    deployment.control.latency(60)
    for share in deployment.moments(0.3, 0.65):
        deployment.when_put(share)
        _kill_in_mid_request(deployment, len(deployment.workers))


def terminate_under_load(deployment: Deployment) -> None:
    """Send SIGTERM to one worker after the other.

    Each finishes what it has begun, and exits with 0.
    """
    deployment.control.latency(60)
    for share in deployment.moments(0.25, 0.5, 0.75):
        deployment.when_put(share)
        began = time.monotonic()
        assert deployment.terminate(deployment.workers[0]) == 0
        deployment.note("ended on SIGTERM in {:.1f} s", time.monotonic() - began)
        deployment.start_workers(1)


def restart_redis(deployment: Deployment) -> None:
    """Kill Redis and start it again on its append-only file, twice.

    It is away for three seconds.
    """
    for share in deployment.moments(0.25, 0.6):
        deployment.when_put(share)
        _restart_redis(deployment)


def restart_redis_under_light_load(deployment: Deployment) -> None:
    """Restart Redis three times while each worker has events in flight and room for more.

    The workers then wait for Redis when it is killed.
    """
    deployment.control.latency(300)
    with deployment.producer.trickling(a_second=30):
        for share in deployment.moments(0.15, 0.4, 0.65):
            deployment.when_put(share)
            deployment.until(deployment.lightly_loaded, "a light load")
            _restart_redis(deployment)


def cut_connections(deployment: Deployment) -> None:
    """Cut all connections to Redis, four times, the last time under light load."""
    for share in (0.2, 0.4, 0.6):
        deployment.when_put(share)
        _cut_connections(deployment)
    deployment.control.latency(300)
    with deployment.producer.trickling():
        deployment.until(deployment.lightly_loaded, "a light load")
        _cut_connections(deployment)


def fail_one_in_ten(deployment: Deployment) -> None:
    """Answer a tenth of all requests with 500, 502 or 503."""
    for fault in ({"status": 500}, {"status": 503, "body": "html"}):
        deployment.control.add_fault("status", share=0.035, **fault)
    deployment.control.add_fault("html_502", share=0.035)
    deployment.drain()


def throttle_with_every_hint(deployment: Deployment) -> None:
    """Set a rate limit below what the events need.

    Its 429 or 420 has each kind of hint in turn, and none.
    """
    few = deployment.requests_for(deployment.mode.throttled)
    for number, hint in enumerate(HINTS, 1):
        deployment.control.switches(throttled_status=420 if number % 2 else 429)
        deployment.control.limit(few, window_seconds=1.5, hint=hint)
        deployment.when_put(number / len(HINTS))
    deployment.drain()


def outage(seconds: float) -> Fault:
    """Take Mailgun away for `seconds`: resets, 503, and no answer at all.

    Real outages last longer; the waits of the workers are shortened as much.
    """

    def act(deployment: Deployment) -> None:
        deployment.when_put(0.3)
        _take_mailgun_away(deployment)
        _pause(seconds)
        deployment.control.clear_faults()
        ended, before = time.time(), deployment.control.totals()["touched"]
        deployment.until(
            lambda: deployment.control.totals()["touched"] > before,
            "Mailgun's recovery noticed",
            90,
        )
        deployment.back(time.time() - ended)

    act.__doc__ = outage.__doc__
    return act


def be_slow_and_hang(deployment: Deployment) -> None:
    """Answer late, half, or never, and apply the change in most cases."""
    deployment.control.latency(40)
    deployment.control.add_fault("latency", share=0.1, ms=300)
    deployment.control.add_fault("hang_after_commit", method="POST", share=0.04, seconds=3)
    deployment.control.add_fault("hang", share=0.01, seconds=3)
    deployment.control.add_fault("truncated", method="POST", share=0.03)
    deployment.drain()


def apply_after_time_out(deployment: Deployment) -> None:
    """Apply some changes only after the worker has given up waiting.

    They are applied after twice the read time-out.
    """
    deployment.control.add_fault(
        "latency", method="POST", share=0.05, ms=int(2000 * READ_TIMEOUT_SECONDS)
    )
    deployment.drain()


def read_late(deployment: Deployment) -> None:
    """Answer all reads with what Mailgun stored three seconds ago (if brief, one second)."""
    deployment.control.switches(read_lag_seconds=1 if deployment.brief else 3)
    deployment.drain()


def miss_members(deployment: Deployment) -> None:
    """Answer a tenth of the reads of a member with 404."""
    deployment.control.add_fault("member_not_found", share=0.1)
    deployment.drain()


def apply_after_the_lease(deployment: Deployment) -> None:
    """Apply some changes when other workers have long written the member.

    They are applied after four read time-outs.
    """
    deployment.control.add_fault(
        "latency", method="POST", share=0.05, ms=int(4000 * READ_TIMEOUT_SECONDS)
    )
    deployment.drain()


def fail_once_stored(deployment: Deployment) -> None:
    """Answer a tenth of the applied writes with 500 or 504."""
    for status in (500, 504):
        deployment.control.add_fault(
            "status_after_commit", method="POST", share=0.05, status=status
        )
    deployment.drain()


def stop_one_in_mid_request(deployment: Deployment) -> None:
    """Stop one worker (SIGSTOP) with requests under way, three times.

    It goes on when other workers have its members.
    """
    deployment.control.latency(60)
    for share in deployment.moments(0.2, 0.45, 0.7):
        deployment.when_put(share)
        deployment.until(lambda: _under_way(deployment), "requests under way")
        with deployment.producer.trickling():
            deployment.stop_for_a_while(deployment.workers[0], LEASE_SECONDS + 3)
    deployment.drain()


def wrong_key(deployment: Deployment) -> None:
    """Make the key wrong, then right again; do it once more with 403 as the answer.

    The dead letters are replayed at the end.
    """
    for share in deployment.moments(0.3, 0.65):
        deployment.when_put(share)
        _spoil_key(deployment, 401 if share < 0.5 else 403)


def opt_out_while_paused(deployment: Deployment) -> None:
    """Click unsubscribe links while the integration is paused and no event is in flight."""
    gate, random = deployment.gate(), Random(1)
    for share in deployment.moments(0.3, 0.5, 0.75):
        deployment.when_put(share)
        deployment.until(lambda: _clickable(deployment), "members who may click")
        gate.pause()
        deployment.until(lambda: not deployment.in_flight(), "empty hands")
        _click(deployment, random, 0.4)
        _pause(deployment.mode.blind_seconds)  # until each worker must know of the clicks
        gate.resume()


def opt_out_at_any_moment(deployment: Deployment) -> None:
    """Click unsubscribe links at any moment."""
    random = Random(2)
    for percent in range(10, 100, 2):
        deployment.when_put(percent / 100)
        _click(deployment, random, 0.02)


def opt_out_with_task_ids(deployment: Deployment) -> None:
    """Click unsubscribe links at any moment, while bulk answers have a task-id.

    A worker is killed meanwhile.
    """
    deployment.control.switches(bulk_answer="list_and_task_id")
    deployment.control.latency(60)
    deployment.until(
        lambda: deployment.redis.exists(f"signal:{deployment.integration}:synced"), "a sync"
    )
    random = Random(4)
    for percent in range(10, 100, 10 if deployment.brief else 2):
        deployment.when_put(percent / 100)
        if percent == 50 and not deployment.brief:
            _kill_in_mid_request(deployment, 1)
        _click(deployment, random, 0.02)
    if deployment.mode.settings.get("MAILGUN_MEMBER_STATE") == "ledger":
        reads = sum(
            each.method == "GET" and each.address is not None
            for each in deployment.control.requests()
        )
        deployment.note("{:.0f} requests read a single member", reads)


def store_in_background(deployment: Deployment) -> None:
    """Store the members of each bulk call 0.3 s after its answer, later 3 s, then at once."""
    for share, seconds in zip((0.0, 0.4, 0.7), (0.3, 3.0, 0.0), strict=True):
        deployment.when_put(share)
        deployment.control.switches(bulk_answer="task_id", bulk_job_seconds=seconds)
    deployment.drain()


def refuse_addresses(deployment: Deployment) -> None:
    """Refuse every thirtieth address, however plain it looks.

    Members that share a bulk request with such an address must not suffer.
    """
    facts = {each.id: each.fact.address for each in deployment.producer.sent if each.fact}
    refused = set(sorted(set(facts.values()))[::30])
    deployment.control.refuse(*refused)
    deployment.drain()
    rejected = {
        each.message.id
        for each in deployment.letters.oldest_first()
        if each.letter.reason == "rejected"
    }
    died = {facts[each] for each in rejected}
    assert died
    assert died <= refused
    deployment.note(
        "{:.0f} events of {:.0f} refused addresses died alone", len(rejected), len(died)
    )


BAD: tuple[Mapping[str, Any], ...] = (
    {"kind": "status", "status": 500},
    {"kind": "other_member"},
    {"kind": "truncated"},
    {"kind": "hang", "seconds": 3},
)


def a_few_bad_members(deployment: Deployment) -> None:
    """Answer 500, strangely, half or never for one member each, those with most events.

    No other member waits.
    """
    counts = Counter(each.fact.address for each in deployment.producer.sent if each.fact)
    for fault, (address, _) in zip(BAD, counts.most_common(len(BAD)), strict=True):
        deployment.control.add_fault(address=address, **fault)
        deployment.bad.add(address)
    healthy = [
        each.id
        for each in deployment.producer.sent
        if not (each.fact and each.fact.address in deployment.bad)
    ]
    deployment.when_put(1.0)
    deployment.until(
        lambda: not set(healthy) - deployment.ended_ids(), "an end of all other events", 30
    )
    bad = len(deployment.producer.sent) - len(healthy)
    deployment.note(
        "{:.0f} events of {:.0f} bad members among {:.0f}",
        bad,
        len(BAD),
        len(deployment.producer.sent),
    )


def hang_one_hot_member(deployment: Deployment) -> None:
    """Let all writes of the member with most events hang until all other events have ended.

    A worker is killed meanwhile.
    """
    counts = Counter(each.fact.address for each in deployment.producer.sent if each.fact)
    [(hot, count)] = counts.most_common(1)
    deployment.control.add_fault("hang", method="POST", address=hot, seconds=600)
    deployment.bad.add(hot)
    others = {
        each.id for each in deployment.producer.sent if not (each.fact and each.fact.address == hot)
    }
    if not deployment.brief:
        deployment.control.latency(60)
        deployment.when_put(0.5)
        _kill_in_mid_request(deployment, 1)
    deployment.when_put(1.0)
    took = deployment.until(
        lambda: not others - deployment.ended_ids(), "an end of all others' events", 120
    )
    deployment.note(
        "others had ended {:.0f} s after the last was put, "
        "while {:.0f} events of one member waited",
        took,
        count,
    )
    deployment.control.clear_faults()
    deployment.drain()


def refuse_everything(deployment: Deployment) -> None:
    """Answer all writes with 302, then 400, while the list can be read.

    Only a handful of events become dead letters, however long that lasts.
    """
    gate = deployment.gate()
    for share, status in zip(deployment.moments(0.3, 0.65), (302, 400), strict=False):
        deployment.when_put(share)
        before = deployment.letters.count()
        deployment.control.add_fault("status", status=status, method="POST")
        with deployment.sparing():
            deployment.until(lambda: gate.state().kind == "incident", "an incident")
            looks = [gate.state().since]

            def comes_again(seen: list[float | None] = looks) -> bool:
                state = gate.state()
                if state.kind == "incident" and state.since not in seen:
                    seen.append(state.since)
                return len(seen) > 2

            deployment.until(comes_again, "an incident that comes again, twice")
            deployment.note(
                "{:.0f} dead letters while everything was answered {:.0f}",
                deployment.letters.count() - before,
                status,
            )
            deployment.control.clear_faults()
            deployment.back(
                deployment.until(lambda: gate.state().kind != "incident", "an end of the incident")
            )


def throttle_one_in_fifty(deployment: Deployment) -> None:
    """Answer one request in fifty, at random, with 429 and no hint."""
    deployment.control.add_fault("status", share=0.02, status=429)
    deployment.drain()


def everything_together(deployment: Deployment) -> None:
    """Cause all faults in one run."""
    random = Random(3)
    deployment.control.latency(20)
    deployment.control.add_fault("status", share=0.03, status=503)
    deployment.control.add_fault("html_502", share=0.02)
    deployment.control.add_fault("hang_after_commit", method="POST", share=0.02, seconds=3)
    if not deployment.brief:  # the pace learned from repeated 429s would outlast a short run
        deployment.control.limit(
            deployment.requests_for(2 * deployment.mode.throttled),
            window_seconds=1.5,
            hint="retry_after_seconds",
        )
    deployment.when_put(0.15)
    deployment.until(lambda: _clickable(deployment), "members who may click")
    _click(deployment, random, 0.1)
    _kill_in_mid_request(deployment, 1)
    deployment.when_put(0.3)
    _cut_connections(deployment)
    _click(deployment, random, 0.1)
    deployment.when_put(0.45)
    _restart_redis(deployment)
    deployment.when_put(0.6)
    _spoil_key(deployment, 401)
    deployment.control.add_fault("status", status=429, hint="reset_ms", wait_seconds=1.5, count=1)
    _click(deployment, random, 0.1)
    deployment.when_put(0.75)
    with deployment.sparing():
        fresh = deployment.start_worker()
        assert deployment.terminate(deployment.workers[0]) == 0
        fresh.ready()
    deployment.when_put(0.8)
    _kill_in_mid_request(deployment, len(deployment.workers))
    _click(deployment, random, 0.1)
    deployment.drain()


def _kill_in_mid_request(deployment: Deployment, count: int) -> None:
    deployment.until(
        lambda: _under_way(deployment) and _each_has_some(deployment, count), "requests under way"
    )
    in_flight = deployment.in_flight_ids()
    deployment.kill(*deployment.workers[:count])
    deployment.in_flight_when_killed.append((time.time(), in_flight))
    with deployment.sparing():
        deployment.start_workers(count)


def _under_way(deployment: Deployment) -> bool:
    return any(each["status"] is None for each in deployment.control.state()["requests"])


def _each_has_some(deployment: Deployment, count: int) -> bool:
    """Return True if `count` workers must each have events in flight.

    It is also True if so few events come at once that it cannot be known.
    """
    others = (len(deployment.workers) - count) * deployment.threads
    return (
        len(deployment.in_flight_ids()) > others
        or deployment.producer.share >= 1.0
        or deployment.producer.burst <= others
    )


def _restart_redis(deployment: Deployment) -> None:
    deployment.server.kill()
    gone = time.time()
    # At full speed, the events could all be put and end before the last worker is back.
    with deployment.producer.trickling():
        _pause(REDIS_AWAY_SECONDS)
        deployment.start_redis()
        again = time.time()
        deployment.unlucky.append((gone - 2, again + 1))
        deployment.back(deployment.each_consumes_again(again))


def _cut_connections(deployment: Deployment) -> None:
    cut = time.time()
    deployment.redis.client_kill_filter(_type="normal", skipme=True)
    with deployment.producer.trickling():
        deployment.unlucky.append((cut - 1, cut + 2))
        deployment.back(deployment.each_consumes_again(cut))


def _take_mailgun_away(deployment: Deployment) -> None:
    deployment.control.add_fault("hang", share=0.05, seconds=3)
    deployment.control.add_fault("reset", share=0.4)
    deployment.control.add_fault("status", status=503)


def _spoil_key(deployment: Deployment, status: int) -> None:
    deployment.control.switches(bad_key_status=status)
    deployment.control.set_key("another")
    gate = deployment.gate()
    with deployment.sparing():
        deployment.until(lambda: gate.state().kind == "incident", "an incident")
        deployment.until(lambda: not deployment.in_flight(), "empty hands")
        deployment.note("{:.0f} dead letters of a wrong key", float(deployment.letters.count()))
        deployment.control.set_key(KEY)
        deployment.back(
            deployment.until(lambda: gate.state().kind != "incident", "an end of the incident")
        )


def _click(deployment: Deployment, random: Random, share: float) -> None:
    """Unsubscribe this share of the subscribed members that never denied consent."""
    for address in _sample(random, _clickable(deployment), share):
        deployment.control.unsubscribe(address)


def _clickable(deployment: Deployment) -> list[str]:
    members = deployment.control.members()
    return sorted(
        each for each in deployment.clickers if each in members and members[each].subscribed
    )


def _sample(random: Random, addresses: list[str], share: float) -> Iterable[str]:
    return random.sample(addresses, min(len(addresses), max(1, round(len(addresses) * share))))


def _pause(seconds: float) -> None:
    """Sleep, because the fault is an absence of this length."""
    time.sleep(seconds)


def memory(deployment: Deployment) -> float:
    """Return the resident memory of the largest worker, in MB."""
    return max(
        (resident_megabytes(each) for each in deployment.workers if each.process.poll() is None),
        default=0.0,
    )
