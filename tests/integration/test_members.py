"""What Mailgun holds after events of every kind, on a real queue, worker and HTTP."""

import json
from typing import Any

import pytest

from tests.integration.bench import LIST, Bench, consenting, identified, viewed

JANE = "jane@example.com"


def test_the_integrations_example_becomes_exactly_its_request(bench: Bench) -> None:
    traits = {
        "name": "Jane Doe",
        "first_name": "Jane",
        "last_name": "Doe",
        "plan": "pro",
        "company": "Acme Ltd",
    }
    bench.put(
        {**identified("Jane@Example.com", **traits), "userId": "user-123", "anonymousId": "a1b2c3"}
    )
    bench.member(JANE)
    bench.ended()
    [post] = bench.posts()
    assert post.path == f"/v3/lists/{LIST}/members"
    assert list(post.form.items()) == [
        ("address", "jane@example.com"),
        ("name", "Jane Doe"),
        ("subscribed", "true"),
        ("upsert", "true"),
        (
            "vars",
            '{"first_name":"Jane","last_name":"Doe","plan":"pro","company":"Acme Ltd","anonymous_id":"a1b2c3"}',
        ),
    ]


KINDS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "page": (
        {"type": "page", "properties": {"url": "https://shop.example.com/a?b=c&d=%20"}},
        "",
        {"last_page_url": "https://shop.example.com/a?b=c&d=%20"},
    ),
    "signed up": (
        {"type": "track", "event": "Signed Up", "properties": {"method": "google"}},
        "",
        {"signup_method": "google"},
    ),
    "identified": (
        {
            "type": "identify",
            "traits": {
                "first_name": "Zoë",
                "last_name": "O'Hara & Söhne",
                "company": "Ä=1",
                "plan": "pro",
            },
        },
        "Zoë O'Hara & Söhne",
        {"first_name": "Zoë", "last_name": "O'Hara & Söhne", "company": "Ä=1", "plan": "pro"},
    ),
    "identified, as a track": (
        {"type": "track", "event": "Identified", "traits": {"name": "Jane Doe", "plan": "free"}},
        "Jane Doe",
        {"plan": "free"},
    ),
    "order completed": (
        {
            "type": "track",
            "event": "Order Completed",
            "properties": {"order_id": "A-1", "revenue": 129.9, "currency": "EUR"},
        },
        "",
        {"last_order_id": "A-1", "last_order_revenue": 129.9, "last_order_currency": "EUR"},
    ),
    "purchase": (
        {
            "type": "track",
            "event": "purchase",
            "properties": {"transaction_id": 7, "value": 15, "currency": "USD"},
        },
        "",
        {"last_order_id": 7, "last_order_revenue": 15, "last_order_currency": "USD"},
    ),
}


def of(address: str, event: dict[str, Any]) -> dict[str, Any]:
    """The event as that person's."""
    return {**event, "traits": {"email": address, **event.get("traits", {})}}


@pytest.mark.parametrize("kind", KINDS)
def test_event_of_each_kind_makes_a_member_with_its_fields(bench: Bench, kind: str) -> None:
    event, name, variables = KINDS[kind]
    bench.put({**of(JANE, event), "anonymousId": "anon"})
    member = bench.member(JANE)
    assert (member.address, member.name, member.subscribed) == (JANE, name, True)
    assert json.dumps(member.vars, sort_keys=True) == json.dumps(
        {**variables, "anonymous_id": "anon"}, sort_keys=True
    )


def test_no_field_that_another_event_set_is_erased(bench: Bench) -> None:
    held: dict[str, Any] = {}
    name = ""
    for event, says, variables in (
        KINDS[each] for each in ("identified", "page", "signed up", "order completed")
    ):
        held |= variables
        name = says or name
        bench.put(of(JANE, event))
        bench.ended()
        member = bench.member(JANE)
        assert (member.name, member.vars) == (name, held)


@pytest.mark.parametrize("email", ["  Jane@Example.COM ", "jane@example.com"])
def test_case_and_blanks_make_no_second_member(bench: Bench, email: str) -> None:
    bench.put(identified(JANE, plan="pro"))
    bench.ended()
    bench.put(viewed(email, "https://shop.example.com/"))
    bench.ended()
    assert bench.member(JANE).vars == {"plan": "pro", "last_page_url": "https://shop.example.com/"}
    assert list(bench.members()) == [JANE]


@pytest.mark.parametrize(
    "address", ["jane+news@example.com", "a%2bb?c#d&e=f@example.com", "jané@exämple.com"]
)
def test_an_address_with_signs_of_its_own_is_found_again(bench: Bench, address: str) -> None:
    bench.put(identified(address, plan="pro"))
    bench.ended()
    bench.put(viewed(address, "https://shop.example.com/"))
    bench.ended()
    assert bench.member(address).vars == {
        "plan": "pro",
        "last_page_url": "https://shop.example.com/",
    }
    assert list(bench.members()) == [address]


