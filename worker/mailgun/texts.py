"""Redact an answer's text: Mailgun's known texts without quotes, of others length and digest.

An answer may quote anything that was sent, in any spelling: form values, an address as HTML or
percent-encoded, the API key.
"""

import re
from hashlib import blake2b

from worker.privacy import is_own

ANSWER_LIMIT = 2048  # characters of a text that are kept
WRONG_ADDRESS = "200, but for another address: "
STRANGE = "200, but not Mailgun's answer: "
NO_PAGE = "200, but not a page of the list's members"
UNREADABLE = "200, but the member cannot be read: "
TOO_LONG = "it is too long"
ENDLESS = "200, but the pages of members do not end"
TOO_FEW = "200, but the pages of members end long before the list's own count"
# The reasons in `member.py` and `answer_json.py`.
UNREADABLES = (
    "`subscribed` is neither yes nor no",
    "`name` is not a text",
    "`vars` is not an object",
    "it holds half a character, or bytes that are not UTF-8",
    "it holds a value that is not a number, or a number that is too large",
    "it holds a value that is nested too deep",
)
# This program's own words, before text that may not be shown.
LEADS = (WRONG_ADDRESS, STRANGE, UNREADABLE)

# Texts from the integration's page, Mailgun's documents and recorded exchanges, and the phrases of
# HTTP.
KNOWN = frozenset(
    {
        *("Bad Request", "Unauthorized", "Payment Required", "Forbidden", "Not Found"),
        *("Method Not Allowed", "Not Acceptable", "Request Timeout", "Conflict", "Gone"),
        *("Length Required", "Precondition Failed", "Request Entity Too Large", "Locked"),
        *("Unprocessable Entity", "Too Early", "Too Many Requests", "Internal Server Error"),
        *("Not Implemented", "Bad Gateway", "Service Unavailable", "Gateway Timeout"),
        *("Invalid private key", "404 page not found"),
        "Mailgun Magnificent API",
        "Mailing list not found",
        "Mailing list has been updated",
        "Mailing list upload started in background",
        *(f"Mailing list member has been {each}" for each in ("created", "updated", "deleted")),
        "The 'address' parameter should be a valid email address",
        "'vars' parameter is not a valid JSON",
        "The 'name' parameter should be a string",
        "The 'subscribed' parameter should be 'yes' or 'no'",
        "'members' parameter is not a valid JSON list",
        *(NO_PAGE, ENDLESS, TOO_FEW, TOO_LONG, *UNREADABLES),
    }
)
LOWERED = frozenset(each.lower() for each in KNOWN)
PATTERNS = (
    (
        re.compile(r"Member .+ of mailing list (?P<list>.+) not found"),
        "Member <address> of mailing list {} not found",
    ),
    (re.compile(r"Mailing list (?P<list>.+) not found"), "Mailing list {} not found"),
    (re.compile(r"Address already exists '.*'"), "Address already exists <address>"),
)


def shown(text: str) -> str:
    """Return what operators may see of an answer's text, which may be cut to ANSWER_LIMIT."""
    lead = next((each for each in LEADS if text.startswith(each)), "")
    rest = text[len(lead) :]
    return lead + (known_text(rest) or _digested(rest))


def known_text(text: str) -> str | None:
    """Return `text` without its quotes if it is one of Mailgun's known texts, else None."""
    if text.lower().rstrip(".! ") in LOWERED:
        return text
    for pattern, form in PATTERNS:
        if found := pattern.fullmatch(text):
            named = found.groupdict().get("list", "")
            return form.format(named if is_own(named) else "<address>")
    return None


def _digested(text: str) -> str:
    if not text:
        return "no text"
    digest = blake2b(text.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()
    more = " or more" if len(text) >= ANSWER_LIMIT - max(map(len, LEADS)) else ""
    return f"{len(text)}{more} characters, digest {digest}"
