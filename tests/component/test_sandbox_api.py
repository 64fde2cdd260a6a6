"""The sandbox answers as Mailgun does, and plays what is not recorded of Mailgun either way."""

import json
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.sandboxes import RunningSandbox, eventually
from worker.sandbox.stored_member import StoredMember

LIST = "newsletter@mg.example.com"
BAD_ADDRESS = "The 'address' parameter should be a valid email address"
BAD_VARS = "'vars' parameter is not a valid JSON"
NOT_ADDRESSES = [
    "",
    "jane",
    "jane@",
    "@example.com",
    "a@b@c",
    "jane doe",
    "jane@exam\x00ple.com",
    "x" * 320 + "@y",
]


def ask(sandbox: RunningSandbox, method: str, path: str = "", **options: Any) -> requests.Response:
    options.setdefault("auth", ("api", "sandbox-key"))
    return requests.request(
        method, f"{sandbox.base_url}/v3/lists/{LIST}{path}", timeout=10, **options
    )


def upsert(
    sandbox: RunningSandbox, address: str = "jane@example.com", **fields: str
) -> requests.Response:
    return ask(sandbox, "POST", "/members", data={"address": address, "upsert": "true", **fields})


def bulk(sandbox: RunningSandbox, members: Any, **fields: str) -> requests.Response:
    return ask(
        sandbox,
        "POST",
        "/members.json",
        data={"members": json.dumps(members), "upsert": "true", **fields},
    )


def stored_member(sandbox: RunningSandbox, address: str = "jane@example.com") -> StoredMember:
    return sandbox.control.members()[address]


def add_jane(sandbox: RunningSandbox) -> None:
    answer = upsert(
        sandbox, name="Jane Doe", subscribed="no", vars='{"plan": "pro", "company": "Acme Ltd"}'
    )
    assert answer.status_code == 200


