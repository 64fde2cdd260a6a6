"""The sandbox fails on demand: in which way, for which requests, how often – and tells what it told its clients."""

import email.utils
import json
import time
from typing import Any

import pytest
import requests

from tests.sandboxes import RunningSandbox, eventually

LIST = "newsletter@mg.example.com"
JANE = "jane@example.com"
LONG_SECONDS = 600.0  # longer than any test
SHORT_SECONDS = 0.3  # a client's patience


def ask(sandbox: RunningSandbox, method: str, path: str = "", **options: Any) -> requests.Response:
    timeout = options.pop("timeout", 10)
    url = f"{sandbox.base_url}/v3/lists/{LIST}{path}"
    return requests.request(method, url, auth=("api", "sandbox-key"), timeout=timeout, **options)


def upsert(sandbox: RunningSandbox, address: str = JANE, **options: Any) -> requests.Response:
    return ask(sandbox, "POST", "/members", data={"address": address, "upsert": "true"}, **options)


def statuses(sandbox: RunningSandbox, count: int, address: str = JANE) -> list[int]:
    return [upsert(sandbox, address).status_code for _ in range(count)]


def nothing_was_applied(sandbox: RunningSandbox) -> bool:
    """Whether nothing was applied, and the log says so."""
    record = sandbox.control.requests()[-1]
    return not sandbox.control.members() and not record.committed and record.touched == 0


def change_was_applied(sandbox: RunningSandbox) -> bool:
    """Whether the change was applied, and the log says so."""
    record = sandbox.control.requests()[-1]
    return JANE in sandbox.control.members() and record.committed and record.touched == 1


# -- kinds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", [*range(102, 600, 7), 101, 200, 204, 304, 420, 429, 500, 502, 503, 504, 599]
)
def test_status_fault_answers_any_status(sandbox: RunningSandbox, status: int) -> None:
    sandbox.control.add_fault("status", status=status)
    assert upsert(sandbox, allow_redirects=False).status_code == status
    assert nothing_was_applied(sandbox)
    record = sandbox.control.requests()[-1]
    assert (record.status, record.fault) == (status, "status")


def test_status_100_is_followed_by_no_answer(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status", status=100)
    with pytest.raises(requests.ConnectionError):
        upsert(sandbox)


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("json", "application/json", '{"message": "out of order"}'),
        ("plain", "text/plain; charset=utf-8", "out of order"),
        ("html", "text/html; charset=utf-8", "<h1>503 out of order</h1>"),
        ("empty", "text/plain; charset=utf-8", ""),
    ],
)
def test_a_status_comes_with_any_kind_of_body(
    sandbox: RunningSandbox, body: str, content_type: str, text: str
) -> None:
    sandbox.control.add_fault(
        "status", status=503, body=body, message="out of order", headers={"Via": "1.1 proxy"}
    )
    answer = upsert(sandbox)
    assert (answer.status_code, answer.headers["Content-Type"], answer.headers["Via"]) == (
        503,
        content_type,
        "1.1 proxy",
    )
    assert text in answer.text
    assert bool(text) == bool(answer.text)


def test_status_fault_without_a_message_answers_the_name_of_the_status(
    sandbox: RunningSandbox,
) -> None:
    sandbox.control.add_fault("status", status=503, count=1)
    sandbox.control.add_fault("status", status=599)
    assert [upsert(sandbox).json()["message"] for _ in range(2)] == [
        "Service Unavailable",
        "Status 599",
    ]


