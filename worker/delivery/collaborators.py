"""The collaborators of a batch write, for one mailing list."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from worker.delivery.batch_policy import BatchPolicy
from worker.delivery.bulk_trust import BulkTrust
from worker.delivery.member_store import MemberStore
from worker.gate.gate import Gate
from worker.greenlet_pool import Pool
from worker.mailgun.client import MailgunClient
from worker.members.merge import SubscriptionRules

# Called when a hold begins or ends, with its kind and the reason.
OnHoldChange = Callable[[str, str], None]


def ignore_hold_change(_kind: str, _why: str) -> None:
    """Do nothing: the default of `OnHoldChange`."""


@dataclass(frozen=True)
class Collaborators:
    """The collaborators of a batch write, for one mailing list.

    Attributes:
        mailgun: The client of the list.
        gate: The circuit breaker and the token bucket.
        member_store: Leases the members.
        rules: The rules for subscriptions.
        batch_policy: Says which members share calls.
        bulk_trust: Says whether members share calls, and which call is sampled.
        pool: Reads members, or writes them alone, several at a time.
        clock: Returns the current time, UTC.
        on_hold_change: Called when a hold begins or ends.
        lag: MAILGUN_READ_LAG_SECONDS.
    """

    mailgun: MailgunClient
    gate: Gate
    member_store: MemberStore
    rules: SubscriptionRules
    batch_policy: BatchPolicy
    bulk_trust: BulkTrust
    pool: Pool
    clock: Callable[[], datetime]
    on_hold_change: OnHoldChange
    lag: float = 0.0