def messages(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["message"]


def test_new_member_is_stored_and_shown_in_the_answer(sandbox: RunningSandbox) -> None:
    answer = upsert(sandbox, name="Jane Doe", subscribed="true", vars='{"plan": "pro", "n": 1.5}')
    shown = {
        "address": "jane@example.com",
        "name": "Jane Doe",
        "subscribed": True,
        "vars": {"plan": "pro", "n": 1.5},
    }
    assert answer.json() == {"member": shown, "message": "Mailing list member has been created"}
    assert answer.headers["Content-Type"] == "application/json"
    assert stored_member(sandbox).as_mailgun() == shown


def test_absent_name_and_vars_are_empty_and_a_new_member_is_subscribed(
    sandbox: RunningSandbox,
) -> None:
    shown = {"address": "jane@example.com", "name": "", "subscribed": True, "vars": {}}
    assert upsert(sandbox).json()["member"] == shown


def test_an_update_is_answered_with_the_same_text_as_a_creation(sandbox: RunningSandbox) -> None:
    assert upsert(sandbox).json()["message"] == upsert(sandbox, name="Jane").json()["message"]


def test_multipart_form_is_accepted(sandbox: RunningSandbox) -> None:
    files = {
        "address": (None, "jane@example.com"),
        "name": (None, "Jane"),
        "vars": (None, '{"plan": "pro"}'),
    }
    assert ask(sandbox, "POST", "/members", files=files).status_code == 200
    assert (stored_member(sandbox).name, stored_member(sandbox).vars) == ("Jane", {"plan": "pro"})


def test_json_body_is_refused(sandbox: RunningSandbox) -> None:
    assert messages(ask(sandbox, "POST", "/members", json={"address": "jane@example.com"})) == (
        400,
        BAD_ADDRESS,
    )
    assert not sandbox.control.members()


@pytest.mark.parametrize("address", NOT_ADDRESSES)
def test_invalid_address_is_refused(sandbox: RunningSandbox, address: str) -> None:
    assert messages(upsert(sandbox, address)) == (400, BAD_ADDRESS)


@pytest.mark.parametrize(
    "text", ["", "plan=pro", "[1]", '"pro"', "null", '{"n": NaN}', "[" * 100_000]
)
def test_vars_that_are_no_json_object_are_refused(sandbox: RunningSandbox, text: str) -> None:
    assert messages(upsert(sandbox, vars=text)) == (400, BAD_VARS)
    assert not sandbox.control.members()


def test_existing_address_is_refused_without_upsert(sandbox: RunningSandbox) -> None:
    add_jane(sandbox)
    for extra in ({}, {"upsert": "no"}, {"upsert": "false"}):
        answer = ask(sandbox, "POST", "/members", data={"address": "Jane@example.com", **extra})
        assert messages(answer) == (400, "Address already exists 'Jane@example.com'")
    assert stored_member(sandbox).name == "Jane Doe"


@pytest.mark.parametrize("spelling", ["yes", "true", "YES", "True"])
def test_upsert_is_spelled_in_several_ways(sandbox: RunningSandbox, spelling: str) -> None:
    add_jane(sandbox)
    assert upsert(sandbox, name="Jane Roe", upsert=spelling).status_code == 200
    assert stored_member(sandbox).name == "Jane Roe"


@pytest.mark.parametrize(
    ("spelling", "meaning"), [("yes", True), ("TRUE", True), ("No", False), ("false", False)]
)
def test_subscribed_is_spelled_in_several_ways(
    sandbox: RunningSandbox, spelling: str, *, meaning: bool
) -> None:
    assert upsert(sandbox, subscribed=spelling).json()["member"]["subscribed"] is meaning


def test_subscribed_in_an_unknown_spelling_is_refused(sandbox: RunningSandbox) -> None:
    assert upsert(sandbox, subscribed="maybe").status_code == 400


def test_addresses_of_members_and_lists_compare_ignoring_case(sandbox: RunningSandbox) -> None:
    upsert(sandbox, "Jane@Example.com")
    upsert(sandbox, "jane@example.COM", name="Jane")
    shouted = f"{sandbox.base_url}/v3/lists/{LIST.upper()}/members/JANE@EXAMPLE.COM"
    answer = requests.get(shouted, auth=("api", "sandbox-key"), timeout=10)
    assert answer.json()["member"]["name"] == "Jane"
    assert list(sandbox.control.members()) == ["jane@example.com"]


def test_single_member_is_shown(sandbox: RunningSandbox) -> None:
    add_jane(sandbox)
    assert ask(sandbox, "GET", "/members/jane%40example.com").json() == {
        "member": stored_member(sandbox).as_mailgun()
    }


def test_a_plus_in_a_path_must_be_quoted(sandbox: RunningSandbox) -> None:
    upsert(sandbox, "jane+news@example.com")
    assert ask(sandbox, "GET", "/members/jane%2Bnews@example.com").status_code == 200
    assert ask(sandbox, "GET", "/members/jane+news@example.com").status_code == 404


@pytest.mark.parametrize("address", ["jane/news@example.com", "jane%2Fnews@example.com"])
def test_a_slash_in_a_segment_breaks_routing(sandbox: RunningSandbox, address: str) -> None:
    upsert(sandbox, "jane/news@example.com")
    answer = ask(sandbox, "GET", f"/members/{address}")
    assert (answer.status_code, answer.text) == (200, "Mailgun Magnificent API")


def test_a_missing_member_or_list_is_named(sandbox: RunningSandbox) -> None:
    missing = f"Member nobody@example.com of mailing list {LIST} not found"
    for method in ("GET", "PUT", "DELETE"):
        assert messages(ask(sandbox, method, "/members/nobody@example.com")) == (404, missing)
    sandbox.control.remove_list(LIST)
    for method, path in (
        ("GET", ""),
        ("GET", "/members/pages"),
        ("POST", "/members"),
        ("POST", "/members.json"),
    ):
        assert messages(ask(sandbox, method, path)) == (404, f"Mailing list {LIST} not found")


def test_put_changes_only_the_fields_it_names_and_replaces_vars_whole(
    sandbox: RunningSandbox,
) -> None:
    add_jane(sandbox)
    answer = ask(sandbox, "PUT", "/members/JANE@example.com", data={"vars": '{"n": 1}'})
    assert messages(answer) == (200, "Mailing list member has been updated")
    expected = {
        "address": "jane@example.com",
        "name": "Jane Doe",
        "subscribed": False,
        "vars": {"n": 1},
    }
    assert answer.json()["member"] == stored_member(sandbox).as_mailgun() == expected


def test_a_put_without_a_form_is_ignored_but_answers_200(sandbox: RunningSandbox) -> None:
    add_jane(sandbox)
    assert ask(sandbox, "PUT", "/members/jane@example.com", data=b"name=Roe").status_code == 200
    assert stored_member(sandbox).name == "Jane Doe"
    assert not sandbox.control.requests()[-1].committed


def test_put_renames_a_member_but_not_to_an_existing_address(sandbox: RunningSandbox) -> None:
    add_jane(sandbox)
    upsert(sandbox, "bob@example.com")
    taken = ask(sandbox, "PUT", "/members/jane@example.com", data={"address": "bob@example.com"})
    assert messages(taken) == (400, "Address already exists 'bob@example.com'")
    assert (
        ask(
            sandbox, "PUT", "/members/jane@example.com", data={"address": "roe@example.com"}
        ).status_code
        == 200
    )
    assert set(sandbox.control.members()) == {"bob@example.com", "roe@example.com"}


def test_a_deleted_member_is_gone(sandbox: RunningSandbox) -> None:
    add_jane(sandbox)
    answer = ask(sandbox, "DELETE", "/members/Jane@example.com")
    assert messages(answer) == (200, "Mailing list member has been deleted")
    assert answer.json()["member"] == {"address": "jane@example.com"}
    assert not sandbox.control.members()


def test_a_list_shows_its_count(sandbox: RunningSandbox) -> None:
    upsert(sandbox)
    shown = ask(sandbox, "GET").json()["list"]
    assert (shown["address"], shown["members_count"], shown["access_level"]) == (
        LIST,
        1,
        "readonly",
    )
    assert {"created_at", "name", "description", "reply_preference"} <= set(shown)


@pytest.mark.parametrize("auth", [None, ("api", "wrong"), ("user", "sandbox-key"), ("api", "")])
def test_a_wrong_key_is_forbidden_in_plain_text(
    sandbox: RunningSandbox, auth: tuple[str, str] | None
) -> None:
    for method, path in (("GET", ""), ("POST", "/members"), ("GET", "/members/pages")):
        answer = ask(sandbox, method, path, auth=auth)
        assert (answer.status_code, answer.text) == (401, "Forbidden")
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.headers["Www-Authenticate"] == 'Basic realm="MG API"'


@pytest.mark.parametrize(
    "path", ["/nonsense", "/v3", "/v3/domains", f"/v4/lists/{LIST}", f"/v3/lists/{LIST}/nonsense"]
)
def test_wrong_path_answers_get_with_a_greeting_and_post_with_404(
    sandbox: RunningSandbox, path: str
) -> None:
    got = requests.get(sandbox.base_url + path, timeout=10)
    assert (got.status_code, got.text) == (200, "Mailgun Magnificent API")
    posted = requests.post(
        sandbox.base_url + path, data={"address": "jane@example.com"}, timeout=10
    )
    assert posted.status_code == 404
    with pytest.raises(ValueError, match=r"Expecting value|Extra data"):
        posted.json()


# -- pages ---------------------------------------------------------------------------------------------------------


def walk(sandbox: RunningSandbox, url: str, turn: str) -> list[list[str]]:
    """The addresses of each page from here on, up to the first empty one."""
    pages: list[list[str]] = []
    for _ in range(20):
        answer = requests.get(url, auth=("api", "sandbox-key"), timeout=10).json()
        assert set(answer["paging"]) == {"first", "last", "next", "previous"}
        assert all(
            link.startswith(f"{sandbox.base_url}/v3/lists/{LIST}/")
            for link in answer["paging"].values()
        )
        if not answer["items"]:
            return pages
        pages.append([member["address"] for member in answer["items"]])
        url = answer["paging"][turn]
    pytest.fail("the pages do not end")


@pytest.fixture
def five(sandbox: RunningSandbox) -> list[str]:
    addresses = [
        "C+c@example.com",
        "a@example.com",
        "e@example.com",
        "b@example.com",
        "d@example.com",
    ]
    for address in addresses:
        upsert(sandbox, address, subscribed="no" if address[0] in "bd" else "yes")
    return sorted(addresses, key=str.lower)


def test_pages_ascend_and_end_with_an_empty_one(sandbox: RunningSandbox, five: list[str]) -> None:
    start = f"{sandbox.base_url}/v3/lists/{LIST}/members/pages?limit=2"
    assert walk(sandbox, start, "next") == [five[:2], five[2:4], five[4:]]


def test_pages_go_backwards_from_the_last(sandbox: RunningSandbox, five: list[str]) -> None:
    first = ask(sandbox, "GET", "/members/pages", params={"limit": 2}).json()
    assert walk(sandbox, first["paging"]["last"], "previous") == [five[3:], five[1:3], five[:1]]


def test_the_link_after_an_empty_page_starts_again(
    sandbox: RunningSandbox, five: list[str]
) -> None:
    beyond = ask(
        sandbox, "GET", "/members/pages", params={"page": "next", "address": five[-1], "limit": 2}
    ).json()
    assert beyond["items"] == []
    assert walk(sandbox, beyond["paging"]["next"], "next")[0] == five[:2]


def test_pages_can_show_only_subscribed_or_only_unsubscribed_members(
    sandbox: RunningSandbox, five: list[str]
) -> None:
    start = f"{sandbox.base_url}/v3/lists/{LIST}/members/pages?limit=1&subscribed="
    assert walk(sandbox, start + "no", "next") == [[five[1]], [five[3]]]
    assert walk(sandbox, start + "yes", "next") == [[five[0]], [five[2]], [five[4]]]


def test_pages_follow_changes_of_members(sandbox: RunningSandbox, five: list[str]) -> None:
    def listed(subscribed: str) -> list[str]:
        start = f"{sandbox.base_url}/v3/lists/{LIST}/members/pages?subscribed={subscribed}"
        return [address for page in walk(sandbox, start, "next") for address in page]

    assert (listed("no"), listed("yes")) == (five[1:4:2], five[0:5:2])
    upsert(sandbox, five[1], subscribed="yes")
    upsert(sandbox, five[4], subscribed="no")
    sandbox.control.unsubscribe(five[0])
    assert (listed("no"), listed("yes")) == ([five[0], *five[3:]], five[1:3])
    upsert(sandbox, five[0], subscribed="yes")
    upsert(sandbox, "bb@example.com", subscribed="no")
    ask(sandbox, "DELETE", f"/members/{five[3]}")
    assert (listed("no"), listed("yes")) == (["bb@example.com", five[4]], five[:3])
    for _ in range(2):  # gone and back, and there and gone, before a read
        ask(sandbox, "DELETE", "/members/bb@example.com")
        upsert(sandbox, "bb@example.com", subscribed="no")
        upsert(sandbox, "cc@example.com", subscribed="no")
        ask(sandbox, "DELETE", "/members/cc@example.com")
    assert (listed("no"), listed("yes")) == (["bb@example.com", five[4]], five[:3])
    assert sandbox.control.state()["lists"] == [{"address": LIST, "members": 5, "subscribed": 3}]


def test_a_page_has_at_most_a_hundred(sandbox: RunningSandbox) -> None:
    for part in range(2):
        bulk(sandbox, [f"{part}{number}@example.com" for number in range(100)])
    for limit in ("", "1000", "0", "x"):
        assert (
            len(ask(sandbox, "GET", "/members/pages", params={"limit": limit}).json()["items"])
            == 100
        )


# -- bulk ----------------------------------------------------------------------------------------------------------


def entries(count: int) -> list[dict[str, Any]]:
    return [
        {"address": f"m{number}@example.com", "name": f"M {number}", "subscribed": True}
        for number in range(count)
    ]


def test_bulk_call_up_to_a_hundred_members_is_applied_before_the_answer(
    sandbox: RunningSandbox,
) -> None:
    answer = bulk(
        sandbox,
        [
            *entries(99),
            {"address": "jane@example.com", "subscribed": False, "vars": {"plan": "pro"}},
        ],
    )
    assert messages(answer) == (200, "Mailing list has been updated")
    assert answer.json()["list"]["members_count"] == 100
    assert "task-id" not in answer.json()
    assert (stored_member(sandbox).subscribed, stored_member(sandbox).vars) == (
        False,
        {"plan": "pro"},
    )
    assert sandbox.control.requests()[-1].touched == 100


def test_bulk_call_above_a_hundred_members_is_a_later_job(sandbox: RunningSandbox) -> None:
    answer = bulk(sandbox, entries(101))
    assert answer.status_code == 200
    assert answer.json()["task-id"]
    assert answer.json()["list"]["members_count"] == 0
    assert eventually(lambda: len(sandbox.control.members()) == 101)
    assert (sandbox.control.requests()[-1].touched, sandbox.control.requests()[-1].committed) == (
        101,
        True,
    )


def test_bulk_call_above_a_thousand_members_is_refused(sandbox: RunningSandbox) -> None:
    assert bulk(sandbox, entries(1000)).status_code == 200
    assert bulk(sandbox, entries(1001)).status_code == 400


@pytest.mark.parametrize("text", ["", "{}", "jane@example.com", '"jane@example.com"'])
def test_bulk_members_that_are_no_json_list_are_refused(sandbox: RunningSandbox, text: str) -> None:
    answer = ask(sandbox, "POST", "/members.json", data={"members": text})
    assert messages(answer) == (400, "'members' parameter is not a valid JSON list")


def test_bulk_call_without_upsert_skips_existing_members(sandbox: RunningSandbox) -> None:
    add_jane(sandbox)
    assert bulk(
        sandbox, [{"address": "jane@example.com", "name": "Roe"}, "bob@example.com"], upsert="no"
    ).ok
    assert stored_member(sandbox).name == "Jane Doe"
    assert "bob@example.com" in sandbox.control.members()


BAD_ENTRIES = [{"address": "jane"}, {"name": "Jane"}, 7, {"address": "j@example.com", "vars": "{}"}]


@pytest.mark.parametrize("bad", [*BAD_ENTRIES, {"address": "j@example.com", "name": 7}])
def test_bad_entry_refuses_the_whole_bulk_call(sandbox: RunningSandbox, bad: object) -> None:
    assert bulk(sandbox, ["bob@example.com", bad]).status_code == 400
    assert not sandbox.control.members()


def test_bad_entry_alone_is_skipped_with_its_switch(sandbox: RunningSandbox) -> None:
    sandbox.control.switches(bulk_bad_member="skipped")
    assert bulk(sandbox, [*BAD_ENTRIES, "bob@example.com"]).status_code == 200
    assert set(sandbox.control.members()) == {"bob@example.com"}


def test_bad_entry_of_a_job_drops_the_job_without_an_error(sandbox: RunningSandbox) -> None:
    assert bulk(sandbox, [*entries(100), {"address": "jane"}]).status_code == 200
    bulk(sandbox, [*entries(101), {"address": "bob@example.com"}])
    assert eventually(lambda: "bob@example.com" in sandbox.control.members())
    assert [record.touched for record in sandbox.control.requests()] == [0, 102]


# -- addresses that Mailgun refuses, however plain they look ---------------------------------------------------------


def test_a_refused_address_is_no_address(sandbox: RunningSandbox) -> None:
    sandbox.control.refuse("Jane@example.com", "joe@example.com")
    for address in ("jane@example.com", "JOE@example.com"):
        assert messages(upsert(sandbox, address)) == (400, BAD_ADDRESS)
    assert not sandbox.control.members()
    assert upsert(sandbox, "bob@example.com").status_code == 200
    renamed = ask(sandbox, "PUT", "/members/bob@example.com", data={"address": "joe@example.com"})
    assert messages(renamed) == (400, BAD_ADDRESS)


def test_refusals_add_up_until_they_are_cleared(sandbox: RunningSandbox) -> None:
    sandbox.control.refuse("jane@example.com")
    sandbox.control.refuse("joe@example.com")
    assert sandbox.control.state()["refused"] == ["jane@example.com", "joe@example.com"]
    sandbox.control.clear_refusals()
    assert (upsert(sandbox).status_code, sandbox.control.state()["refused"]) == (200, [])


def test_refused_address_refuses_the_whole_bulk_call(sandbox: RunningSandbox) -> None:
    sandbox.control.refuse("m7@example.com")
    assert messages(bulk(sandbox, entries(100))) == (400, BAD_ADDRESS)
    assert not sandbox.control.members()
    assert bulk(sandbox, entries(7)).status_code == 200


def test_refused_address_alone_is_skipped_with_its_switch(sandbox: RunningSandbox) -> None:
    sandbox.control.switches(bulk_bad_member="skipped")
    sandbox.control.refuse("m7@example.com")
    assert bulk(sandbox, entries(10)).status_code == 200
    assert set(sandbox.control.members()) == {
        f"m{number}@example.com" for number in range(10) if number != 7
    }
    assert sandbox.control.requests()[-1].touched == 9


# -- switches ------------------------------------------------------------------------------------------------------


def test_vars_are_replaced_on_update(sandbox: RunningSandbox) -> None:
    add_jane(sandbox)
    upsert(sandbox, vars='{"plan": "free"}')
    assert stored_member(sandbox).vars == {"plan": "free"}


def test_vars_are_merged_on_update_with_their_switch(sandbox: RunningSandbox) -> None:
    sandbox.control.switches(vars_on_update="merged")
    add_jane(sandbox)
    upsert(sandbox, vars='{"plan": "free"}')
    assert stored_member(sandbox).vars == {"plan": "free", "company": "Acme Ltd"}


def test_an_upsert_that_leaves_everything_out_resubscribes_and_clears(
    sandbox: RunningSandbox,
) -> None:
    add_jane(sandbox)
    upsert(sandbox)
    assert (
        stored_member(sandbox).subscribed,
        stored_member(sandbox).name,
        stored_member(sandbox).vars,
    ) == (True, "", {})


@pytest.mark.parametrize("switch", ["omitted_subscribed", "omitted_name", "omitted_vars"])
def test_omitted_field_is_kept_with_its_switch(sandbox: RunningSandbox, switch: str) -> None:
    sandbox.control.switches(**{switch: "kept"})
    add_jane(sandbox)
    before = stored_member(sandbox).as_mailgun()
    upsert(sandbox)
    field = switch.removeprefix("omitted_")
    cleared = {"subscribed": True, "name": "", "vars": {}}
    expected = cleared | {field: before[field]}
    assert {name: stored_member(sandbox).as_mailgun()[name] for name in cleared} == expected


@pytest.mark.parametrize(("position", "subscribed"), [("subscribes", True), ("kept", False)])
def test_a_bulk_entry_without_subscribed_has_its_own_switch(
    sandbox: RunningSandbox, position: str, *, subscribed: bool
) -> None:
    sandbox.control.switches(bulk_omitted_subscribed=position)
    add_jane(sandbox)
    bulk(sandbox, ["jane@example.com"])
    assert stored_member(sandbox).subscribed is subscribed


def test_a_bulk_call_can_be_answered_with_a_message_alone(sandbox: RunningSandbox) -> None:
    sandbox.control.switches(bulk_answer="message_only")
    assert bulk(sandbox, entries(3)).json() == {"message": "Mailing list has been updated"}
    assert len(sandbox.control.members()) == 3


def test_small_bulk_call_is_a_job_with_its_switch(sandbox: RunningSandbox) -> None:
    sandbox.control.switches(bulk_answer="task_id")
    answer = bulk(sandbox, entries(3))
    assert messages(answer) == (200, "Mailing list has been updated")
    assert answer.json()["task-id"]
    assert answer.json()["list"]["members_count"] == 0
    assert eventually(lambda: len(sandbox.control.members()) == 3)


def test_small_bulk_call_can_be_answered_with_a_task_id_and_be_applied(
    sandbox: RunningSandbox,
) -> None:
    sandbox.control.switches(bulk_answer="list_and_task_id")
    answer = bulk(sandbox, entries(3))
    assert answer.json()["task-id"]
    assert answer.json()["list"]["members_count"] == 3
    assert len(sandbox.control.members()) == 3


def test_job_is_applied_as_late_as_it_was_set(sandbox: RunningSandbox) -> None:
    sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=3600)
    bulk(sandbox, entries(3))
    sandbox.control.switches(bulk_job_seconds=0)
    bulk(sandbox, ["jane@example.com"])
    assert eventually(lambda: len(sandbox.control.members()) == 1)