def test_reset_fault_resets_the_connection(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("reset")
    with pytest.raises(requests.ConnectionError, match="Connection reset by peer"):
        upsert(sandbox)
    assert nothing_was_applied(sandbox)
    record = sandbox.control.requests()[-1]
    assert (record.status, record.fault, record.answered_at) == ("reset", "reset", None)


@pytest.mark.parametrize("kind", ["hang", "hang_after_commit"])
def test_a_hang_is_no_answer(sandbox: RunningSandbox, kind: str) -> None:
    sandbox.control.add_fault(kind, seconds=LONG_SECONDS)
    with pytest.raises(requests.ReadTimeout):
        upsert(sandbox, timeout=SHORT_SECONDS)
    assert eventually(lambda: sandbox.control.totals()["by_status"] == {"hang": 1})
    assert (
        change_was_applied(sandbox) if kind == "hang_after_commit" else nothing_was_applied(sandbox)
    )
    record = sandbox.control.requests()[-1]
    assert (record.status, record.fault, record.answered_at) == ("hang", kind, None)


@pytest.mark.parametrize("kind", ["hang", "hang_after_commit"])
def test_a_hang_ends_with_a_closed_connection(sandbox: RunningSandbox, kind: str) -> None:
    sandbox.control.add_fault(kind, seconds=0.05)
    with pytest.raises(requests.ConnectionError, match="closed connection without response"):
        upsert(sandbox)


def test_page_of_a_proxy_can_replace_the_answer(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("html_502")
    answer = upsert(sandbox)
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
    assert "<h1>502 Bad Gateway</h1>" in answer.text
    assert nothing_was_applied(sandbox)


def test_text_of_a_wrong_path_can_replace_the_answer(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("magnificent")
    answer = upsert(sandbox)
    assert (answer.status_code, answer.text) == (200, "Mailgun Magnificent API")
    assert nothing_was_applied(sandbox)


def test_answer_about_another_member_can_replace_the_answer(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("other_member", other_address="bob@example.com")
    answer = upsert(sandbox)
    assert (answer.status_code, answer.json()["member"]["address"]) == (200, "bob@example.com")
    assert nothing_was_applied(sandbox)


def test_late_answer_is_the_true_answer(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("latency", ms=60)
    assert upsert(sandbox).json()["member"]["address"] == JANE
    assert change_was_applied(sandbox)
    record = sandbox.control.requests()[-1]
    assert record.answered_at is not None
    assert record.answered_at - record.at >= 0.05


def test_a_truncated_answer_breaks_off(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        upsert(sandbox)
    assert change_was_applied(sandbox)


def test_a_huge_answer_is_true_and_far_too_long(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("huge", megabytes=3)
    answer = upsert(sandbox)
    assert len(answer.content) > 3_000_000
    assert answer.json()["member"]["address"] == JANE
    assert change_was_applied(sandbox)


def test_client_that_stops_reading_a_huge_answer_does_no_harm(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("huge", megabytes=4096, count=1)
    with upsert(sandbox, stream=True) as answer:
        assert answer.raw.read(100).startswith(b'{"member"')
    assert upsert(sandbox).status_code == 200


# -- which, how often ----------------------------------------------------------------------------------------------


def test_a_fault_is_gone_once_its_count_is_used_up(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status", count=2)
    assert statuses(sandbox, 3) == [500, 500, 200]
    assert sandbox.control.state()["faults"] == []


def test_a_fault_without_a_count_stays_until_cleared(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status")
    assert statuses(sandbox, 3) == [500, 500, 500]
    assert [(fault["met"], fault["left"]) for fault in sandbox.control.state()["faults"]] == [
        (3, None)
    ]
    sandbox.control.clear_faults()
    assert statuses(sandbox, 1) == [200]


def test_a_share_is_drawn_the_same_again_after_a_reset(sandbox: RunningSandbox) -> None:
    runs = []
    for _ in range(2):
        sandbox.control.reset()
        sandbox.control.add_fault("status", share=0.5)
        runs.append(statuses(sandbox, 40))
    assert runs[0] == runs[1]
    assert 8 <= runs[0].count(500) <= 32


def test_another_seed_draws_another_share(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status", share=0.5)
    with RunningSandbox("--seed", "2") as other:
        other.control.add_fault("status", share=0.5)
        assert statuses(other, 40) != statuses(sandbox, 40)


def test_a_share_of_none_never_happens(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status", share=0)
    assert statuses(sandbox, 5) == [200] * 5


def test_the_first_fault_that_matches_happens(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status", status=501, address="bob@example.com")
    sandbox.control.add_fault("status", status=502, count=1)
    sandbox.control.add_fault("status", status=503)
    assert statuses(sandbox, 2) == [502, 503]
    assert statuses(sandbox, 1, "bob@example.com") == [501]


def test_fault_can_be_limited_to_one_method(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status", method="post")
    assert (upsert(sandbox).status_code, ask(sandbox, "GET").status_code) == (500, 200)


def test_fault_can_be_limited_to_one_address_wherever_it_occurs(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status", address="Jane@Example.com")
    assert statuses(sandbox, 1) + statuses(sandbox, 1, "bob@example.com") == [500, 200]
    assert ask(sandbox, "GET", "/members/JANE%40example.com").status_code == 500
    assert ask(sandbox, "GET", "/members/bob@example.com").status_code == 200
    for addresses, expected in (
        ([{"address": JANE}], 500),
        ([JANE], 500),
        (["bob@example.com"], 200),
    ):
        answer = ask(
            sandbox,
            "POST",
            "/members.json",
            data={"members": json.dumps(addresses), "upsert": "true"},
        )
        assert answer.status_code == expected


def test_fault_can_be_limited_to_one_path(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status", path_prefix=f"/v3/lists/{LIST}/members.json")
    assert upsert(sandbox).status_code == 200
    assert ask(sandbox, "POST", "/members.json", data={"members": "[]"}).status_code == 500


# -- hints and the limit -------------------------------------------------------------------------------------------


def hinted_wait_until(answer: requests.Response, hint: str) -> float | None:
    """The epoch that the answer tells to wait for, read as a client would; durations count from the answer's date."""
    after, reset = (
        answer.headers.get("Retry-After", ""),
        answer.headers.get("X-RateLimit-Reset", ""),
    )
    match hint:
        case "retry_after_seconds":
            return time.time() + int(after)
        case "retry_after_date":
            return email.utils.parsedate_to_datetime(after).timestamp()
        case "reset_seconds":
            return int(reset)
        case "reset_ms":
            return int(reset) / 1000
        case "body":
            return time.time() + int(answer.json()["retry-seconds"])
        case _:
            assert not after
            assert not reset
            assert answer.json() == {"message": "Too Many Requests"}
            return None


HINTS = ["none", "retry_after_seconds", "retry_after_date", "reset_seconds", "reset_ms", "body"]


@pytest.mark.parametrize("hint", HINTS)
def test_answer_above_the_limit_has_its_hint_and_the_log_keeps_it(
    sandbox: RunningSandbox, hint: Any
) -> None:
    sandbox.control.limit(2, window_seconds=3000, hint=hint)
    opened_after = time.time()
    answers = [upsert(sandbox) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    for answer, record in zip(answers[2:], sandbox.control.requests()[2:], strict=True):
        assert answer.json()["message"] == "Too Many Requests"
        assert record.wait_until == pytest.approx(hinted_wait_until(answer, hint), abs=2)
        assert record.wait_until is None or record.wait_until >= opened_after + 3000
        assert not record.committed


def test_answer_above_the_limit_without_a_hint_logs_no_wait(sandbox: RunningSandbox) -> None:
    sandbox.control.limit(0, hint="none")
    upsert(sandbox)
    assert sandbox.control.requests()[-1].wait_until is None


@pytest.mark.parametrize("hint", HINTS[1:])
def test_a_fault_can_give_any_hint(sandbox: RunningSandbox, hint: str) -> None:
    sandbox.control.add_fault("status", status=503, hint=hint, wait_seconds=500)
    expected = hinted_wait_until(upsert(sandbox), hint)
    assert expected == pytest.approx(time.time() + 500, abs=3)
    assert sandbox.control.requests()[-1].wait_until == pytest.approx(expected, abs=2)


def test_a_new_window_lets_requests_through_again(sandbox: RunningSandbox) -> None:
    sandbox.control.limit(1, window_seconds=0.2)
    assert statuses(sandbox, 1) == [200]
    assert eventually(lambda: upsert(sandbox).status_code == 200)
    sandbox.control.limit(1, window_seconds=3000)
    assert statuses(sandbox, 2) == [200, 429]


def test_the_limit_can_be_lifted(sandbox: RunningSandbox) -> None:
    sandbox.control.limit(0)
    assert statuses(sandbox, 1) == [429]
    sandbox.control.limit(None)
    assert statuses(sandbox, 1) == [200]


def test_latency_delays_every_answer(sandbox: RunningSandbox) -> None:
    sandbox.control.latency(60)
    upsert(sandbox)
    record = sandbox.control.requests()[-1]
    assert record.answered_at is not None
    assert record.answered_at - record.at >= 0.05


# -- reads that lag, and answers that do not fit ---------------------------------------------------------------------


def plan_of(sandbox: RunningSandbox, address: str = JANE) -> str | None:
    found = ask(sandbox, "GET", f"/members/{address}")
    return found.json()["member"]["vars"].get("plan") if found.ok else None


def listed(sandbox: RunningSandbox) -> list[str]:
    return [
        each["address"] for each in ask(sandbox, "GET", "/members/pages?limit=100").json()["items"]
    ]


def plan(sandbox: RunningSandbox, value: str, address: str = JANE) -> None:
    data = {"address": address, "upsert": "true", "vars": json.dumps({"plan": value})}
    assert ask(sandbox, "POST", "/members", data=data).ok


def test_reads_with_a_lag_show_an_earlier_state(sandbox: RunningSandbox) -> None:
    plan(sandbox, "free")
    sandbox.control.switches(read_lag_seconds=LONG_SECONDS)
    plan(sandbox, "pro")
    plan(sandbox, "pro", "rex@example.com")
    assert (plan_of(sandbox), plan_of(sandbox, "rex@example.com")) == ("free", None)
    assert listed(sandbox) == [JANE]
    sandbox.control.unsubscribe(JANE)
    assert ask(sandbox, "GET", f"/members/{JANE}").json()["member"]["subscribed"]
    assert not sandbox.control.members()[JANE].subscribed
    assert ask(sandbox, "DELETE", f"/members/{JANE}").ok
    assert (plan_of(sandbox), listed(sandbox)) == ("free", [JANE])


def test_change_is_shown_once_the_lag_has_passed(sandbox: RunningSandbox) -> None:
    sandbox.control.switches(read_lag_seconds=0.2)
    plan(sandbox, "free")
    plan(sandbox, "pro")
    eventually(lambda: plan_of(sandbox) == "pro")
    eventually(lambda: listed(sandbox) == [JANE])


def test_a_member_that_is_there_can_be_answered_to_be_absent(sandbox: RunningSandbox) -> None:
    plan(sandbox, "free")
    sandbox.control.add_fault("member_not_found", address=JANE, count=2)
    found = ask(sandbox, "GET", f"/members/{JANE}")
    assert (found.status_code, found.json()) == (
        404,
        {"message": f"Member {JANE} of mailing list {LIST} not found"},
    )
    plan(sandbox, "pro")
    assert plan_of(sandbox) == "pro"


def test_write_answered_with_an_error_can_be_stored_all_the_same(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status_after_commit", status=504, method="POST")
    assert upsert(sandbox).status_code == 504
    assert ask(sandbox, "GET", f"/members/{JANE}").ok
