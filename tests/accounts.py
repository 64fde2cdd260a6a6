"""A Mailgun account for tests of many members: the sandbox over HTTP, with an integration's ledger.

Its requests are counted by what they do.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from tests.integrations import OwnIntegration
from tests.sandboxes import RunningSandbox
from worker.delivery.bulk_trust import BulkTrust
from worker.delivery.deliverer import Deliverer
from worker.mailgun.client import MailgunClient
from worker.mailgun.member import Member
from worker.mailgun.response import Response
from worker.members.ledger import Ledger
from worker.members.merge_plan import TimedPatch
from worker.members.opt_outs import OptOutScanner
from worker.members.page_import import PageImporter
from worker.members.record import EventOrder
from worker.members.sync import ListSync
from worker.members.sync_progress import SyncProgress
from worker.signal.patch import Patch

LIST = "newsletter@mg.example.com"
REFRESH_SECONDS = 600.0


def address(number: int) -> str:
    return f"p{number}@example.com"


def wants(number: int, at: float = 1.0, consent: bool | None = None, **vars: Any) -> TimedPatch:  # noqa: FBT001
    return TimedPatch(Patch(address(number), None, vars, consent, None), EventOrder(at))


@dataclass(frozen=True)
class Account:
    """One account, and an integration that writes to its list.

    Attributes:
        own: The integration.
        sandbox: The account.
    """

    own: OwnIntegration
    sandbox: RunningSandbox

    @property
    def mailgun(self) -> MailgunClient:
        return MailgunClient(
            base_url=self.sandbox.base_url,
            key=SecretStr("sandbox-key"),
            list_address=LIST,
            connect_timeout=20,
            read_timeout=60,
        )

    def ledger(self, **options: Any) -> Ledger:
        """Return a ledger that trusts its copies as long as the unsubscribed were read lately."""
        return self.own.ledger(**{"refresh_seconds": REFRESH_SECONDS, **options})

    def hold(self, numbers: Sequence[int], *, subscribed: bool = True, **vars: Any) -> None:
        """Put members on the list, without the integration's knowledge."""
        for start in range(0, len(numbers), 100):
            entries = [
                Member(address(each), subscribed=subscribed, vars=vars).entry()
                for each in numbers[start : start + 100]
            ]
            answer = self.mailgun.upsert_many(entries)
            assert isinstance(answer, Response)
            assert answer.status == 200

    def sync_of(self, **options: Any) -> ListSync:
        """Return what reads the whole list into the ledger."""
        importer = PageImporter(
            self.mailgun, self.ledger(**options), lambda: datetime.now(UTC), lambda _k, _w: None
        )
        return ListSync(importer, OptOutScanner(importer, REFRESH_SECONDS, 500))

    def sync(self, **options: Any) -> None:
        """Read the whole list into the ledger."""
        sync = self.sync_of(**options)
        for step in sync.steps(sync.begin(anew=True)):
            assert isinstance(step, SyncProgress)

    def delivery(
        self, *, batch: int = 100, trust: BulkTrust | None = None, **options: Any
    ) -> Deliverer:
        return self.own.delivery(
            self.mailgun, ledger=self.ledger(**options), batch=batch, trust=trust
        )

    def trust(self, **options: Any) -> BulkTrust:
        """Return what one worker process knows of the account's answers."""
        return BulkTrust(self.own.redis, self.own.name, **options)

    def requests(self, since: int = 0) -> Counter[str]:
        """Count the requests after the one with number `since`, by what they do."""
        return Counter(
            f"{each.method} {'member' if each.method == 'GET' and each.address else each.path.rsplit('/', 1)[-1].partition('?')[0]}"
            for each in self.sandbox.control.requests(since)
        )

    def last(self) -> int:
        """Return the number of the latest request."""
        return max((each.seq for each in self.sandbox.control.requests()), default=0)

    def held(self) -> dict[str, dict[str, Any]]:
        """Return what the list holds: the variables of each member by its address."""
        return {name: each.vars for name, each in self.sandbox.control.members().items()}
