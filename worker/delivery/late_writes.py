"""Repair of late writes: members are read again after a write without an answer.

Mailgun may apply a request that timed out later, over newer values. The same is true of a request
of a worker that was suspended. The ledger marks such members in `Keys.look_after` as it releases
them (close.lua), for as long as Mailgun may still apply the write (MAILGUN_READ_LAG_SECONDS).

Any worker may claim a look that is due. A look is a delivery without an event: the values that
events have set are laid over what Mailgun holds, and the member is written if that differs. A look
never creates a member.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from worker.delivery.deliverer import Deliverer
from worker.gate.gate import ALLOW_WHEN_FULL
from worker.members.ledger import Ledger
from worker.redis_client.lua import script

AT_ONCE = 20  # members that a worker looks at in a second, at most
# After which a look without a result is due again: its member was locked, or its worker stopped. A
# look may take longer; then another one finds the member locked.
CLAIM_SECONDS = 3.0

CLAIM = ALLOW_WHEN_FULL + script("worker.delivery", "late_writes")


@dataclass(frozen=True)
class LateWrites:
    """The members of one integration that are marked for a later look."""

    delivery: Deliverer
    ledger: Ledger

    def due(self) -> list[str]:
        """Claim the members whose look is due, and return their addresses.

        A worker calls this once a second: one script, which returns no member during a hold.
        """
        gate = self.ledger.gate
        keys = [*gate.keys, self.ledger.keys.look_after]
        return [
            str(each)
            for each in self._claim(keys=keys, args=[*gate.first_args(), AT_ONCE, CLAIM_SECONDS])
        ]

    def look(self, addresses: list[str]) -> None:
        """Look at these members. Their release ends the claim, or sets the time of the next look.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        self.delivery.repair(addresses)

    @cached_property
    def _claim(self) -> Any:
        return self.ledger.gate.script(CLAIM)
