"""The probe against the sandbox with every switch either way, against a Mailgun that breaks one assumption, and as a command."""

import json
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote_plus, urlsplit

import pytest
import urllib3
from pydantic import SecretStr

from tests.adapters import KEY, US, Far, Sent, answered, asking, form_of, timed_out
from tests.integration.bench import Piped, piped, printed_by
from tests.sandboxes import RunningSandbox, eventually
from worker.mailgun.client import MailgunClient
from worker.mailgun.member import Member
from worker.mailgun.response import NoResponse, Response
from worker.ops.account_probe.probe_member import ProbeMember
from worker.ops.account_probe.questions import (
    MERGE_INSTEAD,
    NO_ADDRESS,
    NO_FIX,
    NOTHING,
    READ_NOTHING,
    Mode,
)
from worker.ops.account_probe.runner import ProbeFinding, ProbeReport, run_probe
from worker.sandbox import member_fields
from worker.sandbox.api import answer
from worker.sandbox.quirks import Quirks
from worker.sandbox.request import Reply, Request, json_reply
from worker.sandbox.state import SandboxConfig, SandboxState
from worker.sandbox.stored_member import StoredMember

LIST = "newsletter@mg.example.com"
THROW_AWAY = "signal-mailgun-throw-away@mg.example.com"
DELETED_AGAIN = "the throw-away member is deleted again"
JANE = Member("jane@example.com", "Jane Doe", True, {"plan": "pro"})  # noqa: FBT003


def mailgun_at(sandbox: RunningSandbox, *, read_timeout: float = 15) -> MailgunClient:
    return MailgunClient(
        base_url=sandbox.base_url,
        key=SecretStr("sandbox-key"),
        list_address=LIST,
        connect_timeout=5,
        read_timeout=read_timeout,
    )


def probe_report(
    mailgun: MailgunClient,
    mode: Mode = "merge",
    *,
    after: int = 0,
    then: Callable[[], object] = int,
) -> ProbeReport:
    """A probe that waits for nothing, and does `then` before the request that follows the first `after` ones."""
    asked = iter(range(10_000))

    def hook() -> bool:
        if next(asked) == after:
            then()
        return False

    return run_probe(ProbeMember(mailgun, stopped=hook, sleep=lambda _: None), mode)


def findings_by_question(result: ProbeReport) -> dict[str, str]:
    return {finding.tried: finding.found for finding in result.findings}


def wrong_findings(result: ProbeReport) -> set[str]:
    return {finding.tried for finding in result.findings if not finding.well}


def finding_for(result: ProbeReport, tried: str) -> ProbeFinding:
    return next(finding for finding in result.findings if finding.tried == tried)


# The sandbox, every switch either way


@pytest.mark.parametrize(
    ("switch", "position", "tried", "expected"),
    [
        ("vars_on_update", "replaced", "vars on an update", "replaced"),
        ("vars_on_update", "merged", "vars on an update", "merged"),
        ("omitted_vars", "cleared", "vars left out", "cleared"),
        ("omitted_vars", "kept", "vars left out", "kept"),
        ("omitted_name", "cleared", "name left out", "cleared"),
        ("omitted_name", "kept", "name left out", "kept"),
        ("omitted_subscribed", "subscribes", "subscribed left out", "subscribes"),
        ("omitted_subscribed", "kept", "subscribed left out", "kept"),
        ("bulk_omitted_subscribed", "subscribes", "bulk, no subscribed", "subscribes"),
        ("bulk_omitted_subscribed", "kept", "bulk, no subscribed", "kept"),
        ("bulk_answer", "list", "bulk answers with", "the list"),
        ("bulk_answer", "message_only", "bulk answers with", "no list"),
        ("bulk_answer", "list_and_task_id", "bulk answers with", "a job's id"),
        ("bulk_answer", "task_id", "bulk answers with", "a job's id"),
        ("bulk_bad_member", "refuses_all", "bulk, one bad member", "all refused (400)"),
        ("bulk_bad_member", "skipped", "bulk, one bad member", "it alone skipped"),
    ],
)
def test_sandbox_switch_is_found_and_worker_is_right_in_either_position(
    sandbox: RunningSandbox, switch: str, position: str, tried: str, expected: str
) -> None:
    before = findings_by_question(probe_report(mailgun_at(sandbox)))
    sandbox.control.switches(**{switch: position})
    result = probe_report(mailgun_at(sandbox))
    after = findings_by_question(result)
    assert after[tried] == expected
    also = {
        name for name in after if switch == "bulk_answer" and name.startswith("bulk")
    }  # a job is done later
    assert {name for name in after if after[name] != before[name]} <= {tried} | also
    assert wrong_findings(result) == set()