def test_record_says_when_a_request_and_when_a_job_was_applied(sandbox: RunningSandbox) -> None:
    bulk(sandbox, entries(3))
    sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=0.2)
    bulk(sandbox, ["jane@example.com"])
    assert eventually(lambda: sandbox.control.requests()[-1].committed)
    at_once, later = sandbox.control.requests()
    assert at_once.committed_at
    assert at_once.answered_at
    assert at_once.committed_at <= at_once.answered_at
    assert later.committed_at
    assert later.answered_at
    assert later.committed_at > later.at + 0.1


def test_entries_of_a_bulk_call_can_be_left_out_without_a_word(sandbox: RunningSandbox) -> None:
    sandbox.control.switches(bulk_leaves_out=3)
    assert messages(bulk(sandbox, entries(7))) == (200, "Mailing list has been updated")
    assert len(sandbox.control.members()) == 5


def test_a_wrong_key_can_be_answered_403(sandbox: RunningSandbox) -> None:
    sandbox.control.switches(bad_key_status=403)
    answer = ask(sandbox, "GET", auth=("api", "wrong"))
    assert (answer.status_code, answer.text) == (403, "Forbidden")


def test_the_limit_can_be_answered_420(sandbox: RunningSandbox) -> None:
    sandbox.control.limit(0)
    assert ask(sandbox, "GET").status_code == 429
    sandbox.control.switches(throttled_status=420)
    assert ask(sandbox, "GET").status_code == 420


