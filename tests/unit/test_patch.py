"""What each event changes under the Default preset, and which events change nothing."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from tests import example
from tests.unit.strategies import any_text, json_objects, json_values
from tests.unit.test_merge import merged
from worker.signal.address import MalformedEmail
from worker.signal.event import parse_event
from worker.signal.patch import Patch, SkipReason, json_safe, patch_from_event
from worker.signal.preset import load_preset

PRESET = load_preset()
EMAIL = {"email": "jane@example.com"}


def read(event: dict[str, Any]) -> Patch | SkipReason:
    return patch_from_event(parse_event(event), PRESET)


def patch(event: dict[str, Any]) -> Patch:
    """The patch of an event that has Jane's address."""
    found = read({"traits": EMAIL, **event})
    assert isinstance(found, Patch)
    return found


def track(name: str, **properties: object) -> Patch:
    return patch({"type": "track", "event": name, "properties": properties})


def consented(context: object) -> bool | None:
    return patch({"type": "identify", "context": context}).consent


def test_the_example_of_the_integrations_page_becomes_its_request() -> None:
    found = patch(example.EVENT)
    form = merged(None, found).form()
    assert "\n".join(f"{name}={value}" for name, value in form.items()) == example.FIELDS


@pytest.mark.parametrize(
    "name", ["Order Completed", "order_completed", "ORDER-COMPLETED", "orderCompleted", "purchase"]
)
def test_an_order_is_known_under_each_of_its_names(name: str) -> None:
    assert track(name, currency="EUR").vars == {"last_order_currency": "EUR"}


@pytest.mark.parametrize(
    "name", ["Signed Up", "signed_up", "sign_up", "SignedUp", "Sign Up", "sign-up"]
)
def test_a_sign_up_is_known_under_each_of_its_names(name: str) -> None:
    assert track(name, method="email").vars == {"signup_method": "email"}


@pytest.mark.parametrize("event", [{"type": "identify"}, {"type": "track", "event": "Identified"}])
def test_an_identification_is_a_type_or_a_track(event: dict[str, Any]) -> None:
    assert patch({**event, "traits": {**EMAIL, "plan": "pro"}}).vars == {"plan": "pro"}


@pytest.mark.parametrize("name", ["order_id", "orderId", "transaction_id"])
def test_the_order_id_is_read_in_each_dialect(name: str) -> None:
    assert track("purchase", **{name: "o-1"}).vars == {"last_order_id": "o-1"}


@pytest.mark.parametrize("name", ["revenue", "total", "value"])
def test_the_revenue_is_read_in_each_dialect(name: str) -> None:
    assert track("purchase", **{name: 99.5}).vars == {"last_order_revenue": 99.5}


@pytest.mark.parametrize("name", ["method", "signup_method"])
def test_the_sign_up_method_is_read_in_each_dialect(name: str) -> None:
    assert track("Signed Up", **{name: "google"}).vars == {"signup_method": "google"}


def test_first_of_several_source_fields_wins() -> None:
    assert track("purchase", value=1, total=2, revenue=3).vars == {"last_order_revenue": 3}


def test_null_falls_through_to_the_next_source_field() -> None:
    assert track("purchase", revenue=None, total=2).vars == {"last_order_revenue": 2}


@pytest.mark.parametrize(
    "event",
    [
        {"properties": {"url": "https://example.com/a"}},
        {"context": {"page": {"url": "https://example.com/a"}}},
        {"properties": {"url": None}, "context": {"page": {"url": "https://example.com/a"}}},
    ],
)
def test_a_pages_url_is_read_from_its_properties_or_its_context(event: dict[str, Any]) -> None:
    assert patch({"type": "page", **event}).vars == {"last_page_url": "https://example.com/a"}


def test_the_name_of_a_page_is_not_the_name_of_a_person() -> None:
    assert patch({"type": "page", "name": "Home"}).name is None


@pytest.mark.parametrize("place", ["traits", "context"])
@pytest.mark.parametrize("first", ["first_name", "firstName"])
def test_traits_are_read_at_the_top_or_in_the_context(place: str, first: str) -> None:
    traits = {**EMAIL, first: "Jane", "last_name": "Doe", "plan": "pro", "company": "Acme"}
    event = {
        "type": "identify",
        "traits": traits if place == "traits" else None,
        "context": {"traits": traits},
    }
    assert patch(event).vars == {
        "first_name": "Jane",
        "last_name": "Doe",
        "plan": "pro",
        "company": "Acme",
    }