def test_every_sandbox_switch_is_found_or_decides_how_the_probe_ends() -> None:
    ends = {"bad_key_status", "throttled_status"}
    never_met = {"addresses"}  # what the worker sends is read alike either way
    (mark,) = (
        mark
        for mark in test_sandbox_switch_is_found_and_worker_is_right_in_either_position.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    )
    tried = {(switch, position) for switch, position, *_ in mark.args[1]}
    assert tried == {
        (name, position)
        for name, field in Quirks.model_fields.items()
        for position in get_args(field.annotation)
        if name not in ends | never_met
    }


def test_probe_finds_spellings_types_and_headers_of_the_sandbox(sandbox: RunningSandbox) -> None:
    result = findings_by_question(probe_report(mailgun_at(sandbox)))
    assert result["other words for false"] == "taken: no False; refused: 0"
    assert result["other words for true"] == "taken: yes True; refused: 1 perhaps"
    assert result["JSON types in vars"] == "kept"
    assert result["rate-limit headers"] == "none"


def test_probe_leaves_no_member_behind_and_changes_no_other_member(sandbox: RunningSandbox) -> None:
    mailgun_at(sandbox).upsert(JANE)
    before = sandbox.control.members()
    result = probe_report(mailgun_at(sandbox))
    assert result.gone
    assert result.findings
    assert sandbox.control.members() == before


def test_a_leftover_of_an_earlier_probe_is_deleted_first(sandbox: RunningSandbox) -> None:
    mailgun_at(sandbox).upsert(Member(THROW_AWAY, "old", False, {"old": 1}))  # noqa: FBT003
    result = probe_report(mailgun_at(sandbox))
    assert result.leftover
    assert wrong_findings(result) == set()
    assert sandbox.control.members() == {}
    assert not probe_report(mailgun_at(sandbox)).leftover


@pytest.mark.parametrize("after", [1, 2, 3, 4, 20, 60])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 401, "body": "plain"},
        {"kind": "status", "status": 503},
        {"kind": "html_502"},
        {"kind": "reset"},
        {"kind": "truncated"},
        {"kind": "hang_after_commit", "seconds": 60},
    ],
    ids=lambda fault: str(fault.get("status", fault["kind"])),
)
def test_failing_request_ends_the_probe_with_its_member_deleted(
    sandbox: RunningSandbox, fault: dict[str, Any], after: int
) -> None:
    mailgun = mailgun_at(sandbox, read_timeout=1)
    result = probe_report(
        mailgun, after=after, then=lambda: sandbox.control.add_fault(count=1, **fault)
    )
    assert result.trouble
    assert result.findings == ()
    assert result.gone
    assert sandbox.control.members() == {}


@pytest.mark.parametrize("status", [401, 500, 429])
def test_member_that_cannot_be_deleted_is_reported_as_left(
    sandbox: RunningSandbox, status: int
) -> None:
    fault: dict[str, Any] = {"kind": "status", "status": status}
    result = probe_report(
        mailgun_at(sandbox), after=5, then=lambda: sandbox.control.add_fault(**fault)
    )
    assert not result.gone
    assert isinstance(result.trouble, Response)
    assert set(sandbox.control.members()) == {THROW_AWAY}


def test_member_is_deleted_after_waiting_for_a_limit_by_the_minute(sandbox: RunningSandbox) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) > 60:
            sandbox.control.limit(None)

    sandbox.control.limit(10, window_seconds=600)
    result = run_probe(ProbeMember(mailgun_at(sandbox), sleep=sleep), "merge")
    assert isinstance(result.trouble, Response)
    assert result.trouble.status == 429
    assert result.gone
    assert sandbox.control.members() == {}


# A Mailgun that breaks one assumption: the sandbox's own rules, without a network.
# The form of a request or the reply to it is changed.

Twist = Callable[[Callable[[Request], Reply], Request], Reply]


