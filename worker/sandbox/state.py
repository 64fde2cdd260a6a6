"""The state of one running sandbox: lists, keys, switches, faults, limit and log."""

import base64
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator

from worker.sandbox.faults import Faults, Limit, Throttle
from worker.sandbox.lists import MailingList
from worker.sandbox.member_fields import MailgunError, is_address
from worker.sandbox.quirks import Quirks
from worker.sandbox.request_log import RequestLog
from worker.web_origin import host_name

MAX_LATENCY_MS = 600_000


class SandboxConfig(BaseModel):
    """The state in which a sandbox starts, and which a reset restores.

    Attributes:
        host: The address on which the sandbox listens.
        port: The port; 0: any free port.
        allow_remote: Allow addresses other than loopback, for a container. Any host can then use
            the control routes.
        allow_hosts: Names that requests may use, besides loopback's; with `allow_remote` besides IP
            addresses.
        api_keys: The valid API keys.
        lists: The addresses of the mailing lists.
        seed: The seed of the draws for faults with a share.
        log_size: The number of requests that the log keeps; 0: all.
        latency_ms: How much later all replies come.
        switches: The quirks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    allow_remote: bool = False
    allow_hosts: tuple[str, ...] = ()

    api_keys: tuple[str, ...] = ("sandbox-key",)
    lists: tuple[str, ...] = ("newsletter@mg.example.com",)
    seed: int = 1
    log_size: int = Field(default=10_000, ge=0)
    latency_ms: int = Field(default=0, ge=0, le=MAX_LATENCY_MS)
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
        """Restore the state of the start.

        Requests still under way end in the old lists and the old log.
        """
        self.started_at = now
        self.lists: dict[str, MailingList] = {}
        self.use_switches(self.config.switches)
        for address in self.config.lists:
            self.add_list(address, now=now)
        self.use_keys(*self.config.api_keys)
        self.faults = Faults(self.config.seed)
        self.refused: set[str] = set()  # lowercase addresses
        self.throttle = Throttle(Limit())
        self.latency_ms = self.config.latency_ms
        self.log = RequestLog(self.config.log_size)

    def use_switches(self, switches: Quirks) -> None:
        """Set how the sandbox plays the uncertain facts from now on."""
        self.switches = switches
        for each in self.lists.values():
            each.past.reaches = switches.read_lag_seconds

    def use_keys(self, *keys: str) -> None:
        """Replace all API keys by these."""
        self._authorizations = {basic_authorization(key) for key in keys}

    def authorizes(self, authorization: str | None) -> bool:
        """Return True if this Authorization header carries a valid key."""
        return authorization in self._authorizations

    def refuse(self, addresses: Iterable[str]) -> None:
        """Refuse these addresses as invalid, however plain they look.

        Members that have them stay.
        """
        self.refused.update(address.lower() for address in addresses)

    def add_list(self, address: str, *, now: float) -> None:
        """Add a mailing list; a list that exists keeps its members."""
        added = self.lists.setdefault(address.lower(), MailingList(address, created_at=now))
        added.past.reaches = self.switches.read_lag_seconds

    def remove_list(self, address: str) -> None:
        """Remove a mailing list and its members.

        Raises:
            MailgunError: Mailgun's 404 if there is no such list.
        """
        del self.lists[self.mailing_list(address).address.lower()]

    def mailing_list(self, address: str) -> MailingList:
        """Return the mailing list.

        Raises:
            MailgunError: Mailgun's 404 if there is no such list.
        """
        try:
            return self.lists[address.lower()]
        except KeyError:
            raise MailgunError(404, f"Mailing list {address} not found") from None


def basic_authorization(key: str) -> str:
    """Return the key's Authorization header: HTTP Basic, user `api` (Mailgun docs)."""
    return "Basic " + base64.b64encode(f"api:{key}".encode()).decode()
