"""The sandbox can be watched and driven by this machine only, remembers what it was asked, and stops."""

import http.client
import re
import signal
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.integration.bench import Printed, printed_by
from tests.sandbox_control import SandboxError
from tests.sandboxes import PROJECT, RunningSandbox, eventually
from worker.sandbox.control import CONTROLS

LIST = "newsletter@mg.example.com"
JANE = "jane@example.com"
KEY = ("api", "sandbox-key")


@pytest.fixture(scope="module")
def running_sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox("--log-size", "20") as sandbox:
        yield sandbox


def upsert(sandbox: RunningSandbox, address: str = JANE, **fields: str) -> requests.Response:
    url = f"{sandbox.base_url}/v3/lists/{LIST}/members"
    return requests.post(
        url, data={"address": address, "upsert": "true", **fields}, auth=KEY, timeout=10
    )


def bulk(sandbox: RunningSandbox, form: dict[str, str]) -> None:
    requests.post(
        f"{sandbox.base_url}/v3/lists/{LIST}/members.json", data=form, auth=KEY, timeout=10
    )


def drive(sandbox: RunningSandbox, method: str, route: str, **options: Any) -> tuple[int, Any]:
    answer = requests.request(method, f"{sandbox.base_url}/sandbox/{route}", timeout=10, **options)
    return answer.status_code, answer.json()


CHANGING = [(method, path) for method, path in CONTROLS if method != "GET"]


@pytest.mark.parametrize(("method", "path"), CHANGING, ids=lambda each: each)
def test_no_page_from_elsewhere_can_press_a_button(
    sandbox: RunningSandbox, method: str, path: str
) -> None:
    route = path.removeprefix("/sandbox/")
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert drive(sandbox, method, route, headers=headers)[0] == 403


def test_one_request_is_told_with_its_form_and_answer(sandbox: RunningSandbox) -> None:
    upsert(sandbox, name="Jané")
    _, told = drive(sandbox, "GET", "request", params={"seq": 1})
    assert told["form"]["name"] == "Jané"
    assert '"message": "Mailing list member has been created"' in told["answer"]
    assert "answer" not in drive(sandbox, "GET", "requests")[1]["requests"][0]
    assert drive(sandbox, "GET", "request", params={"seq": 2})[0] == 400


def test_a_look_at_a_member_not_there_is_told_from_other_404s(sandbox: RunningSandbox) -> None:
    members = f"{sandbox.base_url}/v3/lists/{LIST}/members"
    requests.get(f"{members}/{JANE}", auth=KEY, timeout=10)
    requests.get(f"{members.replace('news', 'other')}/{JANE}", auth=KEY, timeout=10)
    sandbox.control.add_fault("member_not_found", count=1)
    requests.get(f"{members}/{JANE}", auth=KEY, timeout=10)
    assert [each.absent for each in sandbox.control.requests()] == [True, False, False]
    assert sandbox.control.totals()["absent"] == 1


def test_one_fault_of_several_is_removed(sandbox: RunningSandbox) -> None:
    first, second = (sandbox.control.add_fault("reset") for _ in range(2))
    assert drive(sandbox, "DELETE", "faults", json={"id": first})[0] == 200
    assert [each["id"] for each in sandbox.control.state()["faults"]] == [second]


# -- the log -------------------------------------------------------------------------------------------------------


def test_request_is_logged_as_it_came(sandbox: RunningSandbox) -> None:
    upsert(sandbox, "Jane+x@example.com", name="Jané & Co", vars='{"plan": "pro"}')
    requests.get(
        f"{sandbox.base_url}/v3/lists/{LIST}/members/jane%2Bx@example.com", auth=KEY, timeout=10
    )
    posted, got = sandbox.control.requests()
    form = {
        "address": "Jane+x@example.com",
        "upsert": "true",
        "name": "Jané & Co",
        "vars": '{"plan": "pro"}',
    }
    assert (posted.seq, posted.method, posted.list, posted.address) == (
        1,
        "POST",
        LIST,
        "Jane+x@example.com",
    )
    assert (posted.form, posted.status, posted.fault, posted.touched, posted.committed) == (
        form,
        200,
        None,
        1,
        True,
    )
    assert (got.seq, got.path) == (2, f"/v3/lists/{LIST}/members/jane%2Bx@example.com")
    assert (got.address, got.status, got.touched, got.committed) == (
        "jane+x@example.com",
        200,
        0,
        False,
    )
    assert posted.at <= (posted.answered_at or 0) <= got.at


