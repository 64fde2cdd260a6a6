"""Trust in bulk calls: whatever a 200 looks like, what counts is whether the members are there."""

import logging
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import redis

from tests.accounts import Account, address, wants
from tests.integrations import OwnIntegration, answered, deliver_all
from tests.sandboxes import RunningSandbox, eventually
from worker.cli.status_lines import rows
from worker.delivery.bulk_trust import (
    ALONE_SECONDS,
    FIRST_CALLS,
    FIRST_SAMPLE,
    LONGEST_ALONE_SECONDS,
    ODD_CALLS,
    SAMPLE_SECONDS,
    TRIAL_SIZE,
    BulkTrust,
    Form,
    read_state,
)
from worker.delivery.deliverer import Deliverer
from worker.gate.holds import HoldState
from worker.mailgun.outcome import OutcomeKind
from worker.monitoring.status import Status

EVENTS = 500


@pytest.fixture
def account(own: OwnIntegration, sandbox: RunningSandbox) -> Account:
    return Account(own, sandbox)


def deliver(here: Deliverer, numbers: range, at: float = 1.0, **vars: Any) -> list[OutcomeKind]:
    """Deliver an event for each member, a hundred at a time as a worker does."""
    kinds: list[OutcomeKind] = []
    for start in range(0, len(numbers), 100):
        wanted = [wants(each, at, **vars) for each in numbers[start : start + 100]]
        kinds += [each.kind for each in deliver_all(here, wanted)]
    return kinds


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def no_sleep(_seconds: float) -> None:
    """Pass no time."""


@pytest.mark.parametrize("form", ["list", "list_and_task_id", "message_only"])
def test_known_members_cost_a_hundredth_of_a_request_each_in_any_form(
    account: Account, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    account.hold(range(EVENTS), plan="free")
    account.sync()
    account.sandbox.control.switches(bulk_answer=form)
    before = account.last()
    kinds = deliver(account.delivery(), range(EVENTS), plan="pro")
    assert set(kinds) == {OutcomeKind.DELIVERED}
    asked = account.requests(before)
    assert asked["POST members.json"] == EVENTS / 100
    assert asked["GET member"] <= EVENTS / 100 + FIRST_SAMPLE
    assert asked["POST members"] == 0
    assert set(map(str, account.held().values())) == {"{'plan': 'pro'}"}
    assert warnings(caplog) == []


def test_call_whose_answer_shows_neither_list_nor_job_counts_as_a_success(
    account: Account,
) -> None:
    account.sandbox.control.switches(bulk_answer="message_only")
    gate = account.own.gate()
    answered(gate, OutcomeKind.REJECTED, times=2)
    before = account.last()
    assert set(deliver(account.delivery(), range(4))) == {OutcomeKind.DELIVERED}
    assert gate.state().members == 0
    assert int(account.own.pace()["since_lesson"]) == 2 + account.requests(before).total()


def test_members_of_a_background_job_are_waited_for_and_then_batched(account: Account) -> None:
    account.hold(range(EVENTS), plan="free")
    account.sync()
    account.sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=0.4)
    trust, before = account.trust(), account.last()
    kinds = deliver(account.delivery(trust=trust), range(EVENTS), plan="pro")
    assert set(kinds) == {OutcomeKind.DELIVERED}
    assert set(map(str, account.held().values())) == {"{'plan': 'pro'}"}
    asked = account.requests(before)
    assert asked["POST members.json"] == EVENTS / 100
    assert asked["POST members"] == 0
    state = trust.state()
    assert state.held[Form.TASK] == EVENTS / 100
    assert 0.3 <= state.delay < 30


def test_each_call_is_waited_for_where_jobs_are_late(account: Account) -> None:
    account.hold(range(4), plan="free")
    account.sync()
    account.sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=0.5)
    trust = account.trust()
    for _ in range(FIRST_CALLS):
        trust.note_held(Form.TASK, 0.1)
    here = account.delivery(trust=trust)
    for at in range(3):
        assert set(deliver(here, range(4), at + 1.0, n=at)) == {OutcomeKind.DELIVERED}
        assert set(map(str, account.held().values())) == {f"{{'plan': 'free', 'n': {at}}}"}


