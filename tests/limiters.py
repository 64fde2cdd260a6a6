"""Limiters as Mailgun may have them, and a worker's requests against them under the real scripts, in time that a test drives."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from tests.integrations import OwnIntegration
from worker.gate.config import GateConfig
from worker.gate.gate import LIBRARY, keys

STEP_SECONDS = 0.1
LATENCY_SECONDS = 0.1
SLOTS = 16  # requests under way at once: about a hundred a second where nothing limits them

# One step: what has been answered is reported, then as much is taken as may be.
STEP = (
    LIBRARY.replace("redis.call('TIME')", "{ARGV[2], 0}")
    + """
for _, answer in ipairs(cjson.decode(ARGV[3])) do report(unpack(answer)) end
local taken = allowance(tonumber(ARGV[4]))
charge(taken)
return {taken, tostring(rate() or ''), tostring(held(false))}
"""
)

Limiter = Callable[[float], float | None]
"""Given the moment of a request: None lets it through, else the seconds until the next one may be."""


def at_random(share: float, seed: int = 1) -> Limiter:
    """So many of all requests are refused, whatever the rate."""
    random = Random(seed)
    return lambda _now: 1.0 if random.random() < share else None


def token_bucket(a_minute: float, burst: float) -> Limiter:
    """A bucket of `burst` that fills by so many a minute."""
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
    """So many requests in each window of so many seconds by the clock."""
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
    """One limiter until that moment, another from then on."""
    return lambda now: (first if now < at else then)(now)


@dataclass
class Minutes:
    """What came of the requests in each minute."""

    passed: dict[int, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)

    def let_through(self, first: int, last: int) -> float:
        """Requests a minute that were let through in the minutes from `first` to `last`, counted from 0."""
        return sum(self.passed.get(each, 0) for each in range(first, last + 1)) / (last - first + 1)

    def refused_share(self, first: int, last: int) -> float:
        """Of all requests in these minutes, how many were refused."""
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
    """So many minutes of requests, as many at once as there are `slots`, of which `demand` are wanted a second."""
    step = own.redis.register_script(STEP)
    random, result = Random(seed), Minutes()
    under_way: list[float] = []  # when each is answered
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
        args: list[Any] = [rules.encoded(random.random()), began + now, json.dumps(answers), want]
        taken, *_ = cast("Any", step(keys=list(keys(own.name)), args=args))
        wanted -= taken
        under_way += [now + LATENCY_SECONDS * random.uniform(0.5, 1.5) for _ in range(taken)]
    return result
