"""What is shown of text from outside: everything that could act on a terminal, turn or hide text is escaped."""

import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import any_text, json_values
from worker.printable import encodable, printable, readable_json

HOSTILE = "\x1b]52;c;cm0=\x07\x9b31m\u202egnp.exe\u2066\u200b\u2028\u2029\ufeff\r\b\t\n\x7f\x00\ud800\U000e0041\xad\xa0"


def test_each_hostile_character_is_shown_by_its_number() -> None:
    assert printable("a\x1b[2Jb") == r"a\x1b[2Jb"
    assert printable("a\nb\rc\td") == r"a\nb\rc\td"
    assert printable("\x9b\x7f\x00") == r"\x9b\x7f\x00"
    assert printable("\u202e\u2028\ud800") == r"\u202e\u2028\ud800"
    assert printable("\U000e0041\xa0\u3164\ufe0f") == r"\U000e0041\xa0\u3164\ufe0f"


@pytest.mark.parametrize("text", ["", "Zoë Müller", "東京 🦊", "[bold]x[/] \\ 'y'", "a" * 100_000])
def test_plain_text_of_any_script_stays_as_it_is(text: str) -> None:
    assert printable(text) is text


def test_no_character_of_a_dangerous_category_gets_through() -> None:
    dangerous = [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    ]
    shown = printable("".join(dangerous))
    assert shown.isascii()
    assert shown.isprintable()


@given(any_text)
def test_printable_text_is_one_encodable_line_and_not_escaped_twice(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable()
    assert printable(shown) == shown


@given(json_values)
def test_printable_json_is_still_the_same_json(value: Any) -> None:
    for indent in (None, 2):
        shown = readable_json(value, indent)
        assert json.loads(shown) == value
        assert all(line.isprintable() for line in shown.split("\n"))


def test_printable_json_keeps_letters_and_escapes_the_rest() -> None:
    assert readable_json({"näme": HOSTILE}).startswith(
        '{"näme": "\\u001b]52;c;cm0=\\u0007\\u009b31m\\u202egnp.exe'
    )


@given(any_text, st.sampled_from(["ascii", "latin-1", "cp1252", "utf-8"]))
def test_any_text_can_be_encoded_in_the_end(text: str, encoding: str) -> None:
    encodable(printable(text), encoding).encode(encoding)


def test_own_signs_are_replaced_by_plain_ones_and_others_by_their_numbers() -> None:
    assert encodable("✓ j…@x → 東", "ascii") == r"+ j...@x -> \u6771"
    assert encodable("Zoë ✓", "latin-1") == "Zoë +"
