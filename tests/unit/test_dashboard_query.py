"""Links to lists of messages: what is in them comes back out of them."""

from urllib.parse import parse_qsl

import pytest

from worker.dashboard.dead_letters.words import SHAPE
from worker.dashboard.pages.query import ListQuery, parse_query
from worker.dashboard.retries.words import SHAPE as RETRIES

FULL = {
    "reason": "rejected",
    "status": "400",
    "since": "2h",
    "until": "30m",
    "kind": "identify & more",
    "id": "m-1",
    "member": "0123456789ab",
    "order": "oldest",
    "sort": "-attempts",
    "size": "25",
    "start": "17",
}


def test_link_keeps_every_part_of_a_query() -> None:
    query = parse_query(FULL, SHAPE)
    assert dict(parse_qsl(query.link())) == FULL
    assert parse_query(dict(parse_qsl(query.link())), SHAPE) == query


def test_link_of_the_whole_list_is_empty() -> None:
    assert parse_query({}, SHAPE) == ListQuery()
    assert parse_query(dict.fromkeys(FULL, ""), SHAPE) == ListQuery()
    assert ListQuery().link() == ""


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"email": "jane@example.com"}, "POST"),
        ({"size": "0"}, "size"),
        ({"size": "501"}, "size"),
        ({"size": "1e2"}, "size"),
        ({"size": "²"}, "size"),
        ({"start": "-1"}, "start"),
        ({"start": "9999999999"}, "start"),
        ({"sort": "raw"}, "sort"),
        ({"order": "random"}, "order"),
        ({"id": "x" * 201}, "longer"),
    ],
)
def test_argument_without_meaning_is_refused_in_one_line(
    arguments: dict[str, str], names: str
) -> None:
    with pytest.raises(ValueError, match=names) as refused:
        parse_query(arguments, SHAPE)
    assert "jane" not in str(refused.value)


def test_link_to_delayed_events_has_a_place_and_columns_of_its_own() -> None:
    place = "1764170000123-" + "0a" * 16
    query = parse_query({"start": place, "sort": "since"}, RETRIES)
    assert dict(parse_qsl(query.link())) == {"start": place, "sort": "since"}
    for wrong in ({"start": "17"}, {"sort": "answer"}, {"order": "oldest"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            parse_query(wrong, RETRIES)
