"""A retry that doubts its neighbours: where one connection to Redis turned out to be dead, the idle ones probably are, too."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    import redis

RETRIES = 1
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 0.5


class ReconnectRetry(Retry):
    """One more try on a new connection, after which whoever called is told; the pool's idle connections are closed.

    After a failover whose old address answers no more, each idle connection would else cost a whole time-out of its own.
    Every command that this program sends may be repeated: no event is lost or erased by it, no member stays taken, no dead letter
    is counted twice. Where an answer says whether *this* call did a thing, that of a repeat says no, since the first has done it:
    `pause` and `resume`, how much `forget` erased besides dead letters, whose turn it is to read or to look after members; such a
    turn passes unused. What is charged or counted (pace, tally, reports) may be so twice; what is enqueued may be there twice.
    """

    def __init__(self) -> None:
        """Belong to no pool yet: set `pool` once it is made."""
        super().__init__(
            ExponentialWithJitterBackoff(base=FIRST_PAUSE_SECONDS, cap=LONGEST_PAUSE_SECONDS),
            RETRIES,
        )
        self.pool: redis.ConnectionPool | None = None

    def __deepcopy__(self, _memo: Any) -> "ReconnectRetry":
        """Return itself: redis-py copies it into each connection, and all of them have one pool."""
        return self

    def call_with_retry(
        self, do: Callable[[], Any], fail: Callable[..., Any], *args: Any, **options: Any
    ) -> Any:
        """Call `do` as `redis.retry.Retry` does. Raises what `do` raised last."""

        def close_idle_too(*failure: Any) -> None:
            fail(*failure)
            if self.pool is not None:
                self.pool.disconnect(inuse_connections=False)

        return super().call_with_retry(do, close_idle_too, *args, **options)
