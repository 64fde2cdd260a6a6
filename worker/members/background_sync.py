"""Background sync: workers read the whole list into the ledger by themselves, one at a time.

The first sync is due at once, the next one when what the last one stored is half as old as the
ledger remembers. Pages are background requests, which take every other token of the pace at most.
A sync whose worker died is gone on with by another worker once its lease has ended.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import uuid4

from worker.mailgun.outcome import Outcome
from worker.members.opt_outs import LONGEST_WAIT_SECONDS
from worker.members.page_import import AnotherList, RetryAfter
from worker.members.sync import ListSync, SyncReplaced
from worker.members.sync_progress import SyncProgress


@dataclass(frozen=True)
class SyncLease:
    """A worker's lease of the sync.

    Attributes:
        sync: The sync, with the token of the lease.
        so_far: The progress when the lease began.
    """

    sync: ListSync
    so_far: SyncProgress


@dataclass(frozen=True)
class BackgroundSync:
    """The background sync of one integration.

    Attributes:
        sync: The sync.
        sleep: Waits for a number of seconds.
    """

    sync: ListSync
    sleep: Callable[[float], None] = time.sleep

    def try_start(self) -> SyncLease | None:
        """Return a lease if a sync is due or unfinished and no other process runs it."""
        sync = replace(self.sync, token=uuid4().hex)
        so_far = sync.try_start()
        return SyncLease(sync, so_far) if so_far else None

    def run(self, lease: SyncLease) -> SyncProgress | Outcome | None:
        """Read on until the sync is complete, or as far as it gets now.

        Returns:
            The progress of the complete sync; the outcome of a request that returned no page; or
            None if the gate closed, another process has the sync by now, or workers another list.
        """
        try:
            for step in lease.sync.steps(lease.so_far, self.sync.page_importer.count()):
                match step:
                    case RetryAfter(seconds) if seconds <= LONGEST_WAIT_SECONDS:
                        self.sleep(seconds)
                    case RetryAfter():
                        lease.sync.leave(failed=False)
                        return None
                    case Outcome():
                        lease.sync.leave(failed=True)
                        return step
                    case SyncProgress() if step.query is None:
                        return step
        except (SyncReplaced, AnotherList):
            return None
        return None
