"""Consents, time stamps and addresses as producers really send them, on a real queue, worker and HTTP."""

import json
import re
from typing import Any

import pytest
import requests

from tests.integration.bench import LIST, Bench, consenting, identified
from tests.workers import RunningWorker

JANE = "jane@example.com"
KATE = "kate@example.com"


def store_member(bench: Bench, address: str, **fields: str) -> None:
    """Store this member at Mailgun, without a ledger record."""
    url = f"{bench.sandbox.base_url}/v3/lists/{LIST}/members"
    form = {"address": address, "upsert": "true", "subscribed": "true", "vars": "{}", **fields}
    requests.post(url, data=form, auth=("api", "sandbox-key"), timeout=10).raise_for_status()


# Consent


def flat(address: str, canonical: Any, marketing: Any) -> dict[str, Any]:
    return {
        **identified(address),
        "context": {"consent": {"canonical": {"marketing": canonical}, "marketing": marketing}},
    }


NOES = ["no", 0, "off", "Opt-Out", "unsubscribed", {"granted": False}, {"status": "denied"}, ["no"]]
YESES = ["yes", 1, "1", "on", "granted", "opt_in", {"granted": True}]
UNCLEAR = ["perhaps", 0.5, {}, {"granted": True, "denied": True}, "unknown", [True]]


def test_new_member_is_subscribed_only_by_a_plain_grant(bench: Bench) -> None:
    spoken = {
        **{f"no{number}@example.com": (word, False) for number, word in enumerate(NOES)},
        **{f"yes{number}@example.com": (word, True) for number, word in enumerate(YESES)},
        **{f"unclear{number}@example.com": (word, False) for number, word in enumerate(UNCLEAR)},
    }
    bench.put(
        *(consenting(identified(address), marketing=word) for address, (word, _) in spoken.items())
    )
    bench.put(flat("c9@example.com", "unknown", False))  # noqa: FBT003
    bench.ended()
    assert {address: each.subscribed for address, each in bench.members().items()} == {
        **{address: subscribed for address, (_, subscribed) in spoken.items()},
        "c9@example.com": False,
    }


def test_consent_not_understood_is_counted_and_a_later_grant_applies(
    own: Bench,
) -> None:
    store_member(own, JANE)
    with own.working():
        own.put(
            *(
                consenting(identified(address, plan="pro"), marketing="perhaps")
                for address in (JANE, KATE)
            )
        )
        own.ended()
        assert (own.member(JANE).subscribed, own.member(KATE).subscribed) == (True, False)
        own.counted("delivered", 2)
        assert json.loads(own.run("status", "--json").out)["not_understood"] == {"consent": 2}
        assert re.search(r"not understood +consent 2", own.run("status").out)
        own.put(consenting(identified(KATE), marketing="opted in"))
        own.ended()
    assert own.member(KATE).subscribed is True


# Time stamps


def test_timestamp_in_milliseconds_is_ordered_with_the_others(bench: Bench) -> None:
    bench.put({**identified(JANE, plan="pro"), "timestamp": "2026-11-01T00:00:00Z"})
    bench.ended()
    for stamp in (
        1672531200000,
        "1672531200",
        "2023-01-01T00:00:00.029:Z",
        "Sun, 01 Jan 2023 00:00:00 GMT",
    ):
        bench.put({**identified(JANE, plan="free"), "timestamp": stamp})
    bench.ended()
    assert bench.member(JANE).vars == {"plan": "pro"}


def test_event_with_an_unreadable_timestamp_is_counted_and_erases_nothing(own: Bench) -> None:
    store_member(own, JANE, vars='{"plan": "pro"}')
    with own.working():
        own.put({**identified(JANE, plan="free", company="Acme"), "timestamp": "the day before"})
        own.ended()
        own.counted("delivered")
    assert own.member(JANE).vars == {"plan": "pro", "company": "Acme"}
    assert json.loads(own.run("status", "--json").out)["not_understood"] == {"timestamp": 1}


# Addresses


def test_address_in_brackets_is_the_member_that_mailgun_reads_in_it(bench: Bench) -> None:
    bench.put(consenting(identified(JANE, plan="pro"), marketing=True))
    bench.ended()
    bench.sandbox.control.unsubscribe(JANE)
    for email in ("<jane@example.com>", "Jane <jane@example.com>", "mailto:Jane@Example.com"):
        bench.put(
            {
                "type": "page",
                "traits": {"email": email},
                "properties": {"url": f"https://example.com/{len(email)}"},
            }
        )
    bench.ended()
    assert list(bench.members()) == [JANE]
    member = bench.member(JANE)
    assert (member.subscribed, member.vars) == (
        False,
        {"plan": "pro", "last_page_url": "https://example.com/23"},
    )


