"""Repair of late writes: members are read again after a write without an answer.

Mailgun may apply a request that timed out later, over newer values. The same is true of a request
of a worker that was suspended. The ledger marks such members in `Keys.look_after` as it releases
them (release.lua), for as long as Mailgun may still apply the write (MAILGUN_READ_LAG_SECONDS).

Any worker may claim a look that is due. A look is a delivery without an event: the values that
events have set are laid over what Mailgun holds, and the member is written if that differs. A look
never creates a member.
"""

from dataclasses import dataclass

from worker.delivery.deliverer import Deliverer
from worker.members.ledger import Ledger
from worker.redis_client.lua import ALLOW_WHEN_FULL, script

AT_ONCE = 20  # members that a worker looks at in a second, at most
CLAIM_SECONDS = 30.0  # after which a look without a result is due again
LOCKED_SECONDS = 3.0  # the same, if the member was locked

CLAIM = ALLOW_WHEN_FULL + script("worker.delivery", "late_writes")
PUT_OFF = script("worker.delivery", "put_off_looks")


@dataclass(frozen=True)
class LateWrites:
    """The members of one integration that are marked for a later look."""

    delivery: Deliverer
    ledger: Ledger

    def due(self) -> list[str]:
        """Claim the members whose look is due, and return their addresses.

        A worker calls this once a second: one script, which returns no member during a hold.
        """
        keys = [self.ledger.keys.look_after]
        due = self.ledger.gate.run(CLAIM, keys, AT_ONCE, CLAIM_SECONDS)
        return [str(each) for each in due]

    def look(self, addresses: list[str]) -> None:
        """Look at these members. Their release ends the claim, or sets the time of the next look.

        A member that was locked is due again within seconds.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        locked = self.delivery.repair(addresses)
        if locked:
            put_off = self.ledger.gate.redis.register_script(PUT_OFF)
            put_off(keys=[self.ledger.keys.look_after], args=[LOCKED_SECONDS, *locked])
