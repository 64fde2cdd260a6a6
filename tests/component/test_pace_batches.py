"""Batches against limiters: reads are only sent if the write that they are for follows."""

import pytest

from tests.integrations import OwnIntegration, rules_with
from tests.limiters import Batches, fixed_window, starting_window

RULES = rules_with(base=4, event_cost=1.01)


@pytest.mark.parametrize("threads", [2, 8])
@pytest.mark.parametrize("begins", ["by the clock", "with a request"])
def test_batches_use_the_usual_limit_from_a_cold_start(
    own: OwnIntegration, threads: int, begins: str
) -> None:
    limiter = fixed_window(300) if begins == "by the clock" else starting_window(300)
    batches = Batches(limiter, own, RULES)
    batches.run(threads=threads, minutes=4)
    assert batches.events[0] >= 0.9 * 300
    assert batches.requests.let_through(0, 3) >= 0.95 * 300
    assert batches.requests.refused_share(0, 3) < 0.02