def test_bulk_call_is_logged_with_its_form(sandbox: RunningSandbox) -> None:
    form = {
        "members": '[{"address": "Jane@example.com", "vars": {"plan": "pro & \\u00e9 +%25"}}]',
        "upsert": "true",
    }
    bulk(sandbox, form)
    [record] = sandbox.control.requests()
    assert (record.form, record.address, record.touched, record.committed) == (form, None, 1, True)
    assert sandbox.control.members()[JANE].vars == {"plan": "pro & é +%25"}


def test_api_key_is_never_logged(sandbox: RunningSandbox) -> None:
    upsert(sandbox)
    assert (
        "sandbox-key" not in requests.get(f"{sandbox.base_url}/sandbox/requests", timeout=10).text
    )


def test_the_log_is_bounded_and_the_totals_are_not(sandbox: RunningSandbox) -> None:
    sandbox.control.add_fault("status", status=503, count=5)
    for number in range(30):
        upsert(sandbox, f"{number}@example.com")
    assert [record.seq for record in sandbox.control.requests()] == list(range(11, 31))
    totals = {
        "requests": 30,
        "touched": 25,
        "by_status": {"200": 25, "503": 5},
        "by_fault": {"status": 5},
        "absent": 0,
    }
    assert sandbox.control.totals() == totals


def test_log_is_read_from_a_given_position(sandbox: RunningSandbox) -> None:
    for number in range(5):
        upsert(sandbox, f"{number}@example.com")
    assert [record.seq for record in sandbox.control.requests(since=3)] == [4, 5]
    assert sandbox.control.requests(since=5) == []
    _, answer = drive(sandbox, "GET", "requests?since=1&limit=2")
    assert ([record["seq"] for record in answer["requests"]], answer["last"]) == ([2, 3], 5)


def test_page_views_and_control_calls_are_not_logged(sandbox: RunningSandbox) -> None:
    requests.get(sandbox.base_url, timeout=10)
    sandbox.control.state()
    assert sandbox.control.totals()["requests"] == 0


# -- control -------------------------------------------------------------------------------------------------------


def test_a_click_on_the_unsubscribe_link_unsubscribes(sandbox: RunningSandbox) -> None:
    upsert(sandbox, name="Jane", vars='{"plan": "pro"}')
    before = sandbox.control.members()[JANE]
    sandbox.control.unsubscribe("Jane@example.com")
    after = sandbox.control.members()[JANE]
    assert (after.subscribed, after.name, after.vars) == (False, before.name, before.vars)
    [event] = sandbox.control.events()
    assert (event.list, event.address, event.at) == (LIST, JANE, after.updated_at)


def test_the_key_can_be_changed_and_changed_back(sandbox: RunningSandbox) -> None:
    sandbox.control.set_key("another")
    assert upsert(sandbox).status_code == 401
    sandbox.control.set_key("sandbox-key")
    assert upsert(sandbox).status_code == 200


def test_a_list_can_be_removed_and_added(sandbox: RunningSandbox) -> None:
    upsert(sandbox)
    sandbox.control.remove_list(LIST.upper())
    assert upsert(sandbox).status_code == 404
    sandbox.control.add_list(LIST)
    assert sandbox.control.members() == {}
    sandbox.control.add_list("second@example.com")
    assert upsert(sandbox).status_code == 200
    assert (len(sandbox.control.members()), len(sandbox.control.members("second@example.com"))) == (
        1,
        0,
    )
    sandbox.control.add_list(LIST)
    assert len(sandbox.control.members()) == 1


