"""Rate limiters as Mailgun may have them, and a worker's requests against them.

The real scripts run, in time that the test drives.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, cast

from tests.integrations import OwnIntegration
from worker.gate.config import GateConfig
from worker.gate.gate import LIBRARY

STEP_SECONDS = 0.1
LATENCY_SECONDS = 0.1
SLOTS = 16  # requests under way at once: about a hundred a second if nothing limits them

# One step: report what has been answered, then fetch as many events as the gate allows.
STEP = (
    LIBRARY.replace("redis.call('TIME')", "{ARGV[2], 0}")
    + """
for _, answer in ipairs(cjson.decode(ARGV[3])) do report(unpack(answer)) end
local fetched = allowance(tonumber(ARGV[4]))
charge(fetched)
return {fetched, tostring(rate() or ''), tostring(hold_seconds(false))}
"""
)

# Called with the time of a request. None lets it through, else the seconds until the next may come.
Limiter = Callable[[float], float | None]


def at_random(share: float, seed: int = 1) -> Limiter:
    """Return a limiter that refuses this share of all requests, whatever the rate."""
    random = Random(seed)
    return lambda _now: 1.0 if random.random() < share else None


def token_bucket(a_minute: float, burst: float) -> Limiter:
    """Return a token bucket that holds `burst` tokens and refills by `a_minute` a minute."""
    tokens, at = burst, 0.0

    def wait(now: float) -> float | None:
        nonlocal tokens, at
        tokens, at = min(burst, tokens + (now - at) * a_minute / 60), now
        if tokens < 1:
            return (1 - tokens) * 60 / a_minute
        tokens -= 1
        return None

    return wait


def fixed_window(requests: int, seconds: float = 60.0, offset: float = 13.0) -> Limiter:
    """Return a limiter that allows `requests` in each window of `seconds` by the clock."""
    window, passed = -1.0, 0

    def wait(now: float) -> float | None:
        nonlocal window, passed
        current = (now + offset) // seconds
        if current != window:
            window, passed = current, 0
        passed += 1
        return (current + 1) * seconds - offset - now if passed > requests else None

    return wait


def sliding_counter(requests: int, seconds: float = 60.0) -> Limiter:
    """Return a limiter by the clock that counts the last window's requests in part, too.

    Their part shrinks from the whole to nothing while the current window passes.
    """
    window, passed, before = -1.0, 0, 0

    def wait(now: float) -> float | None:
        nonlocal window, passed, before
        current, share = now // seconds, now % seconds / seconds
        if current != window:
            window, passed, before = current, 0, passed if current == window + 1 else 0
        if before * (1 - share) + passed >= requests:
            return 1.0
        passed += 1
        return None

    return wait


def outage(seconds: float) -> Limiter:
    """Return a limiter that refuses all requests for so long, and then none."""
    return lambda now: 1.0 if now < seconds else None


def changing(at: float, first: Limiter, then: Limiter) -> Limiter:
    """Return a limiter that is `first` until `at`, and `then` from that moment on."""
    return lambda now: (first if now < at else then)(now)


def one_connection(own: OwnIntegration) -> Any:
    """Return a client that does not look for a connection at each of a hundred thousand calls."""
    return cast("Any", own.redis).client()


@dataclass
class Minutes:
    """The number of passed and refused requests in each minute, from 0."""

    passed: dict[int, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)

    def let_through(self, first: int, last: int) -> float:
        """Return the passed requests a minute from minute `first` to `last`, inclusive."""
        return sum(self.passed.get(each, 0) for each in range(first, last + 1)) / (last - first + 1)

    def refused_share(self, first: int, last: int) -> float:
        """Return the share of refused requests from minute `first` to `last`, inclusive."""
        refused = sum(self.refused.get(each, 0) for each in range(first, last + 1))
        passed = sum(self.passed.get(each, 0) for each in range(first, last + 1))
        return refused / max(1, refused + passed)


def against(
    limiter: Limiter,
    own: OwnIntegration,
    rules: GateConfig,
    *,
    minutes: int,
    hints: bool = False,
    demand: float = 1e9,
    slots: int = SLOTS,
    seed: int = 7,
) -> Minutes:
    """Send requests against the limiter and return their counts.

    Args:
        limiter: The limiter.
        own: The integration whose gate is used.
        rules: The gate's configuration.
        minutes: How long, in the test's time.
        hints: Whether a refusal tells how long to wait.
        demand: Events that come each second.
        slots: Requests under way at once.
        seed: The seed of latencies and jitter.
    """
    keys, step = list(own.gate().keys), one_connection(own).register_script(STEP)
    random, result = Random(seed), Minutes()
    under_way: list[float] = []  # the times of their answers
    wanted, began = 0.0, 1_700_000_000.0
    now, elapsed = 0.0, STEP_SECONDS
    while now < minutes * 60:
        wanted = min(wanted + demand * elapsed, 1e6)
        ended = [each for each in under_way if each <= now]
        under_way = [each for each in under_way if each > now]
        answers = []
        for _ in ended:
            wait = limiter(now)
            counts = result.passed if wait is None else result.refused
            counts[int(now // 60)] = counts.get(int(now // 60), 0) + 1
            kind = "delivered" if wait is None else "throttled"
            answers.append([kind, 1, (wait or 0) if hints else 0, "why", ["m"], True])
            wanted += wait is not None
        want = min(int(wanted), slots - len(under_way))
        args: list[Any] = [rules.to_json(random.random()), began + now, json.dumps(answers), want]
        taken, _, hold = cast("Any", step(keys=keys, args=args))
        wanted -= taken
        under_way += [now + LATENCY_SECONDS * random.uniform(0.5, 1.5) for _ in range(taken)]
        # Nothing happens during a hold.
        elapsed = STEP_SECONDS if under_way else max(STEP_SECONDS, float(hold))
        now += elapsed
    return result


# What a worker asks of the gate for a batch, each as one call of a script.
ASKS = {
    "fetch": "local n, wait = allowance(tonumber(ARGV[3])); charge(n * rules.event_cost); "
    "return {n, tostring(wait)}",
    "wait": "return {0, tostring(hold_seconds(true))}",
    "charge": "charge(tonumber(ARGV[3])); return {0, '0'}",
    "report": "for _, each in ipairs(cjson.decode(ARGV[3])) do report(unpack(each)) end; "
    "return {0, '0'}",
}
AT_ONCE = 32  # members of a batch that are read at once


@dataclass
class Batches:
    """Threads of workers that read each member and write those of a batch together.

    Attributes:
        limiter: The limiter.
        own: The integration whose gate is used.
        rules: The gate's configuration.
        room: The events that a thread fetches at most.
        requests: The counts of requests.
        events: The number of written events in each minute, from 0.
    """

    limiter: Limiter
    own: OwnIntegration
    rules: GateConfig
    room: int = 100
    requests: Minutes = field(default_factory=Minutes)
    events: dict[int, int] = field(default_factory=dict)
    _now: float = 0.0

    def run(self, *, threads: int, minutes: float, seed: int = 7) -> None:
        """Let so many threads deliver events for so long, in the test's time."""
        random = Random(seed)
        steps = [(random.random() / 10, number) for number in range(threads)]
        running = [self._thread(random) for _ in range(threads)]
        while (first := min(steps))[0] < minutes * 60:
            steps.remove(first)
            self._now, number = first
            steps.append((self._now + next(running[number]), number))

    def _thread(self, random: Random) -> Iterator[float]:
        """Deliver batches; yield the seconds that pass until the next step."""
        while True:
            count, wait = self._ask("fetch", self.room, random)
            if not count:
                yield min(max(wait, 0.01), 0.5)
                continue
            sent = read = written = 0
            while sent < count and read == sent and not self._ask("wait", "", random)[1]:
                yield LATENCY_SECONDS * random.uniform(0.5, 1.5)
                some = min(AT_ONCE, count - sent)
                sent, read = sent + some, read + self._passed(some, random)
            charged = self.rules.event_cost * count
            if sent == count and read == sent and not self._ask("wait", "", random)[1]:
                self._ask("charge", count + 1 - charged, random)
                charged = sent = count + 1
                yield LATENCY_SECONDS * random.uniform(0.5, 1.5)
                written = self._passed(1, random)
                minute = int(self._now // 60)
                self.events[minute] = self.events.get(minute, 0) + read * written
            self._ask("charge", sent - charged, random)
            passes = [["delivered", read + written, 0, "", ["m"], True]]
            self._ask("report", json.dumps(passes), random)

    def _passed(self, requests: int, random: Random) -> int:
        """Send requests, report those that are refused, and return how many passed."""
        refused = sum(self.limiter(self._now) is not None for _ in range(requests))
        minute, passed = int(self._now // 60), requests - refused
        self.requests.passed[minute] = self.requests.passed.get(minute, 0) + passed
        self.requests.refused[minute] = self.requests.refused.get(minute, 0) + refused
        report = json.dumps([["throttled", 1, 0, "", ["m"], True]] * refused)
        self._ask("report", report, random)
        return passed

    def _ask(self, what: str, argument: object, random: Random) -> tuple[int, float]:
        args = [self.rules.to_json(random.random()), 1_700_000_000.0 + self._now, str(argument)]
        script = self._scripts[what]
        count, wait = cast("Any", script(keys=self._keys, args=args))
        return int(count), float(wait)

    @cached_property
    def _scripts(self) -> dict[str, Any]:
        library = LIBRARY.replace("redis.call('TIME')", "{ARGV[2], 0}")
        client = one_connection(self.own)
        return {name: client.register_script(library + body) for name, body in ASKS.items()}

    @cached_property
    def _keys(self) -> list[str]:
        return list(self.own.gate().keys)


def starting_window(requests: int, seconds: float = 60.0) -> Limiter:
    """Return a limiter that allows `requests` in a window that begins with its first request."""
    ends, passed = -1.0, 0

    def wait(now: float) -> float | None:
        nonlocal ends, passed
        if now >= ends:
            ends, passed = now + seconds, 0
        passed += 1
        return ends - now if passed > requests else None

    return wait
