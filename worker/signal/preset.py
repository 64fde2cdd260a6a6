"""Presets: the mapping from Signal events to a member's fields, loaded from TOML and validated."""

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from worker.signal.consent import normalize_word
from worker.signal.event import SignalEvent

TEXT_ROOTS = ("event", "name", "user_id", "anonymous_id", "group_id", "message_id")
OBJECT_ROOTS = ("properties", "traits", "context")
LONGEST_REMEMBERED = 200  # characters; longer event names are not cached
TARGET = re.compile(r"name|vars\.[^.\s][^\s]*")

Path_ = tuple[str, tuple[str, ...]]  # a field of `SignalEvent`, and the keys below it


class PresetError(ValueError):
    """A preset that cannot be right; the text is one line with the file, the key and the reason."""


@dataclass(frozen=True)
class FieldSource:
    """The place of a value: one path, or several whose texts are joined with a space."""

    paths: tuple[Path_, ...]

    def read(self, event: SignalEvent) -> Any:
        """Return the value at this place, or None if there is none."""
        if len(self.paths) == 1:
            return _at(event, self.paths[0])
        found = (_at(event, path) for path in self.paths)
        return " ".join(filter(None, map(text_in, found))) or None

    def seek(self, event: SignalEvent) -> tuple[Any, bool]:
        """Return the value at this place, or the last value on the way to it.

        Keys match as `normalize_word` compares them, ignoring case and separators.

        Returns:
            The value and True. If the path breaks off below its first key: the last value on it and
            False. If the event's own object has no such key, or there are several paths: the value
            of `read` or None, and True.
        """
        if len(self.paths) > 1:
            return self.read(event), True
        ((root, keys),) = self.paths
        value: Any = getattr(event, root)
        for depth, key in enumerate(keys):
            if value is not None and not isinstance(value, dict):
                return value, False
            inside: dict[str, Any] = value or {}
            found = _key_in(inside, key)
            if found is None:
                return (value, False) if depth else (None, True)
            value = inside[found]
        return value, True


def text_in(value: object) -> str | None:
    """Return `value` as trimmed text; None unless it is a number or a text that is not blank."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:  # noqa: PLR0124
        return None
    return str(value).strip() or None


def _key_in(value: dict[str, Any], key: str) -> str | None:
    if key in value:
        return key
    wanted = normalize_word(key)
    for each in value:
        if normalize_word(str(each)) == wanted:
            return each
    return None


def _at(event: SignalEvent, path: Path_) -> Any:
    root, keys = path
    value: Any = getattr(event, root)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def normalize_name(name: str) -> str:
    """Return an event's name without case, spaces, hyphens and underscores, for comparison."""
    if len(name) > LONGEST_REMEMBERED:
        return _normalized_name.__wrapped__(name)
    return _normalized_name(name)