def twisted_mailgun(
    twist: Twist, *, world: SandboxState | None = None
) -> tuple[MailgunClient, SandboxState]:
    """The real client, and at its other end the sandbox's rules seen through `twist`."""
    state = world or SandboxState(SandboxConfig(api_keys=(KEY,), lists=(LIST,)), now=0)

    def replied(request: Sent) -> urllib3.HTTPResponse:
        reply = twist(lambda call: answer(state, call, now=0), call_of(request))
        return answered(reply.status, reply.body, reply.headers)

    return asking(Far(replied), list_address=LIST), state


def call_of(request: Sent) -> Request:
    path = urlsplit(request.url).path
    form = form_of(request)
    segments = tuple(unquote_plus(path).split("/")[1:])
    return Request(request.method, path, segments, {}, form, request.headers["Authorization"], US)


def with_changed_form(change: Callable[[dict[str, str]], dict[str, str]]) -> Twist:
    """Mailgun reads another form than the one that was sent."""
    return lambda ask, call: ask(replace(call, form=change(call.form)) if call.form else call)


def with_changed_reply(
    change: Callable[[dict[str, Any]], object], *, method: str, segments: int
) -> Twist:
    """Mailgun's 200s to this kind of request show another member than the one that it holds."""

    def twisted(ask: Callable[[Request], Reply], call: Request) -> Reply:
        reply = ask(call)
        if (call.method, len(call.segments), reply.status) != (method, segments, 200):
            return reply
        content = json.loads(reply.body)
        if "member" in content:
            change(content["member"])
        return json_reply(200, content)

    return twisted


def without(name: str, form: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in form.items() if key != name}


def missing_member_without_its_text(ask: Callable[[Request], Reply], call: Request) -> Reply:
    reply = ask(call)
    return json_reply(404, {"message": "not found"}) if reply.status == 404 else reply


def addresses_are_case_sensitive(ask: Callable[[Request], Reply], call: Request) -> Reply:
    other = call.method == "GET" and call.segments[-1] != call.segments[-1].lower()
    return (
        json_reply(404, {"message": "Member X of mailing list Y not found"}) if other else ask(call)
    )


def no_word_for_true(ask: Callable[[Request], Reply], call: Request) -> Reply:
    refused = call.method == "POST" and call.fields.get("subscribed") == "true"
    return json_reply(400, {"message": member_fields.BAD_SUBSCRIBED}) if refused else ask(call)


def pages_for_everybody(ask: Callable[[Request], Reply], call: Request) -> Reply:
    return Reply(200, b"Mailgun Magnificent API") if call.method == "GET" else ask(call)


