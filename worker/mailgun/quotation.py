"""Redact the text of an answer to a request about no person, so that operators may see it.

Mailgun or another server in its place may have sent the text. The API key and what follows
`Authorization` are masked. If the text holds the key in a spelling that cannot be masked, only the
text's length and digest are shown, as of every other unknown answer.
"""

import re
from base64 import b64encode, urlsafe_b64encode
from html import unescape
from urllib.parse import unquote

from worker.mailgun.texts import ANSWER_LIMIT, known_text, shown

QUOTED_LIMIT = 500  # characters
# The value of a header or a field up to the end of its line or tag; or, after the name of a scheme,
# a word of at least 16 characters, too long to be plain text.
AUTHORIZATION = re.compile(
    r"authorization[\"']?\s*[:=]\s*([^\r\n<]+)|\b(?:basic|bearer|digest|token)\s+([\w+/=.~:-]{16,})",
    re.IGNORECASE,
)
ESCAPE = re.compile(r"\\u([0-9a-f]{4})", re.IGNORECASE)
UNSEEN = re.compile(r"[\s\\\u00ad\u200b-\u200f\u2060\ufeff]+")
DECODINGS = 3  # levels of encodings within one another


def quoted(text: str, key: str) -> str:
    """Return the text of an answer on one line, with the key masked, cut to 500 characters."""
    if known_text(text) or not text:
        return shown(text)
    secrets = _secrets(key)
    masked = _masked(_whole_words(text), secrets)
    if any(_seen(secret) in each for each in _decoded(masked) for secret in secrets):
        return shown(text)
    words = " ".join(masked.split()) or shown(text)
    return words if len(words) <= QUOTED_LIMIT else f"{words[:QUOTED_LIMIT]} …"


def _whole_words(text: str) -> str:
    """Return a cut text without its last word, which may be the beginning of the key."""
    return text if len(text) < ANSWER_LIMIT else re.sub(r"\S+\s*$", "", text)


def _secrets(key: str) -> list[str]:
    pair = f"api:{key}".encode()
    return [key, *(encode(pair).decode().rstrip("=") for encode in (b64encode, urlsafe_b64encode))]


def _masked(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    return AUTHORIZATION.sub(lambda found: found[0].replace(found[1] or found[2], "***"), text)


def _decoded(text: str) -> list[str]:
    """Return `text` and its decodings from HTML, URLs and JSON, each as `_seen` returns it."""
    texts = [text]
    for _ in range(DECODINGS):
        texts.append(unquote(unescape(texts[-1])))
    texts += [ESCAPE.sub(lambda found: chr(int(found[1], 16)), each) for each in texts]
    return [_seen(each) for each in texts]


def _seen(text: str) -> str:
    return UNSEEN.sub("", text).lower()
