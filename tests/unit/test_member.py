"""A member's form fields, and the member in an answer."""

import json
from typing import Any

import pytest
from hypothesis import given

from tests.unit.strategies import any_text, json_values, members
from worker.mailgun.member import Member, member_in

JANE = Member("jane@example.com", "Jane Doe", True, {"plan": "pro"})  # noqa: FBT003


def answer(**member: object) -> dict[str, Any]:
    return {
        "member": {"address": "jane@example.com", **member},
        "message": "Mailing list member has been created",
    }


def member_of(**member: object) -> Member:
    found = member_in(answer(**{"subscribed": True, **member}), "jane@example.com")
    assert found
    return found


def test_member_without_a_subscription_flag_is_refused() -> None:
    assert (
        member_in({"member": {"address": "jane@example.com", "vars": {}}}, "jane@example.com")
        is None
    )


def test_the_form_fields_come_in_the_order_of_the_integrations_page() -> None:
    assert list(JANE.form().items()) == [
        ("address", "jane@example.com"),
        ("name", "Jane Doe"),
        ("subscribed", "true"),
        ("upsert", "true"),
        ("vars", '{"plan":"pro"}'),
    ]


def test_unset_name_is_left_out_of_the_form() -> None:
    assert "name" not in Member("jane@example.com").form()


@pytest.mark.parametrize(("subscribed", "text"), [(True, "true"), (False, "false")])
def test_the_subscription_is_always_explicit(subscribed: bool, text: str) -> None:  # noqa: FBT001
    assert Member("jane@example.com", subscribed=subscribed).form()["subscribed"] == text


def test_vars_are_json_without_spaces_and_without_escapes() -> None:
    text = Member(
        "jane@example.com", vars={"company": "Ümlaut & Söhne", "n": [1, 2.5, None, True]}
    ).form()["vars"]
    assert text == '{"company":"Ümlaut & Söhne","n":[1,2.5,null,true]}'


def test_a_member_without_vars_sends_an_empty_object() -> None:
    assert Member("jane@example.com").form()["vars"] == "{}"


def test_a_number_that_json_cannot_spell_is_never_sent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Member("jane@example.com", vars={"n": float("nan")}).form()


@given(members)
def test_vars_read_back_as_they_were(member: Member) -> None:
    assert json.loads(member.form()["vars"]) == member.vars


def test_an_answer_shows_the_whole_member() -> None:
    assert (
        member_in(
            answer(name="Jane Doe", subscribed=True, vars={"plan": "pro"}), "jane@example.com"
        )
        == JANE
    )


def test_addresses_are_compared_ignoring_case_and_kept_as_ours() -> None:
    assert member_of(address="Jane@Example.COM").address == "jane@example.com"


@pytest.mark.parametrize(
    "data",
    [
        None,
        "Mailgun Magnificent API",
        [],
        5,
        {},
        {"member": None},
        {"member": []},
        {"member": "jane@example.com"},
        {"member": {}},
        {"member": {"address": None}},
        {"member": {"address": "joe@example.com"}},
        {"member": {"address": ["jane@example.com"]}},
        {"message": "Mailing list member has been created"},
        {"list": {"address": "jane@example.com"}},
    ],
)
def test_answer_about_another_member_is_none(data: object) -> None:
    assert member_in(data, "jane@example.com") is None


@pytest.mark.parametrize(
    ("value", "subscribed"),
    [(True, True), (False, False), ("yes", True), ("no", False), ("True", True), ("False", False)],
)
def test_the_subscription_is_read_in_each_spelling(value: object, subscribed: bool) -> None:  # noqa: FBT001
    assert member_of(subscribed=value).subscribed is subscribed


@pytest.mark.parametrize("name", ["", None])
def test_a_name_that_is_absent_is_empty(name: str | None) -> None:
    assert member_of(name=name).name == ""


@pytest.mark.parametrize("value", [None, {}])
def test_vars_that_are_absent_are_empty(value: object) -> None:
    assert member_of(vars=value).vars == {}


@given(json_values, any_text)
def test_any_json_is_a_member_or_none(data: Any, address: str) -> None:
    for each in (
        data,
        {"member": data},
        {"member": {"address": address, "name": data, "vars": data}},
    ):
        found = member_in(each, address)
        assert found is None or found.address == address