@pytest.mark.parametrize(
    ("traits", "name"),
    [
        ({"name": "Jane Doe", "first_name": "J"}, "Jane Doe"),
        ({"first_name": "Jane", "last_name": "Doe"}, "Jane Doe"),
        ({"firstName": "Jane", "lastName": "Doe"}, "Jane Doe"),
        ({"name": None, "first_name": "Jane"}, "Jane"),
        ({"last_name": "Doe"}, "Doe"),
        ({"name": "  Jane Doe "}, "Jane Doe"),
        ({"name": 42}, "42"),
        ({}, None),
        ({"name": ""}, None),
        ({"name": True}, None),
        ({"name": {"first": "Jane"}}, None),
        ({"name": float("nan")}, None),
    ],
)
def test_the_name_falls_back_to_first_and_last_name(
    traits: dict[str, Any], name: str | None
) -> None:
    assert patch({"type": "identify", "traits": {**EMAIL, **traits}}).name == name


@pytest.mark.parametrize("first", [True, {"x": 1}, ["Jane"], float("nan"), " "])
def test_only_usable_name_parts_are_joined(first: object) -> None:
    assert (
        patch(
            {"type": "identify", "traits": {**EMAIL, "first_name": first, "last_name": "Doe"}}
        ).name
        == "Doe"
    )


@pytest.mark.parametrize(
    "event", [{"type": "page"}, {"type": "identify"}, {"type": "track", "event": "purchase"}]
)
@pytest.mark.parametrize("key", ["anonymousId", "anonymous_id"])
def test_each_mapped_event_sets_the_anonymous_id(event: dict[str, Any], key: str) -> None:
    assert patch({**event, key: "a1b2c3"}).vars == {"anonymous_id": "a1b2c3"}


@pytest.mark.parametrize("value", [0, 0.0, False, "", 1, 1.5, True, "1", [1], {"a": None}])
def test_values_keep_their_json_type(value: object) -> None:
    found = patch({"type": "identify", "traits": {**EMAIL, "plan": value}}).vars["plan"]
    assert found == value
    assert type(found) is type(value)


def test_absent_and_null_values_set_nothing() -> None:
    found = patch({"type": "identify", "traits": {**EMAIL, "plan": None, "name": None}})
    assert (found.name, found.vars, found.consent, found.at) == (None, {}, None, None)


def test_patch_with_an_unreadable_timestamp_is_marked_undated() -> None:
    found = patch({"type": "page", "timestamp": "yesterday"})
    assert (found.at, found.undated, found.not_understood) == (None, True, ("timestamp",))


def test_the_time_of_a_patch_is_the_events_own() -> None:
    assert patch({"type": "page", "timestamp": "2024-05-01T10:00:00Z"}).at == datetime(
        2024, 5, 1, 10, tzinfo=UTC
    )


@pytest.mark.parametrize("email", ["jane@example.com", " Jane@Example.COM\n", "JANE@EXAMPLE.COM"])
def test_the_address_is_trimmed_and_lowercased(email: str) -> None:
    assert patch({"type": "identify", "traits": {"email": email}}).address == "jane@example.com"


def test_the_address_falls_back_to_the_contexts_traits() -> None:
    found = patch({"type": "page", "traits": {"email": None}, "context": {"traits": EMAIL}})
    assert found.address == "jane@example.com"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "page"},
        {"type": "page", "traits": None, "context": None},
        {"type": "page", "traits": []},
        {"type": "page", "context": {"traits": "jane@example.com"}},
        {"type": "identify", "traits": {"email": None}},
        {"type": "identify", "traits": {"email": ""}},
        {"type": "identify", "traits": {"email": " \t"}},
        {"type": "identify", "userId": "jane@example.com"},
    ],
)
def test_an_event_without_an_address_is_skipped(event: dict[str, Any]) -> None:
    assert read(event) is SkipReason.NO_EMAIL


@pytest.mark.parametrize("email", ["a" * 64, "A" * 64, " 0123456789abcdef" + "0" * 48])
def test_a_hashed_address_is_skipped(email: str) -> None:
    assert read({"type": "identify", "traits": {"email": email}}) is SkipReason.HASHED_EMAIL


