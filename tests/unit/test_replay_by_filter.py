"""Whether a replay by filter goes on, and with which limit."""

import pytest

from worker.queue.replay_by_filter import REPLAY_AT_ONCE, ReplayResult


@pytest.mark.parametrize(
    ("offered", "moved", "limit", "rest"),
    [
        (REPLAY_AT_ONCE, REPLAY_AT_ONCE, None, {}),
        (REPLAY_AT_ONCE, REPLAY_AT_ONCE - 1, None, {}),
        (REPLAY_AT_ONCE, REPLAY_AT_ONCE - 1, REPLAY_AT_ONCE, {"limit": 1}),
        (REPLAY_AT_ONCE, REPLAY_AT_ONCE, REPLAY_AT_ONCE, None),
        (REPLAY_AT_ONCE, 1500, 5000, {"limit": 3500}),
        (REPLAY_AT_ONCE, 0, None, None),
        (REPLAY_AT_ONCE - 1, REPLAY_AT_ONCE - 1, None, None),
        (7, 5, 7, None),
    ],
)
def test_replay_continues_with_the_rest_of_its_limit(
    offered: int, moved: int, limit: int | None, rest: dict[str, int] | None
) -> None:
    assert ReplayResult(offered, moved).rest(limit) == rest
