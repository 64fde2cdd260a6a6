"""Presets of the operator's own, and how one that cannot be right is refused."""

from pathlib import Path
from typing import Any

import pytest

from worker.signal.event import parse_event
from worker.signal.patch import Patch, SkipReason, patch_from_event
from worker.signal.preset import (
    Preset,
    PresetError,
    _normalized_name,
    load_preset,
    normalize_name,
    preset_of,
)

GOOD = """
address = ["traits.email", "properties.mail"]
consent = ["properties.newsletter"]

[[event]]
kind = "Trial"
names = ["Trial Started"]
[event.sets]
"name" = ["properties.contact"]
"vars.trial" = ["properties.plan.id", "event"]
"vars.full_name" = ["traits.first + traits.last"]

[[event]]
kind = "Team"
types = ["group"]
[event.sets]
"vars.team" = ["group_id"]

[always]
"vars.user" = ["user_id"]
"""


def changed(preset: Preset, **event: Any) -> Patch:
    found = patch_from_event(
        parse_event({"traits": {"email": "jane@example.com"}, **event}), preset
    )
    assert isinstance(found, Patch)
    return found


def test_custom_preset_maps_the_fields_that_it_names(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(GOOD, encoding="utf-8")
    properties = {
        "mail": "Joe@example.com",
        "newsletter": "granted",
        "contact": "Joe",
        "plan": {"id": 7},
    }
    found = changed(
        load_preset(file),
        type="track",
        event="trial-started",
        userId="u1",
        traits={},
        properties=properties,
    )
    assert found == Patch(
        "joe@example.com", "Joe", {"trial": 7, "user": "u1"}, consent=True, at=None
    )


def test_custom_preset_maps_only_its_own_events() -> None:
    preset = preset_of(GOOD, "own.toml")
    assert (
        patch_from_event(parse_event({"type": "identify", "traits": {"email": "a@b.c"}}), preset)
        is SkipReason.UNMAPPED_EVENT
    )


def test_a_type_can_be_mapped_and_an_event_field_read() -> None:
    assert changed(preset_of(GOOD, "own.toml"), type="group", groupId="g1").vars == {"team": "g1"}


def test_the_first_kind_that_covers_an_event_is_the_one() -> None:
    preset = preset_of(GOOD + '[[event]]\nkind = "Again"\ntypes = ["group", "page"]\n', "own.toml")
    events = [parse_event({"type": each}) for each in ("group", "page")]
    kinds = [fields and fields.kind for fields in map(preset.fields_for, events)]
    assert kinds == ["Team", "Again"]


@pytest.mark.parametrize(
    ("traits", "joined"),
    [
        ({"first": "Jane", "last": "Doe"}, "Jane Doe"),
        ({"last": "Doe"}, "Doe"),
        ({"first": "Jane"}, "Jane"),
        ({"first": "", "last": "Doe"}, "Doe"),
        ({"first": " Jane ", "last": "  "}, "Jane"),
    ],
)
def test_plus_joins_the_present_fields_with_a_space(traits: dict[str, str], joined: str) -> None:
    preset = preset_of(GOOD, "own.toml")
    found = changed(
        preset, type="track", event="Trial Started", traits={"email": "a@b.c", **traits}
    )
    assert found.vars["full_name"] == joined


@pytest.mark.parametrize(
    "name", ["Order Completed", "order_completed", "ORDER--completed", " order\tcompleted_"]
)
def test_names_are_compared_ignoring_case_spaces_hyphens_and_underscores(name: str) -> None:
    assert normalize_name(name) == "ordercompleted"


@pytest.mark.parametrize(
    ("old", "new", "key", "reason"),
    [
        ('consent = ["properties.newsletter"]', "", "consent", "Field required"),
        ("consent =", "surprise = 1\nconsent =", "surprise", "not permitted"),
        ('kind = "Trial"', 'kind = "Trial"\ncolour = "red"', "event.0.colour", "not permitted"),
        ('kind = "Trial"', "", "event.0.kind", "Field required"),
        ('kind = "Trial"', "kind = 5", "event.0.kind", "valid string"),
        ('["traits.email", "properties.mail"]', '"traits.email"', "address", "valid tuple"),
        ('["traits.email", "properties.mail"]', "[]", "address", "at least 1"),
        ('["traits.email", "properties.mail"]', "[5]", "address.0", "such as traits.email"),
        ('"traits.email"', '"email"', "address.0", "'email' is not a place in an event"),
        ('"traits.email"', '"traits"', "address.0", "'traits' is not a place"),
        ('"traits.email"', '"traits."', "address.0", "'traits.' is not a place"),
        ('"traits.email"', '"traits..email"', "address.0", "is not a place"),
        ('"traits.email"', '"user_id.x"', "address.0", "is not a place"),
        ('"traits.email"', '"$traits.email"', "address.0", "is not a place"),
        ('"traits.email"', '"traits.first +"', "address.0", "'' is not a place"),
        ('"traits.email"', '""', "address.0", "'' is not a place"),
        ('"vars.trial"', '"trial"', "event.0.sets.trial", "'trial' is not a member's field"),
        ('"vars.trial"', '"subscribed"', "event.0.sets.subscribed", "is not a member's field"),
        ('"vars.trial"', '"vars."', "event.0.sets.vars.", "is not a member's field"),
        ('"vars.trial"', '"vars.a b"', "event.0.sets.vars.a b", "is not a member's field"),
        ('"vars.user"', '"user"', "always.user", "is not a member's field"),
        ('names = ["Trial Started"]', 'names = "Trial Started"', "event.0.names", "valid tuple"),
        ('names = ["Trial Started"]', "", "event.0", ""),
        ('types = ["group"]', 'types = ["Group"]', "event.1.types", ""),
        ('types = ["group"]', 'types = ["track"]', "event.1.types", ""),
        ("consent =", "consent = =", "", "not TOML"),
        ("consent =", 'address = ["traits.mail"]\nconsent =', "", "not TOML"),
    ],
)
def test_invalid_preset_is_refused_in_one_line(old: str, new: str, key: str, reason: str) -> None:
    assert old in GOOD
    with pytest.raises(PresetError) as caught:
        preset_of(GOOD.replace(old, new, 1), "own.toml")
    told = str(caught.value)
    assert told.startswith(f"preset own.toml: {key}")
    assert reason in told
    assert "\n" not in told


def test_a_preset_without_events_is_refused() -> None:
    with pytest.raises(PresetError, match=r"^preset own\.toml: event: "):
        preset_of('address = ["traits.email"]\nconsent = ["traits.ok"]\n', "own.toml")


def test_a_wrong_preset_is_named_by_its_file(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("nonsense")
    with pytest.raises(PresetError) as caught:
        load_preset(file)
    assert str(file) in str(caught.value)


def test_a_preset_that_is_missing_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PresetError) as caught:
        load_preset(tmp_path / "none.toml")
    assert (
        str(caught.value)
        == f"MAILGUN_PRESET {tmp_path}/none.toml cannot be read: No such file or directory"
    )


def test_a_preset_that_is_a_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PresetError) as caught:
        load_preset(tmp_path)
    assert str(caught.value) == f"MAILGUN_PRESET {tmp_path} cannot be read: Is a directory"


def test_a_preset_that_is_not_utf_8_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_bytes(b'address = ["traits.\xe9mail"]')
    with pytest.raises(PresetError) as caught:
        load_preset(file)
    assert str(caught.value) == f"MAILGUN_PRESET {file} cannot be read: is not UTF-8 text"


def test_the_preset_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_preset().address = ()  # type: ignore[misc]


def test_long_event_names_are_not_cached() -> None:
    before = _normalized_name.cache_info().currsize
    for number in range(50):
        assert normalize_name(f"{number}_Long-Name " * 100) == f"{number}longname" * 100
    assert _normalized_name.cache_info().currsize == before