@pytest.mark.parametrize("email", ["a" * 63, "a" * 65, "g" * 64])
def test_address_that_only_resembles_a_hash_is_malformed(email: str) -> None:
    with pytest.raises(MalformedEmail):
        read({"type": "identify", "traits": {"email": email}})


@pytest.mark.parametrize(
    "event",
    [
        {"type": "group"},
        {"type": "screen"},
        {"type": "track"},
        {"type": "track", "event": None},
        {"type": "track", "event": "Product Viewed"},
        {"type": "track", "event": "page"},
        {"type": "Signed Up"},
        {"type": "identify2", "event": "Signed Up"},
    ],
)
def test_an_event_that_the_preset_does_not_map_is_skipped(event: dict[str, Any]) -> None:
    assert read({**event, "traits": EMAIL}) is SkipReason.UNMAPPED_EVENT


@pytest.mark.parametrize(
    "email",
    [
        "jane",
        "jane@",
        "@example.com",
        "@",
        "jane@@example.com",
        "jane@a@example.com",
        "jane doe@example.com",
        "jane@exam ple.com",
        "jane@exam\u00a0ple.com",
        "jane\x00@example.com",
        "jane\x7f@example.com",
        "jane\u0085@example.com",
        "jane\n@example.com",
        "jane/doe@example.com",
        "jane\ud800@example.com",
        "j" * 309 + "@example.com",
        5,
        0,
        True,
        False,
        ["jane@example.com"],
        {"value": "jane@example.com"},
    ],
)
def test_invalid_address_is_malformed_and_not_quoted(email: object) -> None:
    with pytest.raises(MalformedEmail) as caught:
        read({"type": "identify", "traits": {"email": email}})
    assert "jane" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "email",
    [
        "j" * 308 + "@example.com",
        "jane+news@example.com",
        "jäne@exämple.com",
        "o'brien@example.com",
        "a@b",
    ],
)
def test_valid_address_is_accepted(email: str) -> None:
    assert patch({"type": "identify", "traits": {"email": email}}).address == email


@pytest.mark.parametrize(
    ("value", "consent", "unclear"),
    [
        (True, True, False),
        (" Granted ", True, False),
        (False, False, False),
        ("no", False, False),
        (0, False, False),
        ({"granted": False}, False, False),
        ("unknown", None, True),
        ("perhaps", None, True),
        (0.5, None, True),
        (float("nan"), None, True),
        ({}, None, True),
        ([True], None, True),
        ("", None, False),
        (None, None, False),
    ],
)
def test_consent_is_canonical_or_flat(value: object, consent: bool | None, unclear: bool) -> None:  # noqa: FBT001
    for context in (
        {"canonical": {"marketing": value}},
        {"marketing": value},
        {"canonical": {}, "marketing": value},
    ):
        found = patch({"type": "identify", "context": {"consent": context}})
        assert (found.consent, found.consent_unclear) == (consent, unclear)
        assert found.not_understood == (("consent",) if unclear else ())


# What the canonical place says, what the flat one says, and what they say together.
PLACES = [
    (True, False, True),
    (False, True, False),
    (None, True, True),
    ("", False, False),
    ("unknown", True, True),
    ("unknown", False, False),
    ("perhaps", False, False),
    ("perhaps", True, None),  # it may have been a no
    ("perhaps", None, None),
    (None, "perhaps", None),
    ("unknown", "perhaps", None),
]


@pytest.mark.parametrize(("canonical", "flat", "consent"), PLACES)
def test_first_source_field_with_a_known_consent_counts(
    canonical: object,
    flat: object,
    consent: bool | None,  # noqa: FBT001
) -> None:
    found = patch(
        {
            "type": "identify",
            "context": {"consent": {"canonical": {"marketing": canonical}, "marketing": flat}},
        }
    )
    assert (found.consent, found.consent_unclear) == (consent, consent is None)


@pytest.mark.parametrize(
    ("context", "consent", "unclear"),
    [
        ({"consent": "denied"}, False, False),
        ({"consent": False}, False, False),
        ({"consent": {"canonical": "no", "marketing": True}}, False, False),
        ({"consent": True}, None, True),
        ({"consent": {"canonical": True}}, None, True),
        ({"consent": []}, None, False),
        ({"consent": {"canonical": [], "marketing": True}}, True, False),
    ],
)
def test_denial_in_place_of_an_object_counts_and_a_grant_does_not(
    context: object,
    consent: bool | None,  # noqa: FBT001
    unclear: bool,  # noqa: FBT001
) -> None:
    found = patch({"type": "identify", "context": context})
    assert (found.consent, found.consent_unclear) == (consent, unclear)