def test_delay_is_forgotten_after_many_samples_that_are_there_at_once(account: Account) -> None:
    trust = account.trust()
    trust.note_held(Form.TASK, 1.0)
    trust.note_held(Form.TASK, 0.0)
    assert trust.state().delay == pytest.approx(0.8)
    for _ in range(20):
        trust.note_held(Form.TASK, 0.0)
    assert trust.state().delay == 0


def test_score_of_samples_shown_in_the_first_look_ends_the_waiting(account: Account) -> None:
    account.hold(range(2), plan="free")
    account.sync()
    account.sandbox.control.switches(bulk_answer="list_and_task_id")
    trust = account.trust(sleep=no_sleep)
    trust.note_held(Form.TASK, 3.0)
    here = account.delivery(trust=trust)
    for at in range(20):
        deliver(here, range(2), at + 1.0, n=at)
    assert trust.state().delay == 0


def test_background_job_slower_than_the_wait_loses_nothing(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    account.hold(range(20), plan="free")
    account.sync()
    account.sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=2)
    here = account.delivery(trust=account.trust(longest_look=0.3), settle_seconds=1)
    first = deliver_all(here, [wants(each, plan="pro") for each in range(20)])
    assert {each.kind for each in first} == {OutcomeKind.DOUBTFUL}
    assert all(each.again_in > 0 for each in first)
    assert len(warnings(caplog)) == 1
    assert account.own.redis.zcard(account.own.look_after_key) == 20
    assert eventually(lambda: set(map(str, account.held().values())) == {"{'plan': 'pro'}"})
    before = account.last()
    again = [
        each.kind for each in deliver_all(here, [wants(each, plan="pro") for each in range(20)])
    ]
    assert set(again) == {OutcomeKind.UNCHANGED}
    assert set(account.requests(before)) == {"GET member"}


def test_background_job_that_never_runs_makes_its_members_go_alone(account: Account) -> None:
    account.sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=3600)
    here = account.delivery(trust=account.trust(longest_look=0.2), settle_seconds=0.05)
    assert set(deliver(here, range(30), plan="pro")) == {OutcomeKind.DOUBTFUL}
    assert account.held() == {}
    assert eventually(lambda: not list(account.own.redis.scan_iter(f"*{account.own.name}:lock:*")))
    assert set(deliver(here, range(30), plan="pro")) == {OutcomeKind.DELIVERED}
    assert account.held() == {address(each): {"plan": "pro"} for each in range(30)}
    assert account.requests()["POST members.json"] == 1


@pytest.mark.parametrize("fails", ["state", "sample_size", "note_held"])
def test_members_of_a_background_job_are_looked_after_if_redis_fails(
    account: Account, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    account.sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=0.2)
    trust = account.trust()
    act = getattr(trust, fails)

    def fail_once_sent(*args: object) -> Any:
        if account.requests()["POST members.json"]:
            raise redis.ConnectionError
        return act(*args)

    monkeypatch.setattr(trust, fails, fail_once_sent)
    here = account.delivery(trust=trust, settle_seconds=60)
    with pytest.raises(redis.ConnectionError):
        deliver(here, range(4), plan="pro")
    assert account.own.redis.zcard(account.own.look_after_key) == 4
    later = deliver_all(account.delivery(), [wants(each, plan="max") for each in range(4)])
    assert {each.kind for each in later} == {OutcomeKind.LOCKED}


def test_calls_of_a_batch_end_with_the_first_missing_sample(account: Account) -> None:
    account.sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=3600)
    account.trust().note_missing(Form.TASK, "missing")
    account.own.later(ALONE_SECONDS)
    trust = account.trust(longest_look=0.2)
    kinds = deliver(account.delivery(trust=trust), range(100), plan="pro")
    assert account.requests()["POST members.json"] == 1
    assert kinds == [OutcomeKind.DOUBTFUL] * TRIAL_SIZE + [OutcomeKind.DELIVERED] * 90


def test_all_samples_of_a_batch_share_one_wait(account: Account) -> None:
    account.sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=0.3)
    here = account.delivery(trust=account.trust(longest_look=1), batch=2)
    kinds = [
        each.kind for each in deliver_all(here, [wants(each, plan="pro") for each in range(40)])
    ]
    assert kinds[0] is OutcomeKind.DELIVERED
    assert kinds[-1] is OutcomeKind.ON_HOLD
    assert account.requests()["POST members.json"] < 20
    assert account.trust().shares()


