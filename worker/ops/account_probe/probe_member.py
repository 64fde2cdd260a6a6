"""One throw-away member of the operator's own list: made, changed, read, and deleted again. What to learn from it is the probe's.

Its address is always the same, so that whoever sees it knows what it is, and a leftover of an earlier probe can be found.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from worker.mailgun.client import MailgunClient
from worker.mailgun.member import Member
from worker.mailgun.outcome import (
    NoResponse,
    OutcomeKind,
    Response,
    classify_bulk_write,
    classify_read,
    kind_of_status,
)
from worker.mailgun.texts import shown

LOCAL_PART = "signal-mailgun-throw-away"
NAME = "signal-mailgun check: delete me"
DELETE_AFTER_SECONDS = (0.0, 1.0, 3.0, 10.0, 20.0, 30.0)  # before each try to delete it at the end
TRIES = 3  # all the further ones are for a Mailgun that says to wait: its limits are by the minute


class MailgunUnavailable(Exception):
    """Mailgun cannot be asked on: it is away, refuses the key, knows no such list, or says to wait."""

    def __init__(self, answer: Response | NoResponse) -> None:
        super().__init__("Mailgun cannot be asked on")
        self.answer = answer


class ProbeCancelled(Exception):
    """Somebody wants the probe to end."""


class UnexpectedAnswer(Exception):
    """Mailgun's answer settles the question in a way nobody thought of; the text is what it did, without addresses."""


@dataclass
class ProbeMember:
    """The member. Every request but those of `clean` raises `MailgunUnavailable`, or `ProbeCancelled` once `stopped` says so."""

    mailgun: MailgunClient
    list_address: str
    stopped: Callable[[], bool] = lambda: (
        False
    )  # asked before each request: none is broken off in the middle
    sleep: Callable[[float], None] = time.sleep
    requests: int = 0
    headers: dict[str, str] = field(default_factory=dict)  # of all answers, the latest of each name
    made: bool = field(default=False, init=False)  # was it ever asked for?
    _there: set[str] = field(
        default_factory=set, init=False
    )  # addresses that may be on the list now
    _unsure: bool = field(
        default=False, init=False
    )  # a write had no answer: it may yet arrive, after a DELETE too

    @property
    def address(self) -> str:
        """Under the list's own domain."""
        return f"{LOCAL_PART}@{self.list_address.partition('@')[2]}"

    def member(self, *, name: str = NAME, subscribed: bool = False, **vars: Any) -> Member:
        """The whole member as the worker would send it."""
        return Member(self.address, name, subscribed, vars)

    def read(self, address: str | None = None) -> Member | None:
        """What the worker would make of `GET`: the member, or None where the list does not hold it. Raises `UnexpectedAnswer`."""
        answer = self._asked(lambda: self.mailgun.read_member(address or self.address), 200, 404)
        read = classify_read(answer, address or self.address, datetime.now(UTC))
        if read is None or isinstance(read, Member):
            return read
        raise UnexpectedAnswer(said(answer))

    def held(self) -> Member:
        """The member as the list holds it. Raises `UnexpectedAnswer` where it does not."""
        read = self.read()
        if read is None:
            raise UnexpectedAnswer("not on the list after a POST")
        return read

    def renew(self, member: Member) -> Response:
        """Delete the member and make it anew as `member`, so that nothing earlier shows through. Raises `UnexpectedAnswer`."""
        self.delete()
        return self.write(member.form())

    def write(self, form: Mapping[str, str]) -> Response:
        """`POST` of the form as it is. Raises `UnexpectedAnswer` where Mailgun refuses it."""
        answer = self._written([self.address], lambda: self.mailgun.write(form))
        if answer.status == 400:
            raise UnexpectedAnswer(said(answer))
        return answer

    def write_many(self, entries: Sequence[Mapping[str, Any]]) -> Response:
        """The bulk call; 200 or 400."""
        return self._written(
            [entry["address"] for entry in entries],
            lambda: self.mailgun.upsert_many([json.dumps(each) for each in entries]),
        )

    def shows_list(self, answer: Response) -> bool:
        """Does the answer to the bulk call show that its entries are stored?"""
        return (
            classify_bulk_write(answer, self.mailgun.list_address, datetime.now(UTC)).kind
            is OutcomeKind.DELIVERED
        )

    def delete(self) -> bool:
        """The member is not on the list; was it?"""
        answer = self._asked(lambda: self.mailgun.delete_member(self.address), 200, 404)
        self._there.discard(self.address)
        return answer.status == 200

    def delete_other(self, address: str) -> bool:
        """What a bulk call may have made is not on the list; was it? 400: Mailgun says that it cannot be."""
        answer = self._asked(lambda: self.mailgun.delete_member(address), 200, 400, 404)
        self._there.discard(address)
        return answer.status == 200

    def clean(self) -> bool:
        """Is all that was made gone for certain? Tried several times, and never broken off by `stopped`."""
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

    def _written(
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

        return self._asked(write, 200, 400)

    def _asked(self, ask: Callable[[], Response | NoResponse], *expected: int) -> Response:
        if self.stopped():
            raise ProbeCancelled
        self.requests += 1
        answer = ask()
        if isinstance(answer, NoResponse) or answer.status not in expected:
            raise MailgunUnavailable(answer)
        self.headers |= answer.headers
        return answer


def said(answer: Response) -> str:
    """Status and text in a few words."""
    return f"{answer.status} {shown(answer.text())[:70]}".strip()


def _is_refusal(answer: Response | NoResponse) -> bool:
    if not isinstance(answer, Response) or answer.status == 200:
        return False
    return kind_of_status(answer.status) is not OutcomeKind.UNAVAILABLE


def _says_to_wait(answer: Response | NoResponse) -> bool:
    return isinstance(answer, Response) and kind_of_status(answer.status) is OutcomeKind.THROTTLED