def test_canonical_consent_goes_before_the_flat_one() -> None:
    assert consented({"consent": {"canonical": {"marketing": False}, "marketing": True}}) is False


@pytest.mark.parametrize(
    "context",
    [
        None,
        "x",
        {},
        {"consent": None},
        {"consent": True},
        {"consent": {"canonical": True}},
        {"consent": ["marketing"]},
    ],
)
def test_consent_of_another_shape_is_unknown(context: object) -> None:
    assert consented(context) is None


@pytest.mark.parametrize("event", [{"type": "page"}, {"type": "track", "event": "purchase"}])
def test_every_mapped_event_carries_consent(event: dict[str, Any]) -> None:
    assert (
        patch({**event, "context": {"consent": {"canonical": {"marketing": False}}}}).consent
        is False
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_spell_sets_nothing(value: float) -> None:
    assert track("purchase", revenue=value, currency="EUR").vars == {"last_order_currency": "EUR"}


def test_within_a_value_a_number_that_json_cannot_spell_becomes_null() -> None:
    assert track("purchase", revenue=[float("nan"), {"a": float("inf")}]).vars == {
        "last_order_revenue": [None, {"a": None}]
    }


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ufeffx", "\ufeffx"),
    ],
)
def test_half_characters_become_the_replacement_character(text: str, fixed: str) -> None:
    assert patch({"type": "identify", "anonymousId": text}).vars == {"anonymous_id": fixed}


@given(json_values)
def test_cleaned_value_can_be_encoded_and_cleaning_again_keeps_it(value: Any) -> None:
    cleaned = json_safe(value)
    assert json_safe(cleaned) == cleaned
    repr(cleaned).encode("utf-8")


@given(json_objects, json_objects, json_objects, any_text)
def test_every_event_is_a_patch_a_skip_or_a_malformed_address(
    traits: dict[str, Any], properties: dict[str, Any], context: dict[str, Any], email: str
) -> None:
    event = {
        "type": "identify",
        "properties": properties,
        "context": context,
        "traits": {**traits, "email": email},
    }
    try:
        found = read(event)
    except MalformedEmail:
        return
    if isinstance(found, Patch):
        for value in merged(None, found).form().values():
            value.encode("utf-8")


def both(context: object) -> tuple[bool | None, bool]:
    """What an event with that context says of consent, and whether that was not understood."""
    made = patch({"type": "identify", "context": context})
    return made.consent, made.consent_unclear


@pytest.mark.parametrize(
    "consent",
    [
        {"granted": False},
        {"status": "denied"},
        {"canonical": {"granted": False}},
        {"canonical": {"Marketing": False}},
        {"Canonical": {"marketing": "no"}},
        {"categoryPreferences": {"Advertising": True, "Marketing": False}},
        {"gdpr": {"purposes": {"marketing": "denied"}}},
    ],
)
def test_denial_above_the_consent_field_or_in_another_spelling_counts(consent: object) -> None:
    assert both({"consent": consent}) == (False, False)


@pytest.mark.parametrize(
    "consent",
    [
        {},
        {"canonical": {"analytics": False}},
        {"canonical": {}, "functional": True},
        {"categoryPreferences": {"Advertising": False, "Functional": False}},
        {"categoryPreferences": {"Marketing": True}},
    ],
)
def test_consent_for_other_purposes_leaves_marketing_unknown(consent: object) -> None:
    assert both({"consent": consent}) == (None, False)


def test_flat_grant_counts_behind_a_canonical_object_of_other_purposes() -> None:
    assert both({"consent": {"canonical": {"analytics": False}, "marketing": True}}) == (
        True,
        False,
    )


@pytest.mark.parametrize("context", ['{"consent": {"marketing": false}}', 5, ["x"], True])
def test_context_that_is_no_object_leaves_the_consent_not_understood(context: object) -> None:
    assert both(context) == (None, True)


@pytest.mark.parametrize("context", [None, {}, [], ""])
def test_empty_context_leaves_the_consent_unknown(context: object) -> None:
    assert both(context) == (None, False)
