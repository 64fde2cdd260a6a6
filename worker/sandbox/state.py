"""One running sandbox: lists, keys, switches, faults, limit and log in one place, as started or as changed since."""

import base64
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator

from worker.sandbox.faults import Faults, Limit, Throttle
from worker.sandbox.lists import MailgunError, MailingList, is_address
from worker.sandbox.quirks import Quirks
from worker.sandbox.request_log import RequestLog
from worker.web_origin import host_name

MAX_LATENCY_MS = 600_000


class SandboxConfig(BaseModel):
    """How a sandbox starts, and what a reset brings back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    """0 = any free port."""
    allow_remote: bool = False
    """Listens on other than loopback addresses too, and lets any host drive the control routes: for a container."""
    allow_hosts: tuple[str, ...] = ()
    """Names besides loopback's, and with `allow_remote` besides addresses, under which it may be asked."""

    api_keys: tuple[str, ...] = ("sandbox-key",)
    lists: tuple[str, ...] = ("newsletter@mg.example.com",)
    seed: int = 1
    """Of the dice that faults with a share are drawn by."""
    log_size: int = Field(default=10_000, ge=0)
    """How many requests are remembered; 0 = all."""
    latency_ms: int = Field(default=0, ge=0, le=MAX_LATENCY_MS)
    bulk_job_seconds: float = Field(default=0.2, ge=0, le=3600)
    """How long after its answer a background bulk job is applied."""
    switches: Quirks = Quirks()

    @field_validator("allow_hosts")
    @classmethod
    def _names_only(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for each in hosts:
            if not each or host_name(each) != each.lower():
                raise ValueError(f"{each!r} is not a host name")
        return hosts

    @field_validator("lists")
    @classmethod
    def _addresses_only(cls, lists: tuple[str, ...]) -> tuple[str, ...]:
        for address in lists:
            if not is_address(address):
                raise ValueError(f"{address!r} is not an e-mail address")
        return lists


class SandboxState:
    """What the sandbox holds and how it behaves."""

    def __init__(self, config: SandboxConfig, *, now: float) -> None:
        self.config = config
        self.reset(now=now)

    def reset(self, *, now: float) -> None:
        """Everything is as it was at the start. Requests still under way end in the old lists and log."""
        self.started_at = now
        self.lists: dict[str, MailingList] = {}
        self.use_switches(self.config.switches)
        for address in self.config.lists:
            self.add_list(address, now=now)
        self.use_keys(*self.config.api_keys)
        self.faults = Faults(self.config.seed)
        self.refused: set[str] = set()  # lowercase
        self.throttle = Throttle(Limit())
        self.latency_ms = self.config.latency_ms
        self.log = RequestLog(self.config.log_size)

    def use_switches(self, switches: Quirks) -> None:
        """From now on the facts that are not certain are played so."""
        self.switches = switches
        for each in self.lists.values():
            each.past.reaches = switches.read_lag_seconds

    def use_keys(self, *keys: str) -> None:
        """These API keys are good, and no others."""
        self._authorizations = {basic_authorization(key) for key in keys}

    def authorizes(self, authorization: str | None) -> bool:
        """Whether this Authorization header carries a good key."""
        return authorization in self._authorizations

    def refuse(self, addresses: Iterable[str]) -> None:
        """From now on these count as no addresses, however plain they look. Members who have them stay."""
        self.refused.update(address.lower() for address in addresses)

    def add_list(self, address: str, *, now: float) -> None:
        """The list is there, with the members it had if it was there before."""
        added = self.lists.setdefault(address.lower(), MailingList(address, created_at=now))
        added.past.reaches = self.switches.read_lag_seconds

    def remove_list(self, address: str) -> None:
        """The list is gone and its members with it. Mailgun's 404 when there was none."""
        del self.lists[self.mailing_list(address).address.lower()]

    def mailing_list(self, address: str) -> MailingList:
        """The list, or Mailgun's 404."""
        try:
            return self.lists[address.lower()]
        except KeyError:
            raise MailgunError(404, f"Mailing list {address} not found") from None


def basic_authorization(key: str) -> str:
    """The Authorization header of this key: HTTP Basic, user `api` (Mailgun docs)."""
    return "Basic " + base64.b64encode(f"api:{key}".encode()).decode()
