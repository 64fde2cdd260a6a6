"""The ledger filled from Mailgun, and opt-outs read by real workers: real server, sandbox over HTTP, real processes."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.integration.bench import (
    KEY,
    LIST,
    Bench,
    clean_environment,
    consenting,
    identified,
    until,
)
from tests.preloaded import AnyProcess, started
from worker.mailgun.client import MailgunClient
from worker.mailgun.response import Response
from worker.members.entry import LedgerEntry, look_up
from worker.members.ledger import Ledger
from worker.settings import Settings
from worker.wiring import gate_for, ledger_for

LEDGER = {"MAILGUN_MEMBER_STATE": "ledger"}
STOP_SECONDS = 30


def ledger(bench: Bench) -> Ledger:
    """The ledger that the bench's workers use."""
    settings = Settings(_env_file=None, signal_integration=bench.integration)
    return ledger_for(settings, gate_for(settings, bench.redis))


def ledger_entry(bench: Bench, address: str) -> LedgerEntry | None:
    return look_up(ledger(bench), address)


def on_the_list(bench: Bench, count: int, *, unsubscribed: int = 0) -> None:
    """So many members are on the list; the first of them unsubscribed."""
    mailgun = MailgunClient(
        base_url=bench.sandbox.base_url,
        key=SecretStr(KEY),
        list_address=LIST,
        connect_timeout=10,
        read_timeout=30,
    )
    members = [
        {
            "address": f"P{each:05}@example.com",
            "name": f"P {each}",
            "subscribed": each >= unsubscribed,
            "vars": {},
        }
        for each in range(count)
    ]
    for start in range(0, count, 100):
        answer = mailgun.upsert_many([json.dumps(each) for each in members[start : start + 100]])
        assert isinstance(answer, Response)
        assert answer.status == 200


def opt_out_pages(bench: Bench) -> list[str]:
    """The pages of unsubscribed members that Mailgun was asked for."""
    return [each for each in pages(bench) if "subscribed=no" in each]


def pages(bench: Bench) -> list[str]:
    """The member pages that Mailgun was asked for."""
    return [each.path for each in bench.requests() if "/members/pages" in each.path]


@dataclass(frozen=True)
class Syncing:
    """`signal-mailgun sync` as a process of its own; what it prints goes to files."""

    process: AnyProcess
    out: Path
    err: Path

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        return self.process.wait(STOP_SECONDS)


@contextmanager
def syncing(bench: Bench) -> Iterator[Syncing]:
    out, err = bench.folder / "sync.out", bench.folder / "sync.err"
    environment = clean_environment(**bench.environment(**LEDGER))
    with (
        Path(os.devnull).open() as nothing,
        out.open("wb") as to_out,
        err.open("wb") as to_err,
    ):
        streams = nothing, to_out, to_err
        process = started(("-m", "worker", "sync"), environment, bench.folder, streams)
        try:
            yield Syncing(process, out, err)
        finally:
            process.kill()
            process.wait(STOP_SECONDS)


def stored(bench: Bench, name: str) -> dict[str, str]:
    found: dict[str, str] = bench.redis.hgetall(f"signal:{bench.integration}:{name}")
    return found


# --- sync


def test_sync_reads_the_list_by_hundreds_and_ends_with_one_line(own: Bench) -> None:
    on_the_list(own, 2345, unsubscribed=210)
    printed = own.run("sync", **LEDGER)
    assert (printed.status, printed.err) == (0, "")
    assert printed.out.startswith("2345 members read, 210 unsubscribed, 25 requests, ")
    assert printed.out.count("\n") == 1
    assert len(pages(own)) == 25
    assert len(list(own.redis.scan_iter(f"signal:{own.integration}:member:*", count=1000))) == 2345
    first, last = ledger_entry(own, "p00000@example.com"), ledger_entry(own, "p02344@example.com")
    assert first
    assert first.copy
    assert (first.copy.member.name, first.copy.member.subscribed) == ("P 0", False)
    assert last
    assert last.copy
    assert last.copy.member.subscribed
    assert stored(own, "opt_outs")["members"] == "210"
    assert stored(own, "sync") == {}