@pytest.mark.parametrize(
    "email",
    [
        "a@x.com, jane@example.com",
        "x jane@example.com",
        "jane@example.com.",
        '"jane"@example.com',
        "ja\u200bne@example.com",
    ],
)
def test_an_address_that_mailgun_would_read_otherwise_is_never_sent(
    bench: Bench, email: str
) -> None:
    store_member(bench, JANE)
    before = len(bench.requests())
    bench.put(consenting(identified(email, plan="free"), marketing=False))
    letter = bench.the_dead_letter().letter
    assert (letter.reason, len(bench.requests())) == ("malformed_email", before)
    assert bench.member(JANE).subscribed is True


def test_address_with_a_kelvin_sign_is_not_the_one_with_k(bench: Bench) -> None:
    bench.put(consenting(identified(KATE, name="Kate", plan="pro"), marketing=True))
    bench.ended()
    bench.put(
        consenting(
            identified("\u212aate@example.com", name="Mallory", plan="free"), marketing=False
        )
    )
    assert bench.the_dead_letter().letter.reason == "malformed_email"
    member = bench.member(KATE)
    assert (member.name, member.subscribed, member.vars) == ("Kate", True, {"plan": "pro"})


@pytest.mark.parametrize("addresses", ["flanker", "as_given"])
def test_punycode_and_unicode_are_one_member_with_one_write_each(
    bench: Bench, addresses: str
) -> None:
    bench.sandbox.control.switches(addresses=addresses)
    for number, domain in enumerate(
        ("xn--bcher-kva.example.com", "bücher.example.com", "BÜCHER.example.com")
    ):
        bench.put(identified(f"bob@{domain}", plan=f"p{number}"))
        bench.ended()
    assert {address: each.vars for address, each in bench.members().items()} == {
        "bob@bücher.example.com": {"plan": "p2"}
    }
    assert len(bench.posts()) == 3
    assert bench.letters() == []


@pytest.mark.parametrize(("method", "posts"), [("GET", 0), ("POST", 1)])
def test_answer_about_another_address_is_no_outage_and_not_retried(
    bench: Bench, worker: RunningWorker, method: str, posts: int
) -> None:
    bench.sandbox.control.add_fault(
        "other_member", address=JANE, method=method, other_address="joe@example.com"
    )
    bench.put(identified(JANE, plan="pro"))
    letter = bench.the_dead_letter().letter
    assert (letter.reason, letter.status, letter.attempts) == ("wrong_member", 200, 1)
    assert len(bench.posts(JANE)) == posts
    assert "joe@example.com" not in worker.printed()
    shown = bench.run("dead-letters", "show", bench.letters()[0].message.id)
    assert "200, but for another address: joe@example.com" in shown.out


def test_a_hashed_address_is_skipped_in_each_form(bench: Bench) -> None:
    hashes = [
        "9e26471d35a78862c17e467d87cddedf",
        "SHA256:" + "AB" * 32,
        "jMl8NYRe4RJ83xCkWiV6ry8+8RpTN0EX0dVgYrUdB5E=",
    ]
    bench.put(*(identified(each) for each in hashes))
    bench.ended()
    bench.counted("skipped: hashed_email", len(hashes))
    assert bench.requests() == []


# For people


def test_preview_marks_unreadable_consent_and_timestamp(bench: Bench) -> None:
    event = {**consenting(identified(JANE), marketing="perhaps"), "timestamp": "soon"}
    shown = bench.run("preview", "-", given=json.dumps(event)).out
    assert "subscribed=false" in shown
    assert "# the consent is not understood" in shown
    assert "# the time stamp is not understood" in shown
    told = json.loads(bench.run("preview", "-", "--json", given=json.dumps(event)).out)
    assert told["not_understood"] == ["consent", "timestamp"]


def test_explain_accepts_any_form_of_address_and_shows_unreadable_consent(
    own: Bench,
) -> None:
    own.put(
        {
            **consenting(identified("Jane <jane@example.com>"), marketing="perhaps"),
            "messageId": "m-1",
        }
    )
    assert "the consent is not understood" in own.run("explain", "m-1").out
    assert "1 events of this member" in own.run("explain", "<Jane@Example.com>").out
    assert (
        json.loads(own.run("forget", "Jane <jane@example.com>", "--yes", "--json").out)["queue"]
        == 1
    )
    assert own.queued() == 0
