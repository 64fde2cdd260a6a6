"""Marketing consent in whatever form producers send it: read as a yes, a no, nothing, or something not understood.

The words are data; `docs/events.md` tables them and a test compares the two. What is not plainly a yes is never read as one.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

DEEPEST = 4  # objects within objects that are looked into
LONGEST_WORD = 64  # characters; what is longer is a text or a token, no word


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


YES_WORDS = _words("""
    yes y true t on granted grant given allowed allow accepted accept agreed agree approved permitted enabled
    consented consentgiven consentgranted optin optedin doubleoptin confirmedoptin subscribed subscribe
    ja oui si sí sim tak da はい 是
""")
NO_WORDS = _words("""
    no n false f off never nope
    denied deny refused refuse rejected reject declined decline revoked revoke withdrawn withdraw withdrew
    disallowed disallow forbidden prohibited blocked block disabled disagree disagreed objected suppressed
    optout optedout unsubscribed unsubscribe unsub complained spam
    noconsent noconsentgiven withoutconsent consentdenied consentrefused consentrejected consentdeclined
    consentrevoked consentwithdrawn nonconsented unconsented
    nothanks notinterested inactive disable rejectall optoutall
    notgranted notgiven notallowed notaccepted notagreed notapproved notpermitted notenabled notconsented
    notoptedin notsubscribed
    donotcontact donotmail donotemail donotmarket donottrack
    nein nee non não nao nej nei ei nie нет いいえ 否
    abgelehnt verweigert widerrufen abgemeldet ausgetragen refusé désabonné rechazado denegado revocado
    recusado negado rifiutato negato geweigerd afgemeld
""")
# Words that say that nothing is known: the next place decides. Alone they subscribe no new member.
UNKNOWN_WORDS = _words("""
    unknown undefined undetermined unset notset unspecified notspecified notprovided notasked missing null nil na
""")
# Keys of an object whose value is the consent, and those whose value is its opposite. As words are compared.
YES_KEYS = _words("""
    granted given allowed allow accepted accept agreed approved permitted enabled consented subscribed optin optedin
    consent value status state choice decision answer permission marketing email
""")
NO_KEYS = _words("""
    denied deny refused rejected declined revoked withdrawn disallowed blocked disabled objected suppressed
    optout optedout unsubscribed donotcontact donotmail donotemail
""")
# Before a key: `isGranted` is `granted`, `email_opt_out` is `optout`.
KEY_BEGINNINGS = ("is", "has", "was", "email", "marketing")
# A key that is none of ours and holds one of these may take a yes back.
NO_STEMS = (
    "optout",
    "optedout",
    "unsub",
    "revo",
    "withdr",
    "den",
    "refus",
    "reject",
    "declin",
    "suppress",
    "block",
    "object",
)
# Keys of other channels and purposes: a no there says nothing of marketing by e-mail.
OTHER_KEYS = _words("""
    sms push phone call post mail letter whatsapp web inapp analytics functional necessary preferences
    personalization personalisation advertising ads statistics performance social doubleoptin confirmed verified