def test_interrupted_sync_names_the_command_that_continues_there(own: Bench) -> None:
    on_the_list(own, 1500)
    own.sandbox.control.latency(400)
    with syncing(own) as sync:
        until(lambda: len(pages(own)) >= 4, "some pages")
        sync.process.send_signal(signal.SIGINT)
        assert sync.ended() == 130
    done = int(stored(own, "sync")["members"])
    assert sync.out.read_text() == ""
    assert sync.err.read_text() == (
        f"signal-mailgun: stopped; {done} members are read: run `signal-mailgun sync` again to go on from there\n"
    )
    assert 0 < done < 1500
    own.sandbox.control.latency(0)
    before = len(pages(own))
    printed = own.run("sync", "--json", **LEDGER)
    found = json.loads(printed.out)
    assert (found["members"], found["unsubscribed"]) == (1500, 0)
    assert len(pages(own)) - before == 16 - done // 100
    assert len(list(own.redis.scan_iter(f"signal:{own.integration}:member:*", count=1000))) == 1500


def test_sync_with_restart_begins_anew(own: Bench) -> None:
    on_the_list(own, 250)
    cursor = {"limit": "100", "page": "next", "address": "P00199@example.com"}
    key = f"signal:{own.integration}:sync"
    own.redis.hset(key, mapping={"began": "1", "cursor": json.dumps(cursor), "members": "200"})
    assert json.loads(own.run("sync", "--restart", "--json", **LEDGER).out)["members"] == 250
    assert len(pages(own)) == 4


def test_killed_sync_can_be_continued(own: Bench) -> None:
    on_the_list(own, 1000)
    own.sandbox.control.latency(400)
    with syncing(own) as sync:
        until(lambda: int(stored(own, "sync").get("members", 0)) >= 300, "some pages")
        sync.process.kill()
    own.sandbox.control.latency(0)
    before = len(pages(own))
    assert json.loads(own.run("sync", "--json", **LEDGER).out)["members"] == 1000
    assert len(pages(own)) - before <= 8


def test_sync_in_read_mode_warns_that_the_ledger_is_not_used(own: Bench) -> None:
    on_the_list(own, 5)
    printed = own.run("sync")
    assert printed.status == 0
    assert printed.err == (
        "MAILGUN_MEMBER_STATE=read will not use it: every member is read before it is written\n"
    )
    assert ledger_entry(own, "p00000@example.com")


def test_sync_in_overwrite_mode_works(own: Bench) -> None:
    on_the_list(own, 5)
    assert own.run("sync", MAILGUN_WRITE_MODE="overwrite").status == 0
    assert ledger_entry(own, "p00000@example.com")


def test_sync_under_another_digest_key_than_the_workers_says_so(own: Bench) -> None:
    on_the_list(own, 5)
    assert own.run("sync", **LEDGER).status == 0
    printed = own.run("sync", SIGNAL_DIGEST_KEY="another", **LEDGER)
    assert (printed.status, printed.out) == (1, "")
    assert "SIGNAL_DIGEST_KEY than this shell" in printed.err


def test_sync_of_an_empty_list_reads_no_member(own: Bench) -> None:
    printed = own.run("sync", **LEDGER)
    assert printed.out.startswith("0 members read, 0 unsubscribed, 1 requests, ")


def test_sync_on_hold_waits_and_shows_the_reason(own: Bench) -> None:
    on_the_list(own, 5)
    assert own.run("pause").status == 0
    with syncing(own) as sync:
        until(sync.err.read_text, "a line")
        assert pages(own) == []
        assert own.run("resume").status == 0
        assert sync.ended() == 0
    assert sync.err.read_text() == "waiting: paused: an operator paused it\n"
    assert sync.out.read_text().startswith("5 members read")


def test_429_puts_sync_and_workers_on_hold_and_sync_then_continues(own: Bench) -> None:
    on_the_list(own, 5)
    prefix = f"/v3/lists/{LIST}/members/pages"
    own.sandbox.control.add_fault(
        "status", status=429, count=1, path_prefix=prefix, headers={"Retry-After": "2"}
    )
    printed = own.run("sync", **LEDGER)
    assert printed.status == 0
    assert printed.out.startswith("5 members read, 0 unsubscribed, 3 requests, ")
    assert any(line.startswith("waiting: throttled: ") for line in printed.err.splitlines())


