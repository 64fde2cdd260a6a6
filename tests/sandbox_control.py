"""Python client of the sandbox's control routes."""

from typing import Any

import requests

from worker.sandbox.request_log import Record, Unsubscribed
from worker.sandbox.retry_hints import HintKind
from worker.sandbox.stored_member import StoredMember

TIMEOUT_SECONDS = 30
RECORDS_AT_ONCE = 1000  # a bulk request's record may be some 100 KB


class SandboxError(Exception):
    """The sandbox refused a control request; the text is its one-line reason."""


class SandboxControl:
    """A client that inspects and drives a running sandbox. Use one per thread."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy for loopback

    def close(self) -> None:
        """Close the HTTP session."""
        self._session.close()

    def state(self) -> dict[str, Any]:
        """Return what the page shows.

        That is lists, newest members and requests, totals, faults, refused addresses, limit and
        switches.
        """
        return self._call("GET", "state")

    def members(self, list: str | None = None) -> dict[str, StoredMember]:
        """Return all members of the list (default: the first one) by lowercase address."""
        members = self._call("GET", "members", params={"list": list})["members"]
        return {member["address"].lower(): StoredMember(**member) for member in members}

    def requests(self, since: int = 0) -> list[Record]:
        """Return all logged requests with a number above `since`, oldest first."""
        records: list[Record] = []
        while page := self._records(records[-1].seq if records else since):
            records += page
        return records

    def events(self) -> list[Unsubscribed]:
        """Return the clicks on the unsubscribe link, oldest first."""
        return [Unsubscribed(**event) for event in self._call("GET", "events")["events"]]

    def totals(self) -> dict[str, Any]:
        """Return counts of all requests since the start.

        The keys are `requests`, `touched`, `by_status` and `by_fault`.
        """
        totals: dict[str, Any] = self.state()["totals"]
        return totals

    def add_fault(self, kind: str, **options: Any) -> int:
        """Add a fault and return its id; `options` are the fields of `faults.Fault`."""
        return int(self._call("POST", "faults", {"kind": kind, **options})["id"])

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._call("DELETE", "faults")

    def refuse(self, *addresses: str) -> None:
        """Make the sandbox refuse these addresses as invalid, however plain they look."""
        self._call("POST", "refusals", {"addresses": addresses})

    def clear_refusals(self) -> None:
        """Accept the refused addresses again."""
        self._call("DELETE", "refusals")

    def limit(
        self, requests: int | None, *, window_seconds: float = 60, hint: HintKind = "none"
    ) -> None:
        """Allow at most `requests` in each window; None removes the limit."""
        self._call(
            "POST", "limit", {"requests": requests, "window_seconds": window_seconds, "hint": hint}
        )

    def switches(self, **switches: str | float) -> dict[str, Any]:
        """Set the named switches (fields of `quirks.Quirks`) and return all of them."""
        return self._call("POST", "switches", switches)

    def latency(self, ms: int) -> None:
        """Delay all replies by `ms` milliseconds."""
        self._call("POST", "latency", {"ms": ms})

    def set_key(self, key: str) -> None:
        """Replace all API keys by this one."""
        self._call("POST", "key", {"key": key})

    def add_list(self, address: str) -> None:
        """Add a mailing list; a list that exists keeps its members."""
        self._call("POST", "lists", {"address": address})

    def remove_list(self, address: str) -> None:
        """Remove a mailing list and its members."""
        self._call("DELETE", "lists", {"address": address})

    def unsubscribe(self, address: str, list: str | None = None) -> None:
        """Click the unsubscribe link of a mail as its recipient."""
        self._call("POST", "unsubscribe", {"address": address, "list": list})

    def reset(self) -> None:
        """Restore the state in which the sandbox started."""
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