def test_left_out_member_makes_all_members_go_alone_for_a_while(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    account.sandbox.control.switches(bulk_leaves_out=1)
    trust = account.trust(sleep=no_sleep)
    assert set(deliver(account.delivery(trust=trust), range(100), plan="pro")) == {
        OutcomeKind.DELIVERED
    }
    assert account.held() == {address(each): {"plan": "pro"} for each in range(100)}
    asked = account.requests()
    assert (asked["POST members.json"], asked["POST members"]) == (1, 100)
    assert 0 < trust.state().alone_for <= ALONE_SECONDS
    assert len(warnings(caplog)) == 1
    assert address(0) not in caplog.text


def test_trust_is_earned_again_with_small_calls(account: Account) -> None:
    account.sandbox.control.switches(bulk_leaves_out=1)
    trust = account.trust(sleep=no_sleep)
    deliver(account.delivery(trust=trust), range(2), plan="pro")
    account.sandbox.control.switches(bulk_leaves_out=0)
    account.own.later(ALONE_SECONDS)
    trust, before = account.trust(), account.last()
    here = account.delivery(trust=trust)
    small = range(2 * TRIAL_SIZE)
    assert set(deliver(here, small, 2.0, plan="pro", n=1)) == {OutcomeKind.DELIVERED}
    assert account.requests(before)["POST members.json"] == 2
    assert set(deliver(here, range(200), 3.0, plan="max")) == {OutcomeKind.DELIVERED}
    assert account.requests(before)["POST members.json"] == 4
    for _ in range(FIRST_CALLS):
        trust.note_held(Form.LIST, 0.0)
    assert trust.state().missed == 0


def test_samples_under_way_do_not_end_a_suspension(account: Account) -> None:
    trust = account.trust()
    trust.note_missing(Form.LIST, "missing")
    for _ in range(FIRST_CALLS):
        trust.note_held(Form.LIST, 0.0)
    assert not trust.shares()
    account.own.later(ALONE_SECONDS)
    assert sum(account.trust().state().held.values()) == 0


def test_each_further_missing_member_lets_members_go_alone_for_longer(account: Account) -> None:
    waits = []
    for _ in range(9):
        account.trust().note_missing(Form.LIST, "missing")
        account.trust().note_missing(Form.LIST, "missing, noticed at the same moment")
        waits.append(round(account.trust().state().alone_for, -1))
        account.own.later(LONGEST_ALONE_SECONDS + 1)
    assert waits == [min(LONGEST_ALONE_SECONDS, ALONE_SECONDS * 2**each) for each in range(9)]


def test_two_workers_share_trust(account: Account) -> None:
    account.hold(range(200), plan="free")
    account.sync()
    one, other = account.delivery(), account.delivery()
    for at in range(FIRST_CALLS):
        deliver(one, range(2), at + 1.0, n=at)
    before = account.last()
    assert set(deliver(other, range(100), 20.0, n=20)) == {OutcomeKind.DELIVERED}
    assert account.requests(before) == {"POST members.json": 1}


def test_call_is_sampled_again_once_no_worker_has_looked_for_long(account: Account) -> None:
    account.hold(range(4), plan="free")
    account.sync()
    for _ in range(FIRST_CALLS):
        account.trust().note_held(Form.LIST, 0.0)
    here = account.delivery()
    before = account.last()
    deliver(here, range(4), n=1)
    assert account.requests(before)["GET member"] == 0
    account.own.later(SAMPLE_SECONDS + 1)
    before = account.last()
    deliver(account.delivery(), range(4), 2.0, n=2)
    deliver(account.delivery(), range(4), 3.0, n=3)
    assert account.requests(before) == {"POST members.json": 2, "GET member": 1}


def test_two_workers_share_distrust(account: Account) -> None:
    account.sandbox.control.switches(bulk_leaves_out=1)
    one, other = account.trust(sleep=no_sleep), account.trust(sleep=no_sleep)
    deliver(account.delivery(trust=one), range(2), plan="pro")
    before = account.last()
    deliver(account.delivery(trust=other), range(100, 120), plan="pro")
    assert account.requests(before)["POST members.json"] == 0


def test_sample_that_cannot_be_read_proves_no_background_call(account: Account) -> None:
    account.sandbox.control.switches(bulk_answer="list_and_task_id")
    account.hold(range(4), plan="free")
    account.sync()
    account.sandbox.control.add_fault("status", status=503, method="GET")
    trust = account.trust(longest_look=0.2)
    kinds = deliver(account.delivery(trust=trust), range(4), plan="pro")
    assert set(kinds) == {OutcomeKind.DOUBTFUL}
    assert trust.shares()


def test_another_member_is_read_in_place_of_one_that_cannot_be_shown(account: Account) -> None:
    account.sandbox.control.switches(bulk_answer="list_and_task_id")
    account.hold(range(100), plan="free")
    account.sync()
    account.sandbox.control.add_fault("status", status=500, method="GET", address=address(99))
    here, before = account.delivery(), account.last()
    kinds = deliver(here, range(100), plan="pro")
    assert Counter(kinds) == {OutcomeKind.DELIVERED: 99, OutcomeKind.DOUBTFUL: 1}
    assert account.requests(before)["GET member"] == FIRST_SAMPLE + 1
    assert here.batch_policy.is_suspect(address(99))


def test_odd_answer_is_a_failure_of_its_call_if_others_are_proved(
    account: Account,
) -> None:
    account.hold(range(200), plan="free")
    account.sync()
    here = account.delivery()
    deliver(here, range(100), plan="pro")
    account.sandbox.control.add_fault("other_member", address=address(150))
    before = account.last()
    assert set(deliver(here, range(100, 200), plan="pro")) == {OutcomeKind.UNAVAILABLE}
    assert account.requests(before)["GET member"] == 0
    kinds = deliver(here, range(100, 200), at=2.0, plan="pro")
    assert Counter(kinds) == {OutcomeKind.DELIVERED: 99, OutcomeKind.WRONG_MEMBER: 1}
    assert here.bulk_trust.shares()


def test_form_of_answer_that_changed_for_good_is_sampled_after_a_few_calls(
    account: Account,
) -> None:
    here = account.delivery()
    assert set(deliver(here, range(2))) == {OutcomeKind.DELIVERED}
    account.sandbox.control.switches(bulk_answer="message_only")
    members = [range(start, start + 2) for start in range(2, 2 * ODD_CALLS + 6, 2)]
    ends = [set(deliver(here, each)) for each in members]
    assert ends == [{OutcomeKind.UNAVAILABLE}] * ODD_CALLS + [{OutcomeKind.DELIVERED}] * 2
    assert account.trust().state().held[Form.OTHER] == 2
    assert account.trust().shares()


def test_odd_answers_among_others_stay_failures_of_their_calls(account: Account) -> None:
    here = account.delivery()
    for start in range(0, 4 * ODD_CALLS + 4, 4):
        assert set(deliver(here, range(start, start + 2))) == {OutcomeKind.DELIVERED}
        account.sandbox.control.add_fault("other_member", method="POST", address=address(start + 2))
        odd = deliver(here, range(start + 2, start + 4))
        assert set(odd) == {OutcomeKind.UNAVAILABLE}


@pytest.mark.parametrize(("delay", "looked_after"), [(0.0, 0), (1.0, 4)])
def test_members_of_an_odd_answer_are_looked_after_where_jobs_are_late(
    account: Account, delay: float, looked_after: int
) -> None:
    account.hold(range(4), plan="free")
    account.sync()
    account.trust().note_held(Form.TASK, delay)
    account.sandbox.control.add_fault("other_member", address=address(2))
    here = account.delivery(settle_seconds=60)
    assert set(deliver(here, range(4), plan="pro")) == {OutcomeKind.UNAVAILABLE}
    assert account.own.redis.zcard(account.own.look_after_key) == looked_after


def test_missing_member_that_cannot_be_shown_later_is_not_completed(account: Account) -> None:
    account.hold(range(2), plan="free")
    account.sync()
    account.sandbox.control.switches(bulk_leaves_out=3)

    def stop_showing(_seconds: float) -> None:
        account.sandbox.control.add_fault("status", status=500, method="GET", address=address(2))

    here = account.delivery(trust=account.trust(sleep=stop_showing))
    assert set(deliver(here, range(3), plan="pro")) == {OutcomeKind.DELIVERED}
    assert account.held() == {address(each): {"plan": "pro"} for each in range(3)}


def test_sample_whose_subscription_alone_changed_proves_it_by_that(account: Account) -> None:
    account.hold(range(4), plan="free")
    account.sync()
    account.sandbox.control.switches(bulk_leaves_out=1)
    here = account.delivery(trust=account.trust(sleep=no_sleep))
    denied = [wants(each, consent=False) for each in range(4)]
    assert {each.kind for each in deliver_all(here, denied)} == {OutcomeKind.DELIVERED}
    members = account.sandbox.control.members()
    assert [members[address(each)].subscribed for each in range(4)] == [False] * 4
    assert account.requests()["POST members"] == 4


def paced(account: Account, trust: BulkTrust) -> Deliverer:
    """A worker under one request a minute, whose call leaves no permit for its sample."""
    account.hold(range(4), plan="free")
    account.sync()
    ledger = account.ledger(gate=account.own.gate(rate_limit=1))
    return account.own.delivery(account.mailgun, ledger=ledger, batch=100, trust=trust)


@pytest.mark.parametrize("form", ["list", "list_and_task_id"])
@pytest.mark.parametrize("held", [1, FIRST_CALLS])
def test_sample_needs_no_permit_of_its_own_under_a_pace(
    account: Account, form: str, held: int
) -> None:
    account.sandbox.control.switches(bulk_answer=form)
    for _ in range(held):
        account.trust().note_held(Form.LIST if form == "list" else Form.TASK, 0.0)
    account.own.later(SAMPLE_SECONDS + 1)
    slept: list[float] = []
    trust = account.trust(sleep=slept.append)
    here = paced(account, trust)
    assert set(deliver(here, range(4), plan="pro")) == {OutcomeKind.DELIVERED}
    assert slept == []
    state = trust.state()
    assert (state.delay, sum(state.held.values())) == (0, held + 1)
    assert state.sampled_ago is not None
    assert state.sampled_ago < SAMPLE_SECONDS


def test_background_job_under_a_pace_is_waited_for(account: Account) -> None:
    account.sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=0.3)
    trust = account.trust()
    here = paced(account, trust)
    assert set(deliver(here, range(4), plan="pro")) == {OutcomeKind.DELIVERED}
    assert trust.shares()
    owed = account.requests()["GET member"]
    assert float(account.own.pace()["tokens"]) == pytest.approx(-owed, abs=1)