@lru_cache(maxsize=1000)
def _normalized_name(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _field_source(text: object) -> FieldSource:
    if not isinstance(text, str):
        raise ValueError("a place is a string such as traits.email")  # noqa: TRY004 pydantic reports ValueErrors
    return FieldSource(tuple(_path(part.strip()) for part in text.split("+")))


def _path(text: str) -> Path_:
    root, *keys = text.split(".")
    if root in TEXT_ROOTS and not keys:
        return root, ()
    if root in OBJECT_ROOTS and keys and all(keys):
        return root, tuple(keys)
    raise ValueError(
        f"{text!r} is not a place in an event; use {', '.join(TEXT_ROOTS)}, "
        f"or properties.…, traits.…, context.…"
    )


def _target(text: str) -> str:
    if not TARGET.fullmatch(text):
        raise ValueError(f"{text!r} is not a member's field; use name or vars.…")
    return text


def _type(text: str) -> str:
    if text != text.strip().lower() or text in {"", "track"}:
        raise ValueError(
            f"{text!r} is not a type in lower case, or is track; track events are mapped by names"
        )
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


FieldSources = Annotated[
    tuple[Annotated[FieldSource, BeforeValidator(_field_source)], ...], Field(min_length=1)
]
Type = Annotated[str, AfterValidator(_type)]
Sets = dict[Annotated[str, AfterValidator(_target)], FieldSources]


class MemberFields(NamedTuple):
    """The fields that events of one kind set, each with the places of its value.

    Attributes:
        kind: The kind, as the preset calls it.
        name: The places of the member's name.
        vars: The names of variables, each with its places.
    """

    kind: str
    name: tuple[FieldSource, ...]
    vars: tuple[tuple[str, tuple[FieldSource, ...]], ...]


class EventMapping(_Strict):
    """One kind of event: the types or track names that it comes under, and the fields it sets."""

    kind: str
    types: tuple[Type, ...] = ()
    names: tuple[str, ...] = ()
    sets: Sets = Field(default_factory=dict)

    @model_validator(mode="after")
    def _covers_something(self) -> Self:
        if not self.types and not self.names:
            raise ValueError("has neither types nor names, so no event would be of this kind")
        return self


class Preset(_Strict):
    """The events that matter, and the places of the address, the consent and each member field."""

    address: FieldSources
    consent: FieldSources
    event: Annotated[tuple[EventMapping, ...], Field(min_length=1)]
    always: Sets = Field(default_factory=dict)

    @cached_property
    def consent_keys(self) -> frozenset[str]:
        """The keys on the way to the consent, as `normalize_word` returns them."""
        paths = (path for source in self.consent for path in source.paths)
        return frozenset(normalize_word(key) for _, keys in paths for key in keys)

    def fields_for(self, event: SignalEvent) -> MemberFields | None:
        """Return what the first kind that covers `event` sets; None if no kind covers it."""
        if event.type != "track":
            return self._by_type.get(event.type)
        return self._by_name.get(normalize_name(event.event)) if event.event else None

    # Of the kinds that cover the same events, the first counts, so it is entered last.

    @cached_property
    def _by_type(self) -> dict[str, MemberFields]:
        kinds = reversed(self.event)
        return {type_: self._fields_of(each) for each in kinds for type_ in each.types}

    @cached_property
    def _by_name(self) -> dict[str, MemberFields]:
        kinds = reversed(self.event)
        return {
            normalize_name(name): self._fields_of(each) for each in kinds for name in each.names
        }

    def _fields_of(self, mapping: EventMapping) -> MemberFields:
        sets = {**mapping.sets, **self.always}
        names = sets.pop("name", ())
        vars_ = ((target.removeprefix("vars."), sources) for target, sources in sets.items())
        return MemberFields(mapping.kind, names, tuple(vars_))


def load_preset(file: Path | None = None) -> Preset:
    """Return the preset in `file`; the Default preset if `file` is None.

    Raises:
        PresetError: The file cannot be read, or holds no valid preset.
    """
    if file is None:
        return preset_of(
            files("worker.signal").joinpath("presets/default.toml").read_text(encoding="utf-8"),
            "default.toml",
        )
    try:
        return preset_of(file.read_text(encoding="utf-8"), str(file))
    except (OSError, ValueError) as error:
        text = (
            "is not UTF-8 text"
            if isinstance(error, UnicodeDecodeError)
            else "its name is no file's"
        )
        reason = getattr(error, "strerror", None) or text
        raise PresetError(f"MAILGUN_PRESET {file} cannot be read: {reason}") from None


def preset_of(text: str, origin: str) -> Preset:
    """Return the preset that TOML text describes; errors name its file, `origin`.

    Raises:
        PresetError: The text is no valid preset.
    """
    try:
        return Preset.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PresetError(f"preset {origin}: not TOML: {error}") from None
    except RecursionError:
        raise PresetError(f"preset {origin}: nested too deep") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise PresetError(
            f"preset {origin}: {key}: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    except ValueError:
        raise PresetError(f"preset {origin}: a number of thousands of digits") from None
