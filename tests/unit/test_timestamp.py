"""Which spellings of a time stamp are understood, and as which moment."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import strange_json
from worker.signal.timestamp import UnreadableTimestamp, read_timestamp

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "2026-11-01T00:00:00Z",
            "2026-11-01T00:00:00.000Z",
            "2026-11-01t00:00:00z",
            "2026-11-01T00:00:00.000:Z",
        ),
        *(
            "2026-11-01 00:00:00 UTC",
            "2026-11-01 00:00:00 GMT",
            "2026-11-01 00:00:00 +0000 UTC",
            "2026-11-01 00:00:00",
        ),
        *(
            "2026-11-01T02:00:00+02:00",
            "2026-11-01T02:00:00+0200",
            "2026-11-01T02:00:00+02",
            "2026-11-01T02:00:00 +02:00",
        ),
        *(
            "2026-10-31T17:00:00-07:00",
            "2026-10-31T17:00:00\u22120700",
            "2026-11-01T01:00:00+01:00[Europe/Berlin]",
        ),
        *(
            "2026-11-01T00:00:00,000Z",
            "2026-11-01T00:00:00.000000000Z",
            "2026-11-01T00:00Z",
            "2026-11-01T00Z",
        ),
        *(
            "2026-10-31T24:00:00Z",
            "2026-10-31T23:59:60Z",
            "20261101T000000Z",
            "20261101T000000.000Z",
            "20261101",
        ),
        *(
            "2026-W44-7",
            "2026W447",
            "2026-W44-7T00:00:00Z",
            "2026-305",
            "2026305T000000Z",
            "2026-11-01",
            "2026/11/01 00:00:00",
        ),
        *(
            "Sun, 01 Nov 2026 00:00:00 GMT",
            "Sunday, 01-Nov-26 00:00:00 GMT",
            "1 Nov 26 00:00 GMT",
            "Sun Nov  1 00:00:00 2026",
            "Sun Nov  1 00:00:00 UTC 2026",
            "Sun Nov 01 00:00:00 +0000 2026",
            "Sat Oct 31 19:00:00 EST 2026",
            "Sun, 1 Nov 2026 01:00:00 +0100",
            "1 Nov 2026 00:00:00",
            "31 Oct 2026 20:00 EDT",
        ),
        *(
            "Sun Nov 01 2026 01:00:00 GMT+0100 (Central European Standard Time)",
            "Sun Nov  1 2026 00:00:00",
        ),
        *(1793491200, 1793491200.0, "1793491200", " 1793491200.000 ", "1.7934912E9"),
        *(
            1793491200000,
            "1793491200000",
            1793491200000.0,
            1793491200000000,
            "1793491200000000",
            1793491200000000000,
        ),
        *("1793491200000000000", 20261101, 202611010000, 20261101000000, "20261101000000"),
    ],
)
def test_timestamp_is_read_in_each_spelling(value: object) -> None:
    assert read_timestamp(value) == NOVEMBER


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-01T00:00:27.029:Z", NOVEMBER + timedelta(seconds=27, milliseconds=29)),
        ("2026-11-01T00:00:00.1234567899Z", NOVEMBER + timedelta(microseconds=123456)),
        ("2026-11-01 00:00:00,5", NOVEMBER + timedelta(milliseconds=500)),
        (1672531200000, datetime(2023, 1, 1, tzinfo=UTC)),
        ("1672531200", datetime(2023, 1, 1, tzinfo=UTC)),
        (-1e9, datetime(1938, 4, 24, 22, 13, 20, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_odd_spellings_of_a_timestamp_are_read(value: object, moment: datetime) -> None:
    assert read_timestamp(value) == moment


@pytest.mark.parametrize(
    "value",
    [
        *(
            "yesterday",
            "now",
            "0000-00-00 00:00:00",
            "2026-13-01",
            "2026-02-30T00:00:00Z",
            "2026-11-01T25:00:00Z",
        ),
        *(
            "2026-11-01T24:01:00Z",
            "2026-11-01T00:00:00Z+02:00",
            "2026-11-01T00:00:00+99:00",
            "01/11/2026",
            "11-01-2026",
        ),
        *(
            "Sun, 32 Nov 2026 00:00:00 GMT",
            "1 Nov 2026 00:00:00 XYZ",
            "1 Foo 2026 00:00:00",
            "2026-11-01T00:00:00 Mars",
        ),
        *(
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:60Z",
            "2026",
            "x" * 10_000,
            "9" * 10_000,
            "1e99",
            "\u0661" * 10,
        ),
        *(
            0,
            "0",
            5,
            2026,
            99_999_999,
            1e20,
            -1e20,
            1e300,
            10**400,
            float("nan"),
            float("inf"),
            True,
            False,
            {},
            [],
            [1793491200],
        ),
    ],
)
def test_unreadable_timestamp_is_refused_and_not_quoted(value: object) -> None:
    with pytest.raises(UnreadableTimestamp, match=r"^the event's `timestamp` is not understood$"):
        read_timestamp(value)


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_empty_timestamp_is_none(value: object) -> None:
    assert read_timestamp(value) is None


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=offsets)  # noqa: DTZ001
SPELLINGS: dict[str, Callable[[datetime], object]] = {
    "ISO 8601": datetime.isoformat,
    "with a blank": lambda moment: moment.isoformat(sep=" "),
    "in lower case": lambda moment: (
        moment.astimezone(UTC).isoformat().replace("+00:00", "z").replace("T", "t")
    ),
    "with a colon before Z": lambda moment: (
        moment.astimezone(UTC).isoformat().replace("+00:00", ":Z")
    ),
    "in basic form": lambda moment: moment.strftime("%Y%m%dT%H%M%S.%f%z"),
    "by week": lambda moment: moment.strftime("%G-W%V-%uT%H:%M:%S.%f%z"),
    "by day of the year": lambda moment: moment.strftime("%Y-%jT%H:%M:%S,%f%z"),
    "as Go prints it": lambda moment: moment.astimezone(UTC).strftime(
        "%Y-%m-%d %H:%M:%S.%f +0000 UTC"
    ),
    "in microseconds": lambda moment: (
        (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    ),
    "in nanoseconds": lambda moment: str(
        (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    ),
}
TO_THE_SECOND: dict[str, Callable[[datetime], object]] = {
    "RFC 2822": format_datetime,
    "as JavaScript prints it": lambda moment: moment.strftime(
        "%a %b %d %Y %H:%M:%S GMT%z (somewhere)"
    ),
    "in seconds": lambda moment: int(moment.timestamp()),
    "in seconds, as text": lambda moment: f"{int(moment.timestamp())}",
    "in milliseconds": lambda moment: int(moment.timestamp()) * 1000,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(moment=moments)
def test_timestamp_in_any_spelling_reads_back(spelling: str, moment: datetime) -> None:
    assert read_timestamp(SPELLINGS[spelling](moment)) == moment


@pytest.mark.parametrize("spelling", TO_THE_SECOND)
@given(moment=moments.map(lambda each: each.replace(microsecond=0)))
def test_timestamp_to_the_second_reads_back(spelling: str, moment: datetime) -> None:
    assert read_timestamp(TO_THE_SECOND[spelling](moment)) == moment


@given(strange_json | st.text(st.sampled_from("0123456789-:.,TZ +W/"), max_size=30))
def test_any_json_is_a_timestamp_in_utc_none_or_unreadable(value: Any) -> None:
    try:
        found = read_timestamp(value)
    except UnreadableTimestamp:
        return
    assert found is None or found.tzinfo is UTC
