"""The benchmark's arithmetic, its table, and that all contenders are told the same."""

import json
import math

import pytest

from tests.bench.contenders.posting import form_of, said_by
from tests.bench.figures import YARDSTICK, Row, percentile, ratio
from tests.bench.following import stored_at
from tests.bench.limited import backlog_size
from tests.bench.machine import versions
from tests.bench.options import Scale
from tests.bench.people import events, person
from tests.bench.table import side_by_side, table, three_digits
from tests.bench.verdict import RIGHT, Wanted, verdict, wanted
from worker.sandbox.request_log import Record
from worker.sandbox.stored_member import StoredMember
from worker.signal.event import parse_event
from worker.signal.patch import Patch, patch_from_event
from worker.signal.preset import load_preset

PRESET = load_preset()


def row(
    contender: str = "ours",
    condition: str = "0 ms",
    workers: int = 1,
    stored: int = 100,
    seconds: float = 1,
) -> Row:
    return Row(
        contender=contender,
        condition=condition,
        workers=workers,
        stored=stored,
        seconds=seconds,
        requests=2 * stored,
        cpu_seconds=stored / 500,
        megabytes=80,
        sandbox_load=0.2,
    )


def member(of: Wanted, **vars: object) -> StoredMember:
    return StoredMember(
        of.address, of.name, subscribed=True, vars=dict(vars) or of.vars, updated_at=0
    )


def record(
    address: str | None = None, members: list[str] | None = None, status: int = 200, at: float = 1
) -> Record:
    form = {"members": json.dumps([{"address": each} for each in members])} if members else {}
    return Record(
        1, 0, "POST", "/", None, address, form, status, committed=status == 200, answered_at=at
    )


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (99, 4), (100, 4), (1, 1)])
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    percent: float, expected: float
) -> None:
    assert percentile([4, 1, 3, 2], percent) == expected


def test_a_percentile_of_nothing_is_none() -> None:
    assert percentile([], 50) is None


def test_figures_are_for_one_event() -> None:
    measured = row(stored=100, seconds=4)
    assert (measured.rate, measured.requests_per_event, measured.cpu_ms_per_event) == (25, 2, 2)


def test_what_stored_nothing_has_no_figures_for_one_event() -> None:
    nothing = row(stored=0)
    assert nothing.rate == 0
    assert math.isnan(nothing.cpu_ms_per_event)


def test_the_ratio_is_to_the_yardstick_under_the_same_condition_with_as_many_workers() -> None:
    others = [
        row(YARDSTICK, "0 ms", 2, 400),
        row(YARDSTICK, "100 ms", 1, 800),
        row(YARDSTICK, "0 ms", 1, 200),
    ]
    assert ratio(row(stored=100), others) == 0.5


def test_without_the_yardstick_there_is_no_ratio() -> None:
    assert ratio(row(), [row(YARDSTICK, "100 ms")]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1240.4, "1240"),
        (338, "338"),
        (45.24, "45.2"),
        (1.314, "1.31"),
        (0.0134, "0.013"),
        (0, "0"),
        (math.nan, "–"),
    ],
)
def test_a_figure_shows_three_digits_at_most(value: float, text: str) -> None:
    assert three_digits(value) == text


def test_every_line_of_the_table_is_as_long_and_has_as_many_cells() -> None:
    lines = table([row(), row(YARDSTICK, stored=7), row("nobody", stored=0)]).splitlines()
    assert len(lines) == 5
    assert len({(len(line), line.count("|")) for line in lines}) == 1


def test_what_ran_under_the_same_condition_stands_side_by_side() -> None:
    rows = [
        row("a", "0 ms", 1),
        row("a", "0 ms", 2),
        row("a", "100 ms"),
        row("b", "0 ms", 1),
        row("b", "100 ms"),
    ]
    assert "".join(each.contender for each in side_by_side(rows)) == "abaab"


def test_an_event_is_stored_when_it_is_first_answered_so_alone_or_with_others() -> None:
    records = [
        record("a@x.org", status=429, at=1),
        record("A@x.org", at=2),
        record("a@x.org", at=3),
        record(members=["b@x.org", "c@x.org"], at=4),
    ]
    assert stored_at(records) == {"a@x.org": 2, "b@x.org": 4, "c@x.org": 4}


def test_members_are_right_where_the_event_and_everything_else_is_there() -> None:
    expected = wanted(person(1), list(events([1])))
    assert verdict({expected.address: member(expected)}, [expected]) == RIGHT


def test_a_member_that_lost_what_its_event_did_not_mention_is_stripped() -> None:
    expected = wanted(person(1), list(events([1])))
    assert (
        verdict({expected.address: member(expected, **expected.said)}, [expected])
        == "1 of 1 stripped"
    )


def test_a_member_without_what_its_event_said_is_wrong() -> None:
    first, second = (wanted(person(each), list(events([each]))) for each in (1, 2))
    assert verdict({first.address: member(first, plan="free")}, [first, second]) == "2 of 2 wrong"


def test_where_nothing_was_stored_nothing_is_called_right() -> None:
    assert verdict({}, []) != RIGHT


def test_the_same_numbers_are_the_same_people_and_events() -> None:
    first, second = (
        [{**each, "timestamp": None} for each in events(range(20))],
        [{**each, "timestamp": None} for each in events(range(20))],
    )
    assert first == second
    assert len({each["traits"]["email"] for each in first}) == 20


@pytest.mark.parametrize("number", range(8))
def test_every_event_changes_something_about_its_person(number: int) -> None:
    about = person(number)
    assert wanted(about, list(events([number]))).vars != about.vars


@pytest.mark.parametrize("number", range(8))
def test_the_others_send_for_an_event_what_this_program_reads_in_it(number: int) -> None:
    [sent] = events([number])
    patch = patch_from_event(parse_event(sent), PRESET)
    assert isinstance(patch, Patch)
    assert (patch.name, patch.vars) == said_by(sent)
    assert patch.consent is True
    assert form_of(sent)["address"] == patch.address


def test_a_backlog_under_the_limit_is_more_than_its_requests_can_carry() -> None:
    scale = Scale()
    assert scale.allowed == 600
    assert backlog_size(100, scale) > 600 * 100
    assert backlog_size(1, scale) > 600


def test_the_versions_compared_are_locked() -> None:
    assert [each.partition(" ")[0] for each in versions()] == ["celery", "dramatiq", "taskiq"]
