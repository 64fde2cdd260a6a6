"""The benchmark's arithmetic, its table, and that all competitors send the same."""

import json
import math
from dataclasses import replace

import pytest

from tests.bench.competitors import COMPETITORS
from tests.bench.figures import BASELINE, LimitRow, Row, Window, behind, percentile, ratio
from tests.bench.limited import backlog_size, limit_runs, window
from tests.bench.list_check import RIGHT, ExpectedMember, check_members, expected_member
from tests.bench.machine import versions
from tests.bench.options import Scale, read
from tests.bench.other_programs.posting import fields_set_by, form_of
from tests.bench.people import events, person
from tests.bench.running import expected_members
from tests.bench.storage_times import stored_at
from tests.bench.table import in_short, limit_table, rate_table, side_by_side, three_digits
from tests.bench.traffic import Traffic
from worker.sandbox.request_log import Record
from worker.sandbox.stored_member import StoredMember
from worker.signal.event import parse_event
from worker.signal.patch import Patch, patch_from_event
from worker.signal.preset import load_preset

PRESET = load_preset()


def row(
    competitor: str = "ours",
    condition: str = "0 ms",
    workers: int = 1,
    events: int = 100,
    seconds: float = 1,
    traffic: Traffic = Traffic.KNOWN,
) -> Row:
    return Row(
        competitor=competitor,
        condition=condition,
        workers=workers,
        traffic=traffic,
        events=events,
        seconds=seconds,
        requests=2 * events,
        cpu_seconds=events / 500,
        megabytes=80,
        sandbox_load=0.2,
    )


def limit_row(competitor: str = "ours", *windows: Window, limit: int = 300) -> LimitRow:
    return LimitRow(
        competitor, 1, Traffic.KNOWN, limit, 60, windows or (Window(150, 290, 10), Window(0, 0, 0))
    )


def member(of: ExpectedMember, **vars: object) -> StoredMember:
    return StoredMember(
        of.address, of.name, subscribed=True, vars=dict(vars) or of.vars, updated_at=0
    )


def record(
    address: str | None = None,
    members: list[str] | None = None,
    status: int = 200,
    at: float = 1,
    committed_at: float | None = None,
) -> Record:
    form = {"members": json.dumps([{"address": each} for each in members])} if members else {}
    return Record(
        1,
        at,
        "POST",
        "/",
        None,
        address,
        form,
        status,
        committed=status == 200,
        committed_at=committed_at,
        answered_at=at,
    )


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (99, 4), (100, 4), (1, 1)])
def test_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    percent: float, expected: float
) -> None:
    assert percentile([4, 1, 3, 2], percent) == expected


def test_percentile_of_no_values_is_none() -> None:
    assert percentile([], 50) is None


def test_row_divides_its_figures_by_stored_events() -> None:
    measured = row(events=100, seconds=4)
    assert (measured.rate, measured.requests_per_event, measured.cpu_ms_per_event) == (25, 2, 2)


def test_row_without_stored_events_has_no_figures_for_one_event() -> None:
    nothing = row(events=0)
    assert nothing.rate == 0
    assert math.isnan(nothing.cpu_ms_per_event)


def test_ratio_compares_with_the_baseline_of_same_condition_and_workers() -> None:
    others = [
        row(BASELINE, "0 ms", 2, 400),
        row(BASELINE, "100 ms", 1, 800),
        row(BASELINE, "0 ms", 1, 200),
    ]
    assert ratio(row(events=100), others) == 0.5


def test_ratio_without_the_baseline_is_absent() -> None:
    assert ratio(row(), [row(BASELINE, "100 ms")]) is None


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
    rates = rate_table([row(), row(BASELINE, events=7), row("nobody", events=0)])
    limits = limit_table([limit_row(), limit_row("other"), limit_row("third", limit=7)])
    for lines in (rates.splitlines(), limits.splitlines()):
        assert len(lines) == 5
        assert len({(len(line), line.count("|")) for line in lines}) == 1


def test_ratio_with_task_ids_compares_with_the_baseline_of_known_people() -> None:
    others = [row(BASELINE, events=200), row(BASELINE, events=400, traffic=Traffic.NEW)]
    assert ratio(row(traffic=Traffic.TASK_ID), others) == 0.5
    assert ratio(row(traffic=Traffic.NEW), others) == 0.25
    assert ratio(row(traffic=Traffic.UNCHANGED), others) is None


def test_row_names_the_figures_that_are_worse_than_the_baselines() -> None:
    base = replace(row(BASELINE, events=200), latencies=(0.004,))
    assert behind(base, [base]) == []
    assert behind(replace(row(events=100), latencies=(0.004,)), [base]) == ["rate"]
    worse = replace(base, competitor="ours", requests=401, cpu_seconds=1, latencies=(0.1,))
    assert behind(worse, [base]) == ["CPU", "p50", "p99"]


def test_row_without_latencies_is_not_behind_in_them() -> None:
    assert behind(row(), [replace(row(BASELINE), latencies=(0.004,))]) == []


def test_short_table_has_the_ratios_of_one_worker_only() -> None:
    rows = [row(BASELINE, events=50), row(), row(condition="100 ms")]
    rows += [row(BASELINE, workers=2, events=25), row(workers=2)]
    assert in_short(rows).splitlines()[2:] == [
        "| plain Celery         |        1.00 |",
        "| ours                 |        2.00 |",
    ]
    assert in_short([row()]) == ""


