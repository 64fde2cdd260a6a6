"""Rate limiters as Mailgun may have them, and a worker's requests against them.

The real scripts run, in time that the test drives.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
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


def changing(at: float, first: Limiter, then: Limiter) -> Limiter:
    """Return a limiter that is `first` until `at`, and `then` from that moment on."""
    return lambda now: (first if now < at else then)(now)


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
    step = own.redis.register_script(STEP)
    random, result = Random(seed), Minutes()
    under_way: list[float] = []  # the times of their answers
    wanted, began = 0.0, 1_700_000_000.0
    for number in range(int(minutes * 60 / STEP_SECONDS)):
        now = number * STEP_SECONDS
        wanted = min(wanted + demand * STEP_SECONDS, 1e6)
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
        taken, *_ = cast("Any", step(keys=list(own.gate().keys), args=args))
        wanted -= taken
        under_way += [now + LATENCY_SECONDS * random.uniform(0.5, 1.5) for _ in range(taken)]
    return result
