"""Mailgun's answer as it came over HTTP, or the lack of one; `outcome.py` says what it means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from worker.mailgun.answer_json import decoded
from worker.mailgun.texts import ANSWER_LIMIT


@dataclass(frozen=True)
class Response:
    """An answer over HTTP.

    Attributes:
        status: The HTTP status.
        body: The decoded body, cut at the client's limit.
        headers: The headers, with names in lower case.
        cut: The body was cut.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = field(default=False, compare=False)

    def json(self) -> Any:
        """Return the decoded JSON of the body; None if it is not JSON."""
        return self._decoded

    @cached_property
    def _decoded(self) -> Any:
        return decoded(self.body)

    def get(self, name: str) -> Any:
        """Return the value of `name` in the body's JSON object; None if there is none."""
        data = self.json()
        return data.get(name) if isinstance(data, dict) else None

    @property
    def is_json_cut(self) -> bool:
        """Return True if the body began as JSON and was cut."""
        return self.cut and self.body.lstrip()[:1] == b"{"

    def text(self) -> str:
        """Return the answer's JSON `message`, else its body, cut to ANSWER_LIMIT characters.

        The text may quote anything that was sent.
        """
        message = self.get("message")
        text = (
            message[:ANSWER_LIMIT]
            if isinstance(message, str)
            else self.body[: 4 * ANSWER_LIMIT].decode("utf-8", "replace")
        )
        return escaped(text)[:ANSWER_LIMIT]


@dataclass(frozen=True)
class NoResponse:
    """A request without a whole answer.

    Attributes:
        reason: The reason, which is safe to show.
        asked: The request may have reached Mailgun, which may have stored the member.
    """

    reason: str
    asked: bool = True


def escaped(text: str) -> str:
    """Return `text` with lone surrogates escaped, so that it can be stored and shown."""
    return text.encode("utf-8", "backslashreplace").decode()
