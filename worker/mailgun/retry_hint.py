"""Retry hint: until when Mailgun asks to wait, in each of the forms that it may use."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from worker.mailgun.response import Response

# An epoch number this large is in milliseconds: in seconds it would be the year 5138.
MILLISECONDS_FROM = 1e11
LONGEST_HINT_SECONDS = 86_400.0  # a hint beyond a day counts as a day


def retry_after(answer: Response, now: datetime) -> datetime | None:
    """Return the time until which Mailgun asks to wait, at most a day ahead; None without a hint.

    The hints are `Retry-After` (seconds or HTTP date), `X-RateLimit-Reset` (epoch seconds or
    milliseconds) and `retry-seconds` in the body; the latest time counts. Hints that cannot be read
    do not count.
    """
    seconds = (
        _retry_after_seconds(answer.headers.get("retry-after", ""), now),
        _reset_seconds(answer.headers.get("x-ratelimit-reset", ""), now),
        _number(answer.get("retry-seconds")),
    )
    waits = [min(each, LONGEST_HINT_SECONDS) for each in seconds if each is not None and each > 0]
    return datetime.fromtimestamp(now.timestamp() + max(waits), UTC) if waits else None


def _retry_after_seconds(value: str, now: datetime) -> float | None:
    # A header that is sent twice arrives joined by a comma.
    numbers = [_number(each) for each in value.split(",")]
    seconds = [each for each in numbers if each is not None]
    if len(seconds) == len(numbers):
        return max(seconds)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()


def _reset_seconds(value: str, now: datetime) -> float | None:
    epoch = _number(value)
    if epoch is None:
        return None
    return (epoch / 1000 if epoch >= MILLISECONDS_FROM else epoch) - now.timestamp()


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not re.fullmatch(r"\s*\d{1,15}(\.\d{1,9})?\s*", str(value)):
        return None
    return float(str(value))