def test_window_has_what_came_in_its_seconds() -> None:
    records = [record("a@x.org", status=429, at=9), record("a@x.org", at=10)]
    records += [record("b@x.org", status=429, at=19), record("c@x.org", at=20), record(at=20)]
    assert window(records, {1: 10, 2: 20}, 10, 10) == Window(stored=1, passed=1, refused=1)


def test_limit_row_divides_by_its_whole_time_and_all_it_was_allowed() -> None:
    measured = limit_row("ours", Window(100, 200, 100), Window(140, 300, 0), limit=400)
    assert (measured.rate * 60, measured.used) == (120, 500 / 800)
    assert measured.refused == 100 / 600


def test_only_some_competitors_meet_changing_limits_unless_asked() -> None:
    every = tuple(COMPETITORS.values())
    runs = limit_runs(every, [Traffic.KNOWN], ())
    assert {run.limits for run in runs} == {(300,), (300, 150, 300)}
    assert runs[0].limits == (300, 150, 300)
    assert {run.limits for run in limit_runs(every, [Traffic.KNOWN], (7,))} == {(7,)}
    assert limit_runs(every, [Traffic.UNCHANGED], ()) == []


def test_options_choose_competitors_traffic_and_workers() -> None:
    options = read(["--only", "ledger", "--only", "celery", "--traffic", "new", "--workers", "4"])
    assert [each.name for each in options.competitors] == [BASELINE, "ours, ledger + batches"]
    assert options.traffic == options.limit_traffic == (Traffic.NEW,)
    assert {(each.workers, each.limit_workers) for each in options.competitors} == {((), (4,))}
    assert read([]).limit_traffic == (Traffic.KNOWN,)


def test_rows_of_the_same_condition_stand_side_by_side() -> None:
    rows = [
        row("a", "0 ms", 1),
        row("a", "0 ms", 2),
        row("a", "100 ms"),
        row("b", "0 ms", 1),
        row("b", "100 ms"),
    ]
    assert "".join(each.competitor for each in side_by_side(rows)) == "abaab"


def test_event_counts_as_stored_at_its_first_200_single_or_bulk() -> None:
    records = [
        record("a@x.org", status=429, at=1),
        record("A@x.org", at=2),
        record("a@x.org", at=3),
        record(members=["b@x.org", "c@x.org"], at=4),
    ]
    assert stored_at(records) == {"a@x.org": 2, "b@x.org": 4, "c@x.org": 4}


def test_member_of_a_background_job_is_stored_when_the_job_is_done() -> None:
    assert stored_at([record(members=["a@x.org"], at=4, committed_at=6)]) == {"a@x.org": 6}
    assert stored_at([record(members=["a@x.org"], at=4, committed_at=3)]) == {"a@x.org": 4}


def test_member_with_event_and_earlier_fields_is_right() -> None:
    expected = expected_member(person(1), list(events([1])))
    assert check_members({expected.address: member(expected)}, [expected]) == RIGHT


def test_member_that_lost_fields_not_in_its_event_is_stripped() -> None:
    expected = expected_member(person(1), list(events([1])))
    assert (
        check_members({expected.address: member(expected, **expected.last_set)}, [expected])
        == "1 of 1 stripped"
    )


def test_member_without_the_fields_of_its_event_is_wrong() -> None:
    first, second = (expected_member(person(each), list(events([each]))) for each in (1, 2))
    assert (
        check_members({first.address: member(first, plan="free")}, [first, second])
        == "2 of 2 wrong"
    )


def test_list_check_without_stored_members_is_not_right() -> None:
    assert check_members({}, []) != RIGHT


def test_same_numbers_make_the_same_members_and_events() -> None:
    first, second = (
        [{**each, "timestamp": None} for each in events(range(20))],
        [{**each, "timestamp": None} for each in events(range(20))],
    )
    assert first == second
    assert len({each["traits"]["email"] for each in first}) == 20


@pytest.mark.parametrize("number", range(8))
def test_event_changes_a_field_of_its_member(number: int) -> None:
    about = person(number)
    assert expected_member(about, list(events([number]))).vars != about.vars


@pytest.mark.parametrize("number", range(8))
def test_unchanged_event_says_what_its_member_holds(number: int) -> None:
    about = Traffic.UNCHANGED.before(number)
    [sent] = Traffic.UNCHANGED.events([number])
    assert expected_member(about, [sent]).vars == about.vars
    assert fields_set_by(sent) == (about.name, about.vars)
    assert about in list(Traffic.UNCHANGED.on_list(range(number, number + 1)))


def test_new_people_are_not_on_the_list_and_end_with_their_event_alone() -> None:
    assert list(Traffic.NEW.on_list(range(9))) == []
    [expected] = expected_members(Traffic.NEW, [1])
    assert expected.vars == expected.last_set


@pytest.mark.parametrize("number", range(8))
def test_competitors_post_the_fields_that_this_program_reads(number: int) -> None:
    [sent] = events([number])
    patch = patch_from_event(parse_event(sent), PRESET)
    assert isinstance(patch, Patch)
    assert (patch.name, patch.vars) == fields_set_by(sent)
    assert patch.consent is True
    assert form_of(sent)["address"] == patch.address


def test_a_backlog_under_the_limit_is_more_than_its_requests_can_carry() -> None:
    scale = Scale(windows=2)
    assert backlog_size(100, (200, 100), scale) > 600 * 100
    assert backlog_size(1, (300,), scale) > 600


def test_the_versions_compared_are_locked() -> None:
    assert [each.partition(" ")[0] for each in versions()] == ["celery", "dramatiq", "taskiq"]
