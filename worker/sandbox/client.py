"""The sandbox's control routes from Python."""

from typing import Any

import requests

from worker.sandbox.request_log import Record, Unsubscribed
from worker.sandbox.retry_hints import HintKind
from worker.sandbox.stored_member import StoredMember

TIMEOUT_SECONDS = 30
RECORDS_AT_ONCE = 1000  # a bulk call's record may be some 100 KB


class SandboxError(Exception):
    """The sandbox did not do as asked; the text is its one line."""


class SandboxControl:
    """A running sandbox, seen and driven from outside. One per thread."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between us and loopback

    def close(self) -> None:
        self._session.close()

    def state(self) -> dict[str, Any]:
        """What the page shows: lists, newest members and requests, totals, faults, refusals, limit, switches."""
        return self._call("GET", "state")

    def members(self, list: str | None = None) -> dict[str, StoredMember]:
        """Every member of the list (default: the first one) by lowercase address."""
        members = self._call("GET", "members", params={"list": list})["members"]
        return {member["address"].lower(): StoredMember(**member) for member in members}

    def requests(self, since: int = 0) -> list[Record]:
        """Every request still in the log with a sequence number above `since`, oldest first."""
        records: list[Record] = []
        while page := self._records(records[-1].seq if records else since):
            records += page
        return records

    def events(self) -> list[Unsubscribed]:
        """The clicks on the unsubscribe link, oldest first."""
        return [Unsubscribed(**event) for event in self._call("GET", "events")["events"]]

    def totals(self) -> dict[str, Any]:
        """Counts over all requests since the start: `requests`, `touched`, `by_status`, `by_fault`."""
        totals: dict[str, Any] = self.state()["totals"]
        return totals

    def add_fault(self, kind: str, **options: Any) -> int:
        """From now on the fault happens (options: the fields of `faults.Fault`); answers its id."""
        return int(self._call("POST", "faults", {"kind": kind, **options})["id"])

    def clear_faults(self) -> None:
        self._call("DELETE", "faults")

    def refuse(self, *addresses: str) -> None:
        """From now on Mailgun takes these, too, for no addresses, however plain they look."""
        self._call("POST", "refusals", {"addresses": addresses})

    def clear_refusals(self) -> None:
        self._call("DELETE", "refusals")

    def limit(
        self, requests: int | None, *, window_seconds: float = 60, hint: HintKind = "none"
    ) -> None:
        """At most so many requests in each window; None lifts the limit."""
        self._call(
            "POST", "limit", {"requests": requests, "window_seconds": window_seconds, "hint": hint}
        )

    def switches(self, **switches: str | float) -> dict[str, Any]:
        """Sets the named switches (see `switches.Switches`); answers all of them."""
        return self._call("POST", "switches", switches)

    def latency(self, ms: int) -> None:
        """Every answer takes this much longer."""
        self._call("POST", "latency", {"ms": ms})

    def set_key(self, key: str) -> None:
        """From now on this API key is good and no other."""
        self._call("POST", "key", {"key": key})

    def add_list(self, address: str) -> None:
        self._call("POST", "lists", {"address": address})

    def remove_list(self, address: str) -> None:
        self._call("DELETE", "lists", {"address": address})

    def unsubscribe(self, address: str, list: str | None = None) -> None:
        """The recipient clicks the unsubscribe link of a mail."""
        self._call("POST", "unsubscribe", {"address": address, "list": list})

    def reset(self) -> None:
        """Everything is as it was when the sandbox started."""
        self._call("POST", "reset")

    def _records(self, since: int) -> list[Record]:
        answer = self._call("GET", "requests", params={"since": since, "limit": RECORDS_AT_ONCE})
        return [Record(**record) for record in answer["requests"]]

    def _call(
        self, method: str, route: str, body: Any = None, *, params: Any = None
    ) -> dict[str, Any]:
        url = f"{self.base_url}/sandbox/{route}"
        answer = self._session.request(
            method, url, json=body, params=params, timeout=TIMEOUT_SECONDS
        )
        content: dict[str, Any] = answer.json()
        if not answer.ok:
            raise SandboxError(content["error"])
        return content