def test_a_reset_brings_back_the_start(sandbox: RunningSandbox) -> None:
    upsert(sandbox)
    sandbox.control.unsubscribe(JANE)
    sandbox.control.switches(vars_on_update="merged")
    sandbox.control.add_fault("reset")
    sandbox.control.refuse(JANE)
    sandbox.control.limit(0)
    sandbox.control.latency(1)
    sandbox.control.set_key("another")
    sandbox.control.add_list("second@example.com")
    sandbox.control.reset()
    state = sandbox.control.state()
    assert (state["members"], state["events"], state["requests"], state["faults"]) == (
        [],
        [],
        [],
        [],
    )
    assert (state["limit"]["requests"], state["latency_ms"], len(state["lists"])) == (None, 0, 1)
    assert state["switches"]["vars_on_update"] == "replaced"
    assert upsert(sandbox).status_code == 200


BAD_CALLS = [
    ("POST", "faults", {}, "kind"),
    ("POST", "faults", {"kind": "earthquake"}, "kind"),
    ("POST", "faults", {"kind": "status", "status": 600}, "status"),
    ("POST", "faults", {"kind": "status", "share": 1.5}, "share"),
    ("POST", "faults", {"kind": "status", "count": 0}, "count"),
    ("POST", "faults", {"kind": "status", "colour": "red"}, "colour"),
    ("POST", "faults", {"kind": "html_502", "hint": "body"}, "hint"),
    ("POST", "faults", {"kind": "status", "headers": {"X": "a\r\nY: b"}}, "headers"),
    ("POST", "faults", {"kind": "status", "headers": {"X Y": "a"}}, "headers"),
    ("POST", "refusals", {"addresses": JANE}, "addresses"),
    ("DELETE", "refusals", {"addresses": [JANE]}, "addresses"),
    ("POST", "limit", {"requests": -1}, "requests"),
    ("POST", "limit", {"requests": 1, "window_seconds": 0}, "window_seconds"),
    ("POST", "switches", {"vars_on_update": "lost"}, "vars_on_update"),
    ("POST", "switches", {"bad_key_status": 404}, "bad_key_status"),
    ("POST", "switches", {"bulk_answer": "list", "bulk_bad_member": "kept"}, "bulk_bad_member"),
    ("POST", "switches", {"unheard_of": 1}, "unheard_of"),
    ("POST", "latency", {"ms": -1}, "ms"),
    ("POST", "latency", {}, "ms"),
    ("POST", "key", {"key": 7}, "key"),
    ("POST", "lists", {"address": "newsletter"}, "not an e-mail address"),
    (
        "DELETE",
        "lists",
        {"address": "missing@example.com"},
        "Mailing list missing@example.com not found",
    ),
    ("POST", "unsubscribe", {"address": "nobody@example.com"}, "not found"),
    ("POST", "unsubscribe", {"address": JANE, "list": "missing@example.com"}, "not found"),
    ("POST", "reset", {"really": True}, "really"),
    ("GET", "members?list=missing@example.com", None, "not found"),
    ("GET", "requests?since=yesterday", None, "since"),
    ("POST", "limit", [1], "JSON object"),
]


@pytest.mark.parametrize(("method", "route", "body", "named"), BAD_CALLS)
def test_bad_input_is_refused_in_one_line_that_names_the_input(
    sandbox: RunningSandbox, method: str, route: str, body: Any, named: str
) -> None:
    before = sandbox.control.state()
    status, answer = drive(sandbox, method, route, json=body)
    assert status == 400
    assert named in answer["error"]
    assert "\n" not in answer["error"]
    assert sandbox.control.state() | {"now": 0} == before | {"now": 0}


def test_a_body_that_is_no_json_is_refused(sandbox: RunningSandbox) -> None:
    assert drive(sandbox, "POST", "limit", data=b"requests=1") == (
        400,
        {"error": "the body is not JSON"},
    )


def test_client_raises_the_error_line_of_the_sandbox(sandbox: RunningSandbox) -> None:
    with pytest.raises(SandboxError, match="kind: Input should be"):
        sandbox.control.add_fault("earthquake")