def test_sync_retries_while_mailgun_is_unavailable(own: Bench) -> None:
    on_the_list(own, 250)
    own.sandbox.control.add_fault(
        "status", status=503, count=4, path_prefix=f"/v3/lists/{LIST}/members/pages"
    )
    printed = own.run("sync", **LEDGER)
    assert printed.status == 0
    assert printed.out.startswith("250 members read, 0 unsubscribed, 8 requests, ")


def test_sync_gives_up_on_a_long_outage_and_names_how_to_continue(own: Bench) -> None:
    on_the_list(own, 5)
    own.sandbox.control.add_fault(
        "status", status=503, path_prefix=f"/v3/lists/{LIST}/members/pages"
    )
    printed = own.run("sync", **LEDGER)
    assert (printed.status, printed.out) == (1, "")
    last = printed.err.splitlines()[-1]
    assert last.startswith(f"signal-mailgun: {own.sandbox.base_url}: 503 ")
    assert last.endswith("0 members are read: run `signal-mailgun sync` again to go on from there")
    assert len(pages(own)) == 6


WRONG: dict[str, Any] = {
    "a wrong key": ({"MAILGUN_API_KEY": "wrong"}, "Private API key"),
    "a list that is not there": (
        {"MAILGUN_LIST_ADDRESS": "other@mg.example.com"},
        "Create the mailing list",
    ),
    "no key": ({"MAILGUN_API_KEY": None}, "MAILGUN_API_KEY is not set"),
    "no list": ({"MAILGUN_LIST_ADDRESS": None}, "MAILGUN_LIST_ADDRESS is not set"),
    "no server there": (
        {"MAILGUN_API_BASE_URL": "http://127.0.0.1:1", "RETRY_BASE_SECONDS": "0.01"},
        "Check the network",
    ),
    "no redis": ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "does not answer"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_sync_that_cannot_run_names_the_fix_in_one_line(own: Bench, wrong: str) -> None:
    settings, words = WRONG[wrong]
    printed = own.run("sync", **{**LEDGER, **settings})
    assert (printed.status, printed.out) == (1, "")
    last = printed.err.splitlines()[-1]
    assert last.startswith("signal-mailgun: ")
    assert words in last
    assert pages(own) == []
    assert "Traceback" not in printed.err


def test_sync_with_a_key_that_may_not_read_pages_fails_at_once(own: Bench) -> None:
    own.sandbox.control.add_fault(
        "status", status=403, path_prefix=f"/v3/lists/{LIST}/members/pages"
    )
    printed = own.run("sync", **LEDGER)
    assert printed.status == 1
    assert "may manage mailing lists" in printed.err
    assert len(pages(own)) == 1


# --- opt-outs, read by a worker


def refreshing(own: Bench, seconds: float = 1) -> dict[str, str]:
    return {**LEDGER, "MAILGUN_OPT_OUT_REFRESH_SECONDS": str(seconds)}


def ledger_has_unsubscribed(bench: Bench, address: str) -> bool:
    entry = ledger_entry(bench, address)
    return bool(entry and entry.copy and not entry.copy.member.subscribed)


def test_worker_finds_a_click_on_the_unsubscribe_link(own: Bench) -> None:
    on_the_list(own, 250, unsubscribed=130)
    assert own.run("sync", **LEDGER).status == 0
    with own.working(**refreshing(own)) as worker:
        entry = ledger_entry(own, "p00249@example.com")
        assert entry
        assert entry.copy
        assert entry.copy.member.subscribed
        own.sandbox.control.unsubscribe("p00249@example.com")
        until(lambda: ledger_has_unsubscribed(own, "p00249@example.com"), "the click in the ledger")
        until(lambda: stored(own, "opt_outs")["members"] == "131", "a complete reading")
        status = json.loads(own.run("status", "--json", **refreshing(own, 60)).out)["opt_outs"]
    assert (status["members"], status["trusted"]) == (131, True)
    assert 0 <= status["age"] < 60
    assert '"level": "error"' not in worker.printed()


def test_click_after_a_granting_event_stands(own: Bench) -> None:
    on_the_list(own, 5)
    with own.working(**refreshing(own)):
        own.sandbox.control.unsubscribe("p00003@example.com")
        until(lambda: ledger_has_unsubscribed(own, "p00003@example.com"), "the click in the ledger")
        own.put(consenting(identified("p00003@example.com", plan="pro"), marketing=True))
        own.ended()
        member = own.member("p00003@example.com")
    assert member.vars == {"plan": "pro"}
    assert not member.subscribed


def test_two_workers_scan_opt_outs_no_more_often_than_one(own: Bench) -> None:
    on_the_list(own, 5, unsubscribed=3)
    with own.working(**refreshing(own, 3600)), own.working(**refreshing(own, 3600)):
        until(lambda: stored(own, "opt_outs").get("fresh_from"), "a complete reading")
        wait_for_housekeeping(own, workers=2)
    assert len(opt_out_pages(own)) == 2


def wait_for_housekeeping(bench: Bench, *, workers: int) -> None:
    """Waits until each of so many workers has kept house twice from now on."""
    since = time.time() + 1.5
    key = f"signal:{bench.integration}:workers"
    until(lambda: bench.redis.zcount(key, since, "+inf") == workers, "some housekeeping")


def test_opt_out_scan_of_a_killed_worker_is_continued_by_another(own: Bench) -> None:
    on_the_list(own, 600, unsubscribed=600)
    own.sandbox.control.latency(400)
    quick = {"MAILGUN_CONNECT_TIMEOUT_SECONDS": "0.3", "MAILGUN_READ_TIMEOUT_SECONDS": "2"}
    with own.working(**refreshing(own, 60), **quick):
        until(lambda: int(stored(own, "opt_outs").get("so_far", 0)) >= 200, "two pages")
    stopped = int(stored(own, "opt_outs")["so_far"])
    assert stopped < 600
    own.redis.hset(
        f"signal:{own.integration}:opt_outs", "running_until", 1
    )  # the killed one's lease has ended
    own.sandbox.control.latency(0)
    before = len(opt_out_pages(own))
    with own.working(**refreshing(own, 60), **quick):
        until(lambda: stored(own, "opt_outs").get("members") == "600", "a complete reading")
    assert len(opt_out_pages(own)) - before == (600 - stopped) // 100 + 1


def test_worker_that_does_not_trust_the_ledger_scans_no_opt_outs(own: Bench) -> None:
    on_the_list(own, 5, unsubscribed=3)
    with own.working():
        wait_for_housekeeping(own, workers=1)
    assert pages(own) == []
    assert stored(own, "opt_outs") == {}
    assert "opt-outs" not in own.run("status").out


# --- the sync that workers run by themselves


def lone_reads(bench: Bench) -> int:
    """How many members Mailgun was asked for one by one."""
    return sum(each.method == "GET" and each.address is not None for each in bench.requests())


def test_workers_sync_by_themselves_and_write_new_contacts_unread(own: Bench) -> None:
    on_the_list(own, 250, unsubscribed=30)
    settings = {**refreshing(own, 60), "MAILGUN_BATCH_SIZE": "100"}
    with own.working(**settings) as worker, own.working(**settings):
        until(lambda: own.redis.exists(f"signal:{own.integration}:synced"), "a complete sync")
        assert len(pages(own)) - len(opt_out_pages(own)) == 4
        own.put(*(identified(f"new{each:03}@example.com", plan="pro") for each in range(200)))
        own.put(consenting(identified("p00003@example.com", plan="pro"), marketing=True))
        own.ended()
        printed = own.run("status", **settings).out
    assert lone_reads(own) <= 20
    assert own.member("new199@example.com").vars["plan"] == "pro"
    assert not own.member("p00003@example.com").subscribed
    assert "new contacts are written unread" in printed
    assert "samples held" in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert "the whole list is in the ledger" in worker.printed() + own.workers[-1].printed()


def test_worker_that_overwrites_members_ends_the_trust_in_the_ledger(own: Bench) -> None:
    on_the_list(own, 5)
    assert own.run("sync", **LEDGER).status == 0
    keys = [f"signal:{own.integration}:{each}" for each in ("opt_outs", "synced")]
    assert own.redis.exists(*keys) == 2
    with own.working(MAILGUN_WRITE_MODE="overwrite"):
        until(lambda: not own.redis.exists(*keys), "nothing that was read")


def test_status_of_a_trusted_ledger_fits_eighty_columns(own: Bench) -> None:
    printed = own.run("status", **LEDGER)
    assert "not read yet: members are read one by one" in printed.out
    assert max(map(len, printed.out.splitlines())) <= 80
