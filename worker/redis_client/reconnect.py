"""A retry that also closes idle connections: if one is dead, the others probably are, too."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from worker.greenlets import sleep

if TYPE_CHECKING:
    import redis

RETRIES = 1
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 0.5


class Pause(ExponentialWithJitterBackoff):
    """A pause before the next try. redis-py would block the other greenlets of its thread by it."""

    def compute(self, failures: int) -> float:
        """Make the pause after so many failures, and return that no more is to be waited for."""
        sleep(super().compute(failures))
        return 0.0


class ReconnectRetry(Retry):
    """A retry that makes one more try on a new connection, then raises the error.

    It closes the pool's idle connections. After a failover to another address, each of them would
    else cost a whole time-out.

    Every command that this program sends may be repeated: a repeat loses or erases no event, leaves
    no member locked, and counts no dead letter twice. If an answer says whether *this* call did a
    thing, a repeat's answer is no, since the first call did it. This holds for `pause` and
    `resume`, for how much `forget` erased besides dead letters, and for a claim to read or to look
    after members; such a claim passes unused. A repeat may charge or count twice (pace, outcome
    counts, reports), and may enqueue a message twice.
    """

    def __init__(self) -> None:
        """Start without a pool; the caller sets `pool` once it exists."""
        super().__init__(Pause(base=FIRST_PAUSE_SECONDS, cap=LONGEST_PAUSE_SECONDS), RETRIES)
        self.pool: redis.ConnectionPool | None = None

    def __deepcopy__(self, _memo: Any) -> "ReconnectRetry":
        """Return itself: redis-py copies it into each connection, and all share one pool."""
        return self

    def call_with_retry(
        self, do: Callable[[], Any], fail: Callable[..., Any], *args: Any, **options: Any
    ) -> Any:
        """Call `do` as `redis.retry.Retry` does, and close idle connections after a failure.

        Raises:
            Exception: What `do` raised last.
        """

        def close_idle_too(*failure: Any) -> None:
            fail(*failure)
            if self.pool is not None:
                self.pool.disconnect(inuse_connections=False)

        return super().call_with_retry(do, close_idle_too, *args, **options)