def test_hold_that_begins_while_a_sample_is_waited_for_counts_as_no_miss(account: Account) -> None:
    account.sandbox.control.switches(bulk_answer="task_id", bulk_job_seconds=3600)

    def pause(_seconds: float) -> None:
        account.own.gate().pause()

    trust = account.trust(sleep=pause)
    assert set(deliver(account.delivery(trust=trust), range(4))) == {OutcomeKind.DOUBTFUL}
    assert account.requests()["GET member"] <= 4 + 2 * FIRST_SAMPLE
    assert trust.shares()


def test_sample_that_cannot_be_read_counts_as_none_once_trust_is_earned(account: Account) -> None:
    account.sandbox.control.switches(bulk_answer="list_and_task_id")
    account.hold(range(4), plan="free")
    account.sync()
    for _ in range(FIRST_CALLS):
        account.trust().note_held(Form.TASK, 0.0)
    account.own.later(SAMPLE_SECONDS + 1)
    account.sandbox.control.add_fault("status", status=503, method="GET")
    here = account.delivery(trust=account.trust(longest_look=0.2))
    assert set(deliver(here, range(4), plan="pro")) == {OutcomeKind.DELIVERED}


def screen(own: OwnIntegration) -> str:
    """The line `batches` of `status`."""
    hold = HoldState(None, "", None, None, None)
    status = Status("default", 0.0, 0, None, 0, 0, None, hold, {}, {}, [], None)
    shown = dict(rows(replace(status, bulk=read_state(own.redis, own.name))))
    return str(shown["batches"])


def test_status_says_which_way_members_go_and_why(account: Account) -> None:
    own, trust = account.own, account.trust()
    assert screen(own) == "shared on trial: no sample read yet"
    trust.note_held(Form.TASK, 0.0)
    assert screen(own) == "shared on trial: 1 of 10 samples held (answers have a task-id)"
    for _ in range(FIRST_CALLS):
        trust.note_held(Form.TASK, 2.0)
    assert screen(own) == "shared: 11 samples held (answers have a task-id; 2.0 s late)"
    trust.note_missing(Form.TASK, "a member was missing")
    assert screen(own).startswith("alone for ")
    assert screen(own).endswith(": a member was missing")