BROKEN: dict[str, tuple[str, Twist, str, str]] = {
    "no member without its text": (
        "a missing member's 404",
        missing_member_without_its_text,
        "404 not found",
        READ_NOTHING,
    ),
    "a new member is always subscribed": (
        "new, subscribed=false",
        with_changed_form(lambda form: without("subscribed", form)),
        "subscribed",
        NO_FIX,
    ),
    "an answer about no member": (
        "POST answers with",
        with_changed_reply(lambda member: member.clear(), method="POST", segments=4),
        "200 Mailing list member has been created",
        NO_FIX,
    ),
    "an answer without vars": (
        "POST answers the whole",
        with_changed_reply(lambda member: member.update(vars={}), method="POST", segments=4),
        "not as sent: vars",
        "MAILGUN_MEMBER_CACHE_SECONDS=0; report this",
    ),
    "an old copy is read": (
        "GET after POST",
        with_changed_reply(
            lambda member: member.update(name="", vars={}), method="GET", segments=5
        ),
        "not as sent: name vars",
        READ_NOTHING,
    ),
    "a page is read": (
        "GET after POST",
        pages_for_everybody,
        "200 Mailgun Magnificent API",
        READ_NOTHING,
    ),
    "capitals matter": (
        "GET in capitals",
        addresses_are_case_sensitive,
        "no such member",
        "lowercase the list's addresses; report this",
    ),
    "upsert=true is not taken": (
        "upsert=true",
        with_changed_form(lambda form: without("upsert", form)),
        "400 Address already exists <address>",
        NO_FIX,
    ),
    "subscribed=false is ignored": (
        "subscribed=false",
        with_changed_form(lambda form: without("subscribed", form)),
        "subscribed",
        NO_FIX,
    ),
    "subscribed=true is refused": (
        "subscribed=true",
        no_word_for_true,
        f"400 {member_fields.BAD_SUBSCRIBED}",
        NO_FIX,
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_assumption_of_the_worker_is_found_wrong_and_has_a_fix(broken: str) -> None:
    tried, twist, expected, fix = BROKEN[broken]
    mailgun, world = twisted_mailgun(twist)
    result = probe_report(mailgun)
    finding = finding_for(result, tried)
    assert (finding.found, finding.to_set, finding.well) == (expected, fix, False)
    assert result.gone
    assert len(world.mailing_list(LIST)) == 0


def test_every_assumption_of_the_worker_has_a_case_in_which_it_is_wrong() -> None:
    mailgun, _ = twisted_mailgun(lambda ask, call: ask(call))
    result = probe_report(mailgun)
    assert wrong_findings(result) == set()
    assert {each.tried for each in result.findings if each.relied_on} == {
        tried for tried, *_ in BROKEN.values()
    }


@pytest.mark.parametrize(
    ("broken", "is_wrong"),
    [
        ("no member without its text", False),
        ("an old copy is read", False),
        ("a new member is always subscribed", True),
    ],
)
def test_overwrite_mode_reads_nothing_and_so_relies_on_no_read(broken: str, is_wrong: bool) -> None:  # noqa: FBT001
    tried, twist, expected, _ = BROKEN[broken]
    finding = finding_for(probe_report(twisted_mailgun(twist)[0], "overwrite"), tried)
    assert finding.found == expected
    assert finding.well is not is_wrong


@pytest.mark.parametrize(
    ("switches", "advised"),
    [
        (Quirks(), {"vars on an update", "name left out"}),
        (Quirks(vars_on_update="merged", omitted_name="kept"), set()),
    ],
)
def test_overwrite_mode_that_erases_other_events_fields_is_advised_against(
    switches: Quirks, advised: set[str]
) -> None:
    world = SandboxState(SandboxConfig(api_keys=(KEY,), lists=(LIST,), switches=switches), now=0)
    mailgun, _ = twisted_mailgun(lambda ask, call: ask(call), world=world)
    result = probe_report(mailgun, "overwrite")
    assert {each.tried for each in result.findings if each.to_set == MERGE_INSTEAD} == advised
    assert {each.to_set for each in probe_report(mailgun).findings} == {NOTHING}


def test_rate_limit_headers_are_shown_and_the_setting_is_named() -> None:
    headers = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "299", "Server": "nginx"}
    mailgun, _ = twisted_mailgun(lambda ask, call: replace(ask(call), headers=headers))
    finding = finding_for(probe_report(mailgun), "rate-limit headers")
    assert finding.found == "x-ratelimit-limit 300, x-ratelimit-remaining 299"
    assert finding.to_set == "MAILGUN_RATE_LIMIT=300, if that is a minute"


def test_a_number_that_mailgun_rounds_is_found() -> None:
    def rounded(member: dict[str, Any]) -> None:
        if "large" in member["vars"]:
            member["vars"]["large"] = int(float(member["vars"]["large"]))

    finding = finding_for(
        probe_report(twisted_mailgun(with_changed_reply(rounded, method="GET", segments=5))[0]),
        "JSON types in vars",
    )
    assert (finding.found, finding.well) == ("changed: large", True)
    assert finding.to_set == "long numbers as text in events"


def test_bad_member_that_mailgun_accepts_is_deleted_too() -> None:
    world = SandboxState(
        SandboxConfig(api_keys=(KEY,), lists=(LIST,), switches=Quirks(bulk_bad_member="skipped")),
        now=0,
    )

    def accepts(ask: Callable[[Request], Reply], call: Request) -> Reply:
        if call.segments[-1] == "members.json" and NO_ADDRESS in call.fields["members"]:
            world.mailing_list(LIST).put(StoredMember(NO_ADDRESS, "", False, {}, 0))  # noqa: FBT003
        return ask(call)

    result = probe_report(twisted_mailgun(accepts, world=world)[0])
    assert findings_by_question(result)["bulk, one bad member"] == "made a member; deleted"
    assert len(world.mailing_list(LIST)) == 0


def test_write_that_arrives_after_its_timeout_and_first_delete_is_deleted() -> None:
    late: list[Request] = []
    deletes: list[Request] = []

    def slow(ask: Callable[[Request], Reply], call: Request) -> Reply:
        if call.method == "POST":
            late.append(call)
            timed_out()
        reply = ask(call)
        if call.method == "DELETE" and late and not deletes:
            deletes.append(call)
            ask(late[0])  # the first DELETE found nothing: the member comes only now
        return reply

    mailgun, world = twisted_mailgun(slow)
    result = probe_report(mailgun)
    assert isinstance(result.trouble, NoResponse)
    assert deletes
    assert result.gone
    assert len(world.mailing_list(LIST)) == 0


# The command


def settings(base_url: str, **more: str) -> dict[str, str]:
    return {
        "MAILGUN_API_KEY": "sandbox-key",
        "MAILGUN_API_BASE_URL": base_url,
        "MAILGUN_ALLOW_CUSTOM_HOST": "true",
        "MAILGUN_LIST_ADDRESS": LIST,
        **more,
    }


def started_command(cwd: Path, base_url: str) -> AbstractContextManager[Piped]:
    """The command, running until the block ends."""
    command = "-m", "worker", "check", "--probe"
    return piped(*command, folder=cwd, **settings(base_url))


def run(cwd: Path, base_url: str, *options: str, **more: str) -> tuple[int, str, str]:
    ended = printed_by(
        *("-m", "worker", "check", "--probe", *options),
        folder=cwd,
        **settings(base_url, **more),
    )
    return ended.status, ended.out, ended.err


def test_the_command_prints_a_table_that_fits_80_columns(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    code, printed, complained = run(tmp_path, sandbox.base_url)
    assert (code, complained) == (0, "")
    assert max(map(len, printed.splitlines())) <= 80
    assert "The worker relies on    assumed          found              what to set" in printed
    assert "·  vars on an update       replaced         replaced           nothing" in printed
    assert "All that the worker relies on is so." in printed
    assert sandbox.control.members() == {}


def test_command_with_json_prints_every_finding(sandbox: RunningSandbox, tmp_path: Path) -> None:
    code, printed, _ = run(tmp_path, sandbox.base_url, "--json")
    assert code == 0
    assert {
        "tried": "vars left out",
        "assumed": "unknown",
        "found": "cleared",
    }.items() <= json.loads(printed)[10].items()
    assert all(finding["ok"] for finding in json.loads(printed))


def test_command_exits_1_when_an_assumption_of_the_worker_is_wrong(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    sandbox.control.add_fault(
        "status", status=404, message="not found", method="GET", address=THROW_AWAY
    )
    code, printed, _ = run(tmp_path, sandbox.base_url)
    assert code == 1
    assert "✗  a missing member's 404  “Member …”       404 not found      see below" in printed
    assert "\n→ a missing member's 404: MAILGUN_WRITE_MODE=overwrite" in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert sandbox.control.members() == {}


def url_of_a_closed_port() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.mark.parametrize(("switch", "status"), [("bad_key_status", 401), ("bad_key_status", 403)])
def test_a_wrong_key_ends_in_one_line(
    sandbox: RunningSandbox, tmp_path: Path, switch: str, status: int
) -> None:
    sandbox.control.switches(**{switch: status})
    code, printed, complained = run(tmp_path, sandbox.base_url, MAILGUN_API_KEY="wr0ng-key")
    assert (code, printed) == (1, "")
    assert complained.startswith(
        f"signal-mailgun: {sandbox.base_url}: {status} Forbidden; Confirm that MAILGUN_API_KEY"
    )
    assert complained.count("\n") == 1
    assert "wr0ng-key" not in complained


@pytest.mark.parametrize("status", [429, 420])
def test_probe_answered_429_ends_in_one_line(
    sandbox: RunningSandbox, tmp_path: Path, status: int
) -> None:
    sandbox.control.switches(throttled_status=status)
    sandbox.control.limit(20, window_seconds=3)
    code, printed, complained = run(tmp_path, sandbox.base_url)
    assert (code, printed) == (1, "")
    assert f": {status} Too Many Requests; " in complained
    assert complained.endswith(f"; {DELETED_AGAIN}\n")
    assert complained.count("\n") == 1
    assert sandbox.control.members() == {}


@pytest.mark.parametrize(
    ("base_url", "list_address", "says"),
    [
        ("", "other@mg.example.com", "404 Mailing list other@mg.example.com not found; Create"),
        pytest.param(url_of_a_closed_port(), LIST, "no connection", id="unreachable"),
    ],
)
def test_a_missing_list_and_an_unreachable_mailgun_end_in_one_line(
    sandbox: RunningSandbox, tmp_path: Path, base_url: str, list_address: str, says: str
) -> None:
    code, printed, complained = run(
        tmp_path, base_url or sandbox.base_url, MAILGUN_LIST_ADDRESS=list_address
    )
    assert (code, printed) == (1, "")
    assert says in complained
    assert complained.count("\n") == 1


def test_list_removed_during_the_probe_removes_its_member_too(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    sandbox.control.latency(50)
    with started_command(tmp_path, sandbox.base_url) as probing:
        assert eventually(lambda: bool(sandbox.control.members()))
        sandbox.control.remove_list(LIST)
        ended = probing.ended()
    assert ended.status == 1
    assert ended.err.endswith("\n")
    assert "404 Mailing list newsletter@mg.example.com not found; Create" in ended.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_probe_in_one_line_with_the_member_deleted(
    sandbox: RunningSandbox, tmp_path: Path, number: signal.Signals
) -> None:
    sandbox.control.latency(50)
    with started_command(tmp_path, sandbox.base_url) as probing:
        assert eventually(lambda: bool(sandbox.control.members()))
        probing.process.send_signal(number)
        ended = probing.ended()
    assert (ended.status, ended.out) == (128 + number, "")
    assert ended.err == f"signal-mailgun: stopped; {DELETED_AGAIN}\n"
    assert sandbox.control.members() == {}


def test_a_request_under_way_is_not_broken_off_by_ctrl_c(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    sandbox.control.add_fault("latency", ms=1000, method="POST", count=1)
    with started_command(tmp_path, sandbox.base_url) as probing:
        assert eventually(
            lambda: (
                sandbox.control.requests()[-1:] != []
                and sandbox.control.requests()[-1].method == "POST"
            )
        )
        probing.process.send_signal(signal.SIGINT)
        ended = probing.ended()
    assert ended.err == f"signal-mailgun: stopped; {DELETED_AGAIN}\n"
    assert [record.method for record in sandbox.control.requests()][-2:] == ["POST", "DELETE"]
    assert sandbox.control.members() == {}


def has_pending_signal(pid: int) -> bool:
    """Has the process a signal that it was not given yet?"""
    status = Path(f"/proc/{pid}/status").read_text()
    return any(
        int(line.split()[1], 16)
        for line in status.splitlines()
        if line.startswith(("SigPnd", "ShdPnd"))
    )


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="looks at pending signals, which needs /proc"
)
def test_third_signal_ends_the_wait_and_names_the_address_to_delete(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    sandbox.control.latency(50)
    with started_command(tmp_path, sandbox.base_url) as probing:
        assert eventually(lambda: bool(sandbox.control.members()))
        sandbox.control.add_fault("hang", seconds=600, method="DELETE")
        probing.process.send_signal(signal.SIGINT)
        assert eventually(lambda: sandbox.control.totals()["by_fault"] == {"hang": 1})
        probing.process.send_signal(signal.SIGTERM)
        assert eventually(
            lambda: not has_pending_signal(probing.process.pid)
        )  # two at once may reach a thread that is not the waiting one
        probing.process.send_signal(signal.SIGHUP)
        ended = probing.ended()
    assert ended.status == 130
    assert ended.err.startswith(
        f"signal-mailgun: stopped at once; {THROW_AWAY} may still be on the list: delete it"
    )
    assert ended.err.count("\n") == 1


def test_a_member_left_behind_is_named_and_the_next_probe_deletes_it(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    sandbox.control.latency(50)
    with started_command(tmp_path, sandbox.base_url) as probing:
        assert eventually(lambda: bool(sandbox.control.members()))
        sandbox.control.add_fault("status", status=500)
        ended = probing.ended()
    assert ended.status == 1
    assert "500 Internal Server Error; Mailgun is unavailable" in ended.err
    assert f"; {THROW_AWAY} could not be deleted: delete it in Mailgun, or run" in ended.err
    assert ended.err.count("\n") == 1
    assert set(sandbox.control.members()) == {THROW_AWAY}
    sandbox.control.clear_faults()
    code, printed, _ = run(tmp_path, sandbox.base_url)
    assert code == 0
    assert "A leftover of an earlier probe was deleted first." in printed
    assert sandbox.control.members() == {}