def test_an_unknown_route_is_not_found(sandbox: RunningSandbox) -> None:
    assert drive(sandbox, "GET", "nonsense")[0] == 404
    assert drive(sandbox, "GET", "reset")[0] == 404


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80", "", "[", "localhost.evil.example"],
)
def test_foreign_host_name_cannot_control_the_sandbox(sandbox: RunningSandbox, host: str) -> None:
    assert drive(sandbox, "POST", "key", json={"key": "x"}, headers={"Host": host})[0] == 403
    assert drive(sandbox, "GET", "state", headers={"Host": host})[0] == 403
    assert upsert(sandbox).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:99", "127.0.0.1", "127.8.8.8:1", "[::1]:80", "LOCALHOST"]
)
def test_local_host_names_can_control_the_sandbox(sandbox: RunningSandbox, host: str) -> None:
    assert drive(sandbox, "GET", "state", headers={"Host": host})[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_foreign_page_cannot_control_the_sandbox(sandbox: RunningSandbox, origin: str) -> None:
    assert drive(sandbox, "POST", "key", json={"key": "x"}, headers={"Origin": origin})[0] == 403
    assert drive(sandbox, "GET", "state", headers={"Origin": sandbox.base_url})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_foreign_page_cannot_call_the_mailgun_api(
    sandbox: RunningSandbox, headers: dict[str, str]
) -> None:
    url = f"{sandbox.base_url}/v3/lists/{LIST}/members"
    answer = requests.post(url, data={"address": JANE}, auth=KEY, headers=headers, timeout=10)
    assert answer.status_code == 403
    assert sandbox.control.members() == {}
    assert (
        requests.get(f"{sandbox.base_url}/sandbox/state", headers=headers, timeout=10).status_code
        == 403
    )


def test_page_is_not_shown_under_a_foreign_name_or_in_a_frame(sandbox: RunningSandbox) -> None:
    assert (
        requests.get(sandbox.base_url, headers={"Host": "evil.example"}, timeout=10).status_code
        == 403
    )
    policy = requests.get(sandbox.base_url, timeout=10).headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy


# -- the page ------------------------------------------------------------------------------------------------------


def test_page_loads_nothing_from_other_hosts(sandbox: RunningSandbox) -> None:
    answer = requests.get(sandbox.base_url, timeout=10)
    assert answer.status_code == 200
    assert "signal-mailgun send FILE" in answer.text
    assert not re.findall(r"""(?:src|href)=["'](?!data:|/[a-z])|url\(|@import""", answer.text)


def test_page_runs_only_its_own_script(sandbox: RunningSandbox) -> None:
    answer = requests.get(sandbox.base_url, timeout=10)
    policy = answer.headers["Content-Security-Policy"]
    [nonce] = re.findall(r"script-src 'nonce-([^']+)'$", policy)
    assert "default-src 'none'" in policy
    assert re.findall(r"<script[^>]*>", answer.text) == [f'<script nonce="{nonce}">']
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\bon\w+=", answer.text
    )
    assert nonce not in requests.get(sandbox.base_url, timeout=10).text


def test_page_shows_the_newest_hundred_members_first(sandbox: RunningSandbox) -> None:
    for number in range(101):
        upsert(sandbox, f"{number}@example.com")
    upsert(sandbox, "50@example.com")
    state = sandbox.control.state()
    assert [member["address"] for member in state["members"][:2]] == [
        "50@example.com",
        "100@example.com",
    ]
    assert (len(state["members"]), state["lists"][0]["members"]) == (100, 101)
    assert [record["seq"] for record in state["requests"][:2]] == [102, 101]


def test_page_shows_how_many_members_a_bulk_call_touched(sandbox: RunningSandbox) -> None:
    sandbox.control.switches(bulk_bad_member="skipped")
    for members in ('["a@example.com", "b@example.com", "c@"]', "[]", "["):
        bulk(sandbox, {"members": members, "upsert": "true"})
    upsert(sandbox)
    told = [
        (record["entries"], record["touched"]) for record in sandbox.control.state()["requests"]
    ]
    assert told == [(None, 1), (None, 0), (0, 0), (3, 2)]


def test_page_of_an_empty_list_shows_its_name(sandbox: RunningSandbox) -> None:
    state = sandbox.control.state()
    assert (state["list"], state["members"]) == (LIST, [])
    assert state["lists"] == [{"address": LIST, "members": 0, "subscribed": 0}]
    sandbox.control.remove_list(LIST)
    assert (sandbox.control.state()["list"], sandbox.control.state()["lists"]) == (None, [])