def test_switches_and_more_can_be_set_at_start() -> None:
    options = [
        "--switch",
        "vars_on_update=merged",
        "--switch",
        "bad_key_status=403",
        "--api-key",
        "one",
        "--api-key",
        "two",
    ]
    with RunningSandbox(
        *options, "--list", "other@example.com", "--latency-ms", "1", "--log-size", "2"
    ) as sandbox:
        switches = sandbox.control.switches()
        assert (switches["vars_on_update"], switches["bad_key_status"]) == ("merged", 403)
        url = f"{sandbox.base_url}/v3/lists/other@example.com"
        keys = ["one", "two", "sandbox-key"]
        assert [requests.get(url, auth=("api", key), timeout=10).status_code for key in keys] == [
            200,
            200,
            403,
        ]
        assert sandbox.control.state()["latency_ms"] == 1
        assert [record.seq for record in sandbox.control.requests()] == [2, 3]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("Jane <jane@example.com>", "jane@example.com"),
        ("<jane@example.com>", "jane@example.com"),
        ("ja ne@example.com", "ne@example.com"),
        ("jane@Example.COM.", "jane@example.com"),
        ("bob@xn--bcher-kva.example", "bob@bücher.example"),
        ("bob@xn--zzzzzzzz.example", "bob@xn--zzzzzzzz.example"),
    ],
)
def test_address_is_normalized_like_flanker_unless_switched_off(
    sandbox: RunningSandbox, given: str, taken: str
) -> None:
    made = ask(sandbox, "POST", "/members", data={"address": given, "upsert": "true"})
    assert made.json()["member"]["address"] == taken
    assert (
        ask(sandbox, "GET", f"/members/{quote(given, safe='@')}").json()["member"]["address"]
        == taken
    )
    assert list(sandbox.control.members()) == [taken]
    sandbox.control.switches(addresses="as_given")
    assert ask(sandbox, "GET", f"/members/{quote(given, safe='@')}").status_code == (
        200 if given == taken else 404
    )