""")
# With such an ending a key of the second kind holds a moment: any at all says that it happened.
MOMENT_ENDINGS = ("at", "on", "date", "time", "timestamp")

SEPARATORS = re.compile(r"[\s_/.'’\-\u2010-\u2015]+")
# What stands around a word and cannot be seen, or is a quotation mark.
AROUND = " \t\r\n\"'“”„‘’«»\u200b\u200c\u200d\u2060\ufeff\u00ad"
MOMENT = re.compile(r"[12][0-9]{3}-[01][0-9]|[0-9]{9,}")
NUMBER = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?")


class Consent(Enum):
    """What one place in an event says."""

    YES = "yes"
    NO = "no"
    # Nothing is there.
    ABSENT = "absent"
    # It says that nothing is known.
    UNKNOWN = "unknown"
    # Something is there, and it is not understood.
    UNCLEAR = "unclear"


def read_consent(value: Any) -> Consent:
    """Return what the JSON `value` says. Total: every value is exactly one of these."""
    return _read(value, DEEPEST)


def read_consent_above(value: Any, places: Iterable[str] = ()) -> Consent:
    """Return what `value` says one level above the consent's place: a no, nothing, or something not understood.

    Of an object only what is none of `places`, keys that lead to a consent themselves, and has a key of ours counts: most hold
    other purposes. Without any, a no at such a key inside one of its objects does, as in Segment's `categoryPreferences`.
    """
    if value in ([], "", None):  # PHP writes an empty object as a list
        return Consent.ABSENT
    if isinstance(value, Mapping):
        led = {folded_word(place) for place in places}
        ours = {key: each for key, each in value.items() if _is_ours(folded_word(str(key)), led)}
        if not ours:
            return Consent.NO if _is_refused_within(value, led, DEEPEST) else Consent.ABSENT
        value = ours
    return Consent.NO if read_consent(value) is Consent.NO else Consent.UNCLEAR


def resolve_consent(readings: Iterable[Consent]) -> Consent:
    """Return what the places of an event, in their order, say together.

    The first one that is known counts; but a yes does not count behind a place that was not understood, because that may have
    been a no. Without any known one: not understood before unknown before absent.
    """
    seen = set[Consent]()
    for reading in readings:
        if reading is Consent.NO or (reading is Consent.YES and Consent.UNCLEAR not in seen):
            return reading
        seen.add(reading)
    return next(
        (each for each in (Consent.UNCLEAR, Consent.UNKNOWN) if each in seen), Consent.ABSENT
    )


def _read(value: Any, deeper: int) -> Consent:
    match value:
        case None:
            return Consent.ABSENT
        case bool() | int() | float():
            return _read_number(value)
        case str():
            return _read_text(value)
        case Mapping() if deeper:
            return _read_object(value, deeper - 1)
        case list() if deeper:
            return _read_list(value, deeper - 1)
        case _:
            return Consent.UNCLEAR


def _read_number(value: float) -> Consent:
    if value == 1:
        return Consent.YES
    return Consent.NO if value == 0 else Consent.UNCLEAR


def _read_text(text: str) -> Consent:
    text = text.strip(AROUND)
    if not text:
        return Consent.ABSENT
    if NUMBER.fullmatch(text):
        return _read_number(float(text))
    word = folded_word(text)
    for words, reading in (
        (NO_WORDS, Consent.NO),
        (YES_WORDS, Consent.YES),
        (UNKNOWN_WORDS, Consent.UNKNOWN),
    ):
        if word in words:
            return reading
    return Consent.UNCLEAR


def folded_word(text: str) -> str:
    """Return `text` as words are compared: in lower case, without blanks, hyphens, underscores and the like."""
    if len(text) > LONGEST_WORD or not text[:1].isalpha():
        return text
    return SEPARATORS.sub(
        "", unicodedata.normalize("NFKC", text).casefold().rstrip("!").replace(",", "")
    )


def _read_list(values: list[Any], deeper: int) -> Consent:
    """A list may say no, never yes: which of several things it agrees to is not known."""
    said = {_read(each, deeper) for each in values}
    return Consent.NO if said == {Consent.NO} else Consent.UNCLEAR


def _read_object(value: Mapping[Any, Any], deeper: int) -> Consent:
    entries = (_read_entry(folded_word(str(key)), each, deeper) for key, each in value.items())
    said = {each for each in entries if each is not None}
    known = said & {Consent.YES, Consent.NO}
    if Consent.UNCLEAR in said or len(known) > 1 or not said:
        return Consent.NO if known == {Consent.NO} else Consent.UNCLEAR
    if known == {Consent.YES} and any(
        _takes_back(folded_word(str(key)), each, deeper) for key, each in value.items()
    ):
        return Consent.UNCLEAR
    return known.pop() if known else Consent.UNKNOWN


def _read_entry(key: str, value: Any, deeper: int) -> Consent | None:
    """Return what one entry of an object says; None if its key is none of ours."""
    key = _without_beginning(key)
    if key in YES_KEYS:
        return _read(value, deeper)
    if key in NO_KEYS:
        # That it was not refused does not say that it was granted.
        opposite = {Consent.YES: Consent.NO, Consent.NO: Consent.UNKNOWN}
        said = _read(value, deeper)
        if said is Consent.UNCLEAR and MOMENT.match(str(value)):
            return Consent.NO
        return opposite.get(said, said)
    stems = {key.removesuffix(ending) for ending in MOMENT_ENDINGS} - {key}
    if stems & NO_KEYS:
        return (
            Consent.UNKNOWN if _read(value, deeper) in {Consent.ABSENT, Consent.NO} else Consent.NO
        )
    return None


def _without_beginning(key: str) -> str:
    for beginning in KEY_BEGINNINGS:
        rest = key.removeprefix(beginning)
        if rest != key and (rest in YES_KEYS or rest in NO_KEYS):
            return rest
    return key


def _is_ours(key: str, places: set[str]) -> bool:
    return key not in places and _read_entry(key, None, 1) is not None


def _is_refused_within(value: Mapping[Any, Any], places: set[str], deeper: int) -> bool:
    """Return whether an object inside `value` that is none of `places` says no at one of them."""
    for key, each in value.items():
        if not isinstance(each, Mapping) or folded_word(str(key)) in places:
            continue
        refused = (
            read_consent(said) is Consent.NO
            for name, said in each.items()
            if folded_word(str(name)) in places
        )
        if any(refused) or (deeper and _is_refused_within(each, places, deeper - 1)):
            return True
    return False


def _takes_back(key: str, value: Any, deeper: int) -> bool:
    """Return whether an entry whose key is none of ours may take back the yes of another."""
    if key in OTHER_KEYS or _read_entry(key, None, deeper) is not None:
        return False
    said = (
        Consent.ABSENT
        if isinstance(value, int | float) and not isinstance(value, bool)
        else _read(value, deeper)
    )
    if any(stem in key for stem in NO_STEMS):
        return said not in {Consent.ABSENT, Consent.NO}
    return said is Consent.NO