# -- start and stop ------------------------------------------------------------------------------------------------


def start(*options: str) -> Printed:
    return printed_by("-m", "tests.sandbox_process", *options, folder=PROJECT)


def test_port_in_use_ends_the_start_in_one_line(sandbox: RunningSandbox) -> None:
    ended = start("--port", str(urlsplit(sandbox.base_url).port))
    assert (ended.status, ended.out) == (1, "")
    assert "address already in use" in ended.err.lower()
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--host", "0.0.0.0"],  # noqa: S104 – it is refused
        ["--host", "example.com"],
        ["--list", "newsletter"],
        ["--switch", "vars_on_update=lost"],
        ["--log-size", "-1"],
    ],
)
def test_impossible_option_ends_the_start_in_one_line(options: list[str]) -> None:
    ended = start(*options)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("sandbox: ")
    assert ended.err.count("\n") == 1


OWN_NAMES = ("sandbox", "Sandbox.shop.svc.cluster.local")


def test_allow_remote_opens_the_sandbox_to_addresses_and_allowed_names() -> None:
    names = [f"--allow-host={each}" for each in OWN_NAMES]
    with RunningSandbox("--host", "0.0.0.0", "--allow-remote", *names) as sandbox:  # noqa: S104
        for host in (
            "10.0.0.7:8025",
            "[fd00::7]:8025",
            "localhost",
            "sandbox:8025",
            "sandbox.shop.svc.cluster.local.",
        ):
            assert drive(sandbox, "GET", "state", headers={"Host": host})[0] == 200
        for host in (
            "evil.example",
            "evil.example:8025",
            "evil",
            "evil.local",
            "sandbox.evil.example",
            "",
        ):
            assert drive(sandbox, "GET", "state", headers={"Host": host})[0] == 403
            assert (
                drive(sandbox, "POST", "reset", headers={"Host": host, "Origin": f"http://{host}"})[
                    0
                ]
                == 403
            )


def test_allow_host_opens_the_sandbox_to_that_name_but_to_no_address() -> None:
    with RunningSandbox("--allow-host", "box.example") as sandbox:
        assert drive(sandbox, "GET", "state", headers={"Host": "box.example:99"})[0] == 200
        for host in ("10.0.0.7:8025", "sandbox", "x.box.example"):
            status, answer = drive(sandbox, "GET", "state", headers={"Host": host})
            assert status == 403
            assert "--allow-host" in str(answer)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sandbox_stops_cleanly_while_requests_hang(number: signal.Signals) -> None:
    ended: list[str] = []

    def wait_in_vain(sandbox: RunningSandbox) -> None:
        try:
            upsert(sandbox)
        except requests.ConnectionError:
            ended.append("connection closed")

    with RunningSandbox() as sandbox:
        sandbox.control.add_fault("hang", seconds=600)
        clients = [threading.Thread(target=wait_in_vain, args=(sandbox,)) for _ in range(3)]
        for client in clients:
            client.start()
        assert eventually(lambda: sandbox.control.totals()["by_status"] == {"hang": 3})
        sandbox.process.send_signal(number)
        assert sandbox.process.wait(60) == 0
        for client in clients:
            client.join(60)
        assert ended == ["connection closed"] * 3


def test_sandbox_keeps_hundreds_of_connections_alive(sandbox: RunningSandbox) -> None:
    where = urlsplit(sandbox.base_url)
    connections = [
        http.client.HTTPConnection(str(where.hostname), where.port, timeout=10) for _ in range(300)
    ]
    kept: list[tuple[int, object]] = []
    for _ in range(2):
        for connection in connections:
            connection.request("GET", "/v3/nonsense")
            answer = connection.getresponse()
            answer.read()
            kept.append((answer.status, connection.sock))
    assert {status for status, _ in kept} == {HTTPStatus.OK}
    assert [sock for _, sock in kept[:300]] == [sock for _, sock in kept[300:]]
    for connection in connections:
        connection.close()
