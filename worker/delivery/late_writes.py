"""Writes whose end is not known, looked after: read again for a while, and written anew where an older one won.

    signal:<integration>:look_after   sorted set   address -> when to look, epoch seconds by Redis's clock; as long as
                                                   Mailgun may yet apply such a write (MAILGUN_READ_LAG_SECONDS)

A request that timed out may be applied later, over newer values; so may one of a worker that was stopped in between.
The ledger notes such members as it closes them (close.lua). Any worker takes its turn. Each look is a delivery without
an event: what Mailgun holds is overlaid with what events have set, and written if that differs. It never creates a
member.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from worker.delivery.deliverer import Deliverer
from worker.gate.gate import ALLOW_WHEN_FULL
from worker.members.ledger import Ledger
from worker.redis_client.lua import script

AT_ONCE = 20  # members that a worker looks at in a second, at most
CLAIM_SECONDS = 30.0  # after which a look that came to nothing is due again

CLAIM = ALLOW_WHEN_FULL + script("worker.delivery", "late_writes")


@dataclass(frozen=True)
class LateWrites:
    """The members of one integration that are to be looked at again."""

    delivery: Deliverer
    ledger: Ledger

    def due(self) -> list[str]:
        """Claim the members to look at now, and return their addresses. Cheap: to be asked once a second."""
        gate = self.ledger.gate
        keys = [*gate.keys, self.ledger.keys.look_after]
        return [
            str(each)
            for each in self._claim(keys=keys, args=[*gate.first_args(), AT_ONCE, CLAIM_SECONDS])
        ]

    def look(self, addresses: list[str]) -> None:
        """Look at these members; their claims are followed up as they are closed. Raises `redis.RedisError`."""
        self.delivery.repair(addresses)

    @cached_property
    def _claim(self) -> Any:
        return self.ledger.gate.script(CLAIM)
