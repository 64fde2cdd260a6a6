"""Timestamp parsing: when an event happened, in any of the usual spellings.

A number is epoch seconds, or milli-, micro- or nanoseconds, depending on its size. A text is such a
number, ISO 8601 in its variants, RFC 2822, or what JavaScript, C, Ruby or `date` print. A time
without an offset is UTC. `docs/events.md` lists the forms.
"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = 100  # characters; a longer text is not read

# A number below the first bound is in seconds, below the next in milliseconds, and so on: 1e11 s is
# the year 5138, 1e11 ms the year 1973. A number below LEAST is no epoch time, but a counter, a
# year, or 0 for none.
LEAST = 1e8
UNITS = ((1e11, 10**6), (1e14, 10**3), (1e17, 1))  # upper bound, microseconds in one unit
NANOSECONDS_BELOW = 1e20
# Number of digits -> format. Digits are a date only if their year is in COMPACT_YEARS.
COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
COMPACT_YEARS = range(1990, 2101)

NUMBER = re.compile(r"([+-]?[0-9]{1,20})(\.[0-9]{1,20})?(?:[eE]\+?([0-9]{1,2}))?")
ISO = re.compile(
    r"(?P<date>[0-9]{4}-?W[0-9]{2}(?:-?[1-7])?"
    r"|[0-9]{4}(?P<sign>[-/.]?)[0-9]{2}(?P=sign)[0-9]{2}|[0-9]{4}-?[0-9]{3})"
    r"(?:(?:T|\s+)(?P<hour>[0-9]{2})(?::?(?P<minute>[0-9]{2})"
    r"(?::?(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?)?"
    r"(?P<zone>:?\s*(?:Z|UTC|GMT|[+\u2212-][0-9]{2}(?::?[0-9]{2})?)(?:\s*(?:UTC|GMT|Z))?)?)?"
    r"(?:\s*\[[A-Za-z/_+-]+\])?",
    re.IGNORECASE,
)
RFC_2822 = re.compile(
    r"(?:[A-Z][a-z]{2,8},?\s+)?[0-9]{1,2}[ -][A-Z][a-z]{2}[ -](?:[0-9]{4}|[0-9]{2})"
    r"\s+[0-9]{2}:[0-9]{2}(?::[0-9]{2})?"
    r"(?:\s+(?:GMT|UTC|UT|Z|[ECMP][SD]T|[+-][0-9]{4}))?(?:\s+\([^()]*\))?",
    re.IGNORECASE,
)
# `String(new Date())` in JavaScript, and the same without the zone.
PRINTED = re.compile(
    r"[A-Z][a-z]{2}\s+(?P<month>[A-Z][a-z]{2})\s+(?P<day>[0-9]{1,2})\s+(?P<year>[0-9]{4})"
    r"\s+(?P<time>[0-9:]{8})"
    r"(?:\s+(?:GMT|UTC)?(?P<zone>[+-][0-9]{4})?)?(?:\s+\([^()]*\))?",
    re.IGNORECASE,
)
# C's asctime, Ruby's Time, and the program `date`: the year comes last.
ASCTIME = re.compile(
    r"[A-Z][a-z]{2}\s+(?P<month>[A-Z][a-z]{2})\s+(?P<day>[0-9]{1,2})\s+(?P<time>[0-9:]{8})\s+"
    r"(?:(?P<zone>GMT|UTC|[ECMP][SD]T|[+-][0-9]{4})\s+)?(?P<year>[0-9]{4})",
    re.IGNORECASE,
)


class UnreadableTimestamp(ValueError):
    """A time stamp that is not understood; the message does not quote it."""


def read_timestamp(value: object) -> datetime | None:
    """Return the moment that `value` names, in UTC to the microsecond; None if null or blank.

    Raises:
        UnreadableTimestamp: The value names no moment between the years 1 and 9999.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        moment = _moment(value)
    except (ValueError, OverflowError, TypeError, IndexError):
        moment = None
    if moment is None:
        raise UnreadableTimestamp("the event's `timestamp` is not understood")
    return moment


def _moment(value: object) -> datetime | None:
    match value:
        case datetime():
            return _in_utc(value)
        case bool():
            return None
        case int():
            return _of_digits(str(value)) if abs(value) < NANOSECONDS_BELOW else None
        case float():
            return _of_number(value)
        case str() if len(value) <= LONGEST:
            return _of_text(value.strip())
        case _:
            return None


def _of_text(text: str) -> datetime | None:
    if text[10:11] == "T":
        try:
            return _in_utc(datetime.fromisoformat(text))
        except ValueError:  # it may be one of the variants
            pass
    number = NUMBER.fullmatch(text)
    if number:
        whole, fraction, exponent = number.groups()
        return _of_digits(whole) if not fraction and not exponent else _of_number(float(text))
    iso = ISO.fullmatch(text)
    if iso:
        return _of_iso(iso)
    printed = PRINTED.fullmatch(text) or ASCTIME.fullmatch(text)
    if printed:
        text = "{day} {month} {year} {time} {zone}".format(**printed.groupdict("+0000"))
    return _in_utc(parsedate_to_datetime(text)) if RFC_2822.fullmatch(text) else None


def _of_digits(digits: str) -> datetime | None:
    form = COMPACT.get(len(digits))
    if form and digits.isdigit() and int(digits[:4]) in COMPACT_YEARS:
        try:
            return datetime.strptime(digits, form).replace(tzinfo=UTC)
        except ValueError:  # there is no such day, so it is an epoch time
            pass
    return _of_number(int(digits))


def _of_number(number: float) -> datetime | None:
    if abs(number) < LEAST:
        return None
    for bound, microseconds in UNITS:
        if abs(number) < bound:
            return EPOCH + timedelta(microseconds=number * microseconds)
    return (
        EPOCH + timedelta(microseconds=number // 1000) if abs(number) < NANOSECONDS_BELOW else None
    )


def _of_iso(found: re.Match[str]) -> datetime:
    """Return the moment of an ISO 8601 text; 24:00, leap seconds and long fractions are valid."""
    hour, minute, second = (int(found[each] or 0) for each in ("hour", "minute", "second"))
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and (minute or second)):
        raise ValueError("no such time of day")
    microsecond = int((found["fraction"] or "0")[:6].ljust(6, "0"))
    since_midnight = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=microsecond)
    return (_day(found["date"]) + since_midnight - _offset(found["zone"] or "")).replace(tzinfo=UTC)


def _day(date: str) -> datetime:
    digits = re.sub("[-/.]", "", date.upper())
    if len(digits) == 7 and "W" not in digits:
        return datetime.strptime(digits, "%Y%j")  # noqa: DTZ007  a day, not yet a moment
    return datetime.fromisoformat(digits)


def _offset(zone: str) -> timedelta:
    found = re.search(r"([+\u2212-])([0-9]{2}):?([0-9]{2})?", zone)
    if not found:
        return timedelta(0)
    offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
    if offset >= timedelta(days=1):
        raise ValueError("no such offset")
    return offset if found[1] == "+" else -offset


def _in_utc(moment: datetime) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