def test_unchanged_member_is_not_posted_again(bench: Bench) -> None:
    bench.put(identified(JANE, plan="pro"))
    bench.ended()
    bench.put(identified(JANE, plan="pro"))
    bench.ended()
    bench.counted("unchanged")
    assert len(bench.posts()) == 1


def test_a_changed_trait_updates_the_member_in_place(bench: Bench) -> None:
    for plan in ("free", "pro"):
        bench.put(identified(JANE, plan=plan))
        bench.ended()
    assert bench.member(JANE).vars == {"plan": "pro"}
    assert len(bench.members()) == 1


@pytest.mark.parametrize("marketing", [True, "granted", None])
def test_new_member_is_subscribed_unless_its_event_denies_consent(
    bench: Bench, marketing: object
) -> None:
    bench.put(consenting(identified(JANE), marketing=marketing))
    assert bench.member(JANE).subscribed is True


@pytest.mark.parametrize("marketing", [False, "denied"])
def test_a_refused_consent_unsubscribes(bench: Bench, marketing: object) -> None:
    bench.put(identified(JANE))
    bench.ended()
    assert bench.member(JANE).subscribed is True
    bench.put(consenting(identified(JANE), marketing=marketing))
    bench.ended()
    assert bench.member(JANE).subscribed is False


@pytest.mark.parametrize(
    "event",
    [
        consenting(identified(JANE, plan="pro"), marketing=True),
        identified(JANE, plan="pro"),
        viewed(JANE, "https://shop.example.com/"),
    ],
    ids=["a granted consent", "an unknown consent", "a page"],
)
def test_a_recipients_own_opt_out_is_undone_by_no_event(
    bench: Bench, event: dict[str, Any]
) -> None:
    bench.put(consenting(identified(JANE), marketing=True))
    bench.ended()
    bench.sandbox.control.unsubscribe(JANE)
    bench.put(event)
    bench.ended()
    member = bench.member(JANE)
    assert member.subscribed is False
    assert member.vars  # the rest of the event did arrive


def test_subscribe_new_and_resubscribe_settings_are_applied(own: Bench) -> None:
    # A "no" that is read soon after our own might be that one, read late: it is looked at again for so long.
    with own.working(
        MAILGUN_RESUBSCRIBE="true", MAILGUN_SUBSCRIBE_NEW="false", MAILGUN_READ_LAG_SECONDS="1"
    ):
        own.put(identified(JANE))
        own.ended()
        assert own.member(JANE).subscribed is False
        own.put(consenting(identified(JANE), marketing=True))
        own.ended()
        assert own.member(JANE).subscribed is True
        own.sandbox.control.unsubscribe(JANE)
        own.put(consenting(identified(JANE), marketing=True))
        own.ended()
        assert own.member(JANE).subscribed is True


def test_overwrite_mode_sends_one_bare_post_of_the_events_fields(own: Bench) -> None:
    with own.working(MAILGUN_WRITE_MODE="overwrite"):
        own.put(identified(JANE, name="Jane", plan="pro"))
        own.ended()
        own.put(viewed(JANE, "https://shop.example.com/"))
        own.ended()
    assert [each.method for each in own.requests(JANE)] == ["POST", "POST"]
    assert own.requests(JANE)[1].form == {
        "address": JANE,
        "subscribed": "true",
        "upsert": "true",
        "vars": '{"last_page_url":"https://shop.example.com/"}',
    }


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (
            {
                "type": "page",
                "anonymousId": "a",
                "properties": {"url": "https://shop.example.com/"},
            },
            "no_email",
        ),
        (
            identified("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
            "hashed_email",
        ),
        ({"type": "track", "event": "Video Played", "traits": {"email": JANE}}, "unmapped_event"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_skipped_event_is_counted_and_sends_no_request(
    bench: Bench, event: dict[str, Any], reason: str
) -> None:
    bench.put(event)
    bench.counted(f"skipped: {reason}")
    bench.ended()
    assert (bench.requests(), bench.letters()) == ([], [])


def test_custom_preset_of_the_operator_is_applied(own: Bench) -> None:
    preset = own.folder / "preset.toml"
    preset.write_text(
        'address = ["properties.mail"]\nconsent = ["context.consent.marketing"]\n'
        '[[event]]\nkind = "Ticket"\nnames = ["Ticket Closed"]\n[event.sets]\n"vars.ticket" = ["properties.id"]\n'
    )
    with own.working(MAILGUN_PRESET=str(preset)):
        own.put({"type": "track", "event": "ticket_closed", "properties": {"mail": JANE, "id": 5}})
        assert own.member(JANE).vars == {"ticket": 5}
