"""One throw-away member for the account probe: made on the operator's list, read and deleted.

`questions` says what to learn from it. Its address is always the same, so that an operator who sees
it knows what it is, and a probe can find a leftover of an earlier one.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from worker.mailgun.client import MailgunClient
from worker.mailgun.member import Member
from worker.mailgun.outcome import OutcomeKind, classify_bulk_write, classify_read, kind_of_status
from worker.mailgun.response import NoResponse, Response
from worker.mailgun.texts import shown

LOCAL_PART = "signal-mailgun-throw-away"
NAME = "signal-mailgun check: delete me"
# Seconds before each try to delete the member at the end.
DELETE_AFTER_SECONDS = (0.0, 1.0, 3.0, 10.0, 20.0, 30.0)
# All further tries are only for a Mailgun that says to wait: its limits are by the minute.
TRIES = 3


class MailgunUnavailable(Exception):
    """The error that ends a probe: Mailgun is away, refuses key or list, or says to wait."""

    def __init__(self, answer: Response | NoResponse) -> None:
        super().__init__("Mailgun cannot be asked on")
        self.answer = answer


class ProbeCancelled(Exception):
    """The error of a probe that the operator ends."""


class UnexpectedAnswer(Exception):
    """An unforeseen answer that settles the question; its text, without addresses, tells it."""


@dataclass
class ProbeMember:
    """The throw-away member, and the requests for it.

    Each method but `clean` that sends a request raises `MailgunUnavailable` if Mailgun does not
    answer as expected, and `ProbeCancelled` once `stopped` returns True.

    Attributes:
        mailgun: The client of the operator's account and list.
        stopped: Returns True once the probe is to end. It is called before each request, so that
            no request is broken off.
        sleep: Waits for a number of seconds.
        requests: The number of requests sent so far.
        headers: The headers of all expected answers, the latest of each name.
        made: A request that may have made a member was sent.
    """

    mailgun: MailgunClient
    stopped: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep
    requests: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    made: bool = field(default=False, init=False)
    # Addresses that may be on the list now.
    _there: set[str] = field(default_factory=set, init=False)
    # The latest write had no answer: it may yet arrive, even after a DELETE.
    _unsure: bool = field(default=False, init=False)

    @property
    def address(self) -> str:
        """Return the member's address, in the list's own domain."""
        return f"{LOCAL_PART}@{self.mailgun.list_address.partition('@')[2]}"

    def member(self, *, name: str = NAME, subscribed: bool = False, **vars: Any) -> Member:
        """Return the whole member as a worker would send it; `vars` are its variables."""
        return Member(self.address, name, subscribed, vars)

    def read(self, address: str | None = None) -> Member | None:
        """Read the member, and return what a worker would read in the answer.

        Args:
            address: Another spelling of its address; by default its own.

        Returns:
            The member, or None if it is not on the list.

        Raises:
            UnexpectedAnswer: A worker could not read the answer.
        """
        answer = self._request(lambda: self.mailgun.read_member(address or self.address), 200, 404)
        read = classify_read(answer, address or self.address, datetime.now(UTC))
        if read is None or isinstance(read, Member):
            return read
        raise UnexpectedAnswer(describe_response(answer))

    def current(self) -> Member:
        """Return the member as it is on the list. Raises `UnexpectedAnswer` if it is not there."""
        read = self.read()
        if read is None:
            raise UnexpectedAnswer("not on the list after a POST")
        return read

    def renew(self, member: Member) -> Response:
        """Delete the member and make it anew, so that nothing of an earlier question is left.

        Raises `UnexpectedAnswer` if Mailgun refuses it.
        """
        self.delete()
        return self.write(member.form())

    def write(self, form: Mapping[str, str]) -> Response:
        """Send the form as it is by `POST`. Raises `UnexpectedAnswer` if Mailgun refuses it."""
        answer = self._write([self.address], lambda: self.mailgun.write(form))
        if answer.status == 400:
            raise UnexpectedAnswer(describe_response(answer))
        return answer

    def write_many(self, entries: Sequence[Mapping[str, Any]]) -> Response:
        """Send the members in one bulk call, and return the answer, whose status is 200 or 400."""
        return self._write(
            [entry["address"] for entry in entries],
            lambda: self.mailgun.upsert_many([json.dumps(each) for each in entries]),
        )

    def shows_list(self, answer: Response) -> bool:
        """Return True if the answer to a bulk call shows that its members are stored."""
        outcome = classify_bulk_write(answer, self.mailgun.list_address, datetime.now(UTC))
        return outcome.kind is OutcomeKind.DELIVERED

    def delete(self) -> bool:
        """Delete the member; return True if it was on the list."""
        answer = self._request(lambda: self.mailgun.delete_member(self.address), 200, 404)
        self._there.discard(self.address)
        return answer.status == 200

    def delete_other(self, address: str) -> bool:
        """Delete a member that a bulk call may have made; return True if it was on the list.

        With 400 Mailgun says that there can be no such member.
        """
        answer = self._request(lambda: self.mailgun.delete_member(address), 200, 400, 404)
        self._there.discard(address)
        return answer.status == 200

    def clean(self) -> bool:
        """Delete all that was made, in several tries; return True if Mailgun says that it is gone.

        It does not ask `stopped`. After a write without an answer it tries at least `TRIES` times,
        since that write may arrive after a DELETE.
        """
        gone = not self._there
        for tries, seconds in enumerate(DELETE_AFTER_SECONDS if self._there else (), start=1):
            self.sleep(seconds)
            answers = {address: self.mailgun.delete_member(address) for address in self._there}
            self.requests += len(answers)
            gone = all(self._is_gone(address, answer) for address, answer in answers.items())
            if (gone and not self._unsure) or (
                tries >= TRIES and not any(map(_says_to_wait, answers.values()))
            ):
                break
        return gone

    def _is_gone(self, address: str, answer: Response | NoResponse) -> bool:
        if not isinstance(answer, Response) or not isinstance(answer.json(), dict):
            return False
        return answer.status in {200, 404} or (answer.status == 400 and address != self.address)

    def _write(
        self, addresses: Iterable[str], ask: Callable[[], Response | NoResponse]
    ) -> Response:
        def write() -> Response | NoResponse:
            before = set(self._there)
            self._there.update(addresses)
            self.made = True
            answer = ask()
            self._unsure = isinstance(answer, NoResponse)
            if _is_refusal(answer):
                self._there = before
            return answer

        return self._request(write, 200, 400)

    def _request(self, ask: Callable[[], Response | NoResponse], *expected: int) -> Response:
        if self.stopped():
            raise ProbeCancelled
        self.requests += 1
        answer = ask()
        if isinstance(answer, NoResponse) or answer.status not in expected:
            raise MailgunUnavailable(answer)
        self.headers |= answer.headers
        return answer


def describe_response(answer: Response) -> str:
    """Return status and text of the answer in one short line."""
    return f"{answer.status} {shown(answer.text())[:70]}".strip()


def _is_refusal(answer: Response | NoResponse) -> bool:
    if not isinstance(answer, Response) or answer.status == 200:
        return False
    return kind_of_status(answer.status) is not OutcomeKind.UNAVAILABLE


def _says_to_wait(answer: Response | NoResponse) -> bool:
    return isinstance(answer, Response) and kind_of_status(answer.status) is OutcomeKind.THROTTLED
