"""What an operator sees of the answer to a question of their own: all of it that helps, and never the key."""

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.strategies import any_text
from worker.mailgun.quotation import QUOTED_LIMIT, quoted
from worker.mailgun.texts import ANSWER_LIMIT, KNOWN

KEY = "key-5ecret/&+\"'<\\0f9"
PAIR = base64.b64encode(f"api:{KEY}".encode()).decode()
PROXYS = "<html>\n<head><title>502 Bad Gateway</title></head>\r\n<body>squid/5.7 at proxy.lan</body>\n</html>"

SPELLINGS = {
    "as it is": KEY,
    "in capitals": KEY.upper(),
    "as HTML": html.escape(KEY),
    "as HTML, each character": "".join(f"&#{ord(each)};" for each in KEY),
    "as HTML, without semicolons": "".join(f"&#x{ord(each):x} " for each in KEY),
    "percent-encoded": quote(KEY, safe=""),
    "percent-encoded, each character": "".join(f"%{ord(each):02x}" for each in KEY),
    "twice percent-encoded": quote(quote(KEY, safe=""), safe=""),
    "as JSON": json.dumps(KEY),
    "as JSON, each character": "".join(f"\\u{ord(each):04x}" for each in KEY),
    "over two lines": f"{KEY[:7]}\n  {KEY[7:]}",
    "with what is not seen": f"{KEY[:7]}\u200b{KEY[7:]}",
    "as it was sent": f"Authorization: Basic {PAIR}",
    "the pair alone": PAIR,
    "the pair for URLs": PAIR.replace("+", "-").replace("/", "_"),
    "the pair as HTML": html.escape(PAIR).replace("=", "&#61;"),
    "the pair over two lines": f"{PAIR[:9]}\r\n{PAIR[9:]}",
}


@pytest.mark.parametrize(
    "around",
    ["{}", "<p>You sent {} to us</p>", "x" * (QUOTED_LIMIT - 10) + " {}", " " * 2000 + "{}"],
)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_the_key_is_shown(spelling: str, around: str) -> None:
    shown = quoted(around.replace("{}", SPELLINGS[spelling])[:ANSWER_LIMIT], KEY)
    assert "5ecret" not in html.unescape(shown).lower()
    assert "0f9" not in shown
    assert PAIR[:12] not in shown.replace(" ", "")
    assert all(part not in shown for part in SPELLINGS[spelling].split() if len(part) > 20)


@pytest.mark.parametrize("cut", range(1, len(KEY)))
def test_beginning_of_a_cut_key_is_not_shown(cut: int) -> None:
    shown = quoted((" " * (ANSWER_LIMIT - cut) + KEY)[:ANSWER_LIMIT], KEY)
    assert "key" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Basic dXNlcjpwYXNz",
        '{"headers": {"Authorization": "Basic dXNlcjpwYXNz"}}',
        "authorization=Bearer dXNlcjpwYXNz",
        "<td>Basic dXNlcjpwYXNzd29yZA==</td>",
        'Authorization: Digest username="dXNlcjpwYXNz", response="dXNlcjpwYXNz"',
    ],
)
def test_no_other_authorization_is_shown_either(text: str) -> None:
    assert "dXNl" not in quoted(f"You sent {text}\nto us", KEY)
    assert quoted(f"You sent {text}\nto us", KEY).startswith("You sent")


def test_a_proxys_page_is_shown_on_one_line() -> None:
    assert quoted(PROXYS, KEY) == " ".join(PROXYS.split())


@pytest.mark.parametrize(
    "text",
    [
        "<h1>401 Authorization Required</h1>",
        "Basic authentication is needed",
        "log in at http://login.lan/",
    ],
)
def test_text_that_only_sounds_like_a_secret_is_shown(text: str) -> None:
    assert quoted(text, KEY) == text


@pytest.mark.parametrize("text", sorted(KNOWN))
def test_known_texts_are_quoted_unchanged(text: str) -> None:
    assert quoted(text, "k") == text


@given(any_text, st.text("abc-1", min_size=4, max_size=9))
@example("xkey-1" * 400, "key-1")
@example("", "key-1")
@example(" " * ANSWER_LIMIT, "key-1")
def test_quoted_answer_is_bounded_and_without_the_key(text: str, key: str) -> None:
    shown = quoted(text[:ANSWER_LIMIT], key)
    assert shown
    assert len(shown) <= QUOTED_LIMIT + 2
    assert key not in shown.lower() or "digest" in shown
