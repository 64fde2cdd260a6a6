"""Consent parsing: marketing consent in any form, read as yes, no, absent, unknown or unclear.

`docs/events.md` lists the words, and a test compares the two. Only a plain yes is read as a yes.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

DEEPEST = 4  # levels of objects or lists that are read
LONGEST_WORD = 64  # characters; a longer value is a text or a token, no word


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


YES_WORDS = _words("""
    yes y true t on granted grant given allowed allow accepted accept agreed agree approved
    permitted enabled
    consented consentgiven consentgranted optin optedin doubleoptin confirmedoptin subscribed
    subscribe
    ja oui si sí sim tak da はい 是
""")
NO_WORDS = _words("""
    no n false f off never nope
    denied deny refused refuse rejected reject declined decline revoked revoke withdrawn withdraw
    withdrew
    disallowed disallow forbidden prohibited blocked block disabled disagree disagreed objected
    suppressed
    optout optedout unsubscribed unsubscribe unsub complained spam
    noconsent noconsentgiven withoutconsent consentdenied consentrefused consentrejected
    consentdeclined consentrevoked consentwithdrawn nonconsented unconsented
    nothanks notinterested inactive disable rejectall optoutall
    notgranted notgiven notallowed notaccepted notagreed notapproved notpermitted notenabled
    notconsented notoptedin notsubscribed
    donotcontact donotmail donotemail donotmarket donottrack
    nein nee non não nao nej nei ei nie нет いいえ 否
    abgelehnt verweigert widerrufen abgemeldet ausgetragen refusé désabonné
    rechazado denegado revocado
    recusado negado rifiutato negato geweigerd afgemeld
""")
# Words that state that the consent is unknown: the next place decides. Alone they subscribe no new
# member.
UNKNOWN_WORDS = _words("""
    unknown undefined undetermined unset notset unspecified notspecified notprovided notasked
    missing null nil na
""")
# Keys of an object whose value is the consent (YES_KEYS), or its opposite (NO_KEYS), as
# `normalize_word` returns them.
YES_KEYS = _words("""
    granted given allowed allow accepted accept agreed approved permitted enabled consented
    subscribed optin optedin
    consent value status state choice decision answer permission marketing email
""")
NO_KEYS = _words("""
    denied deny refused rejected declined revoked withdrawn disallowed blocked disabled objected
    suppressed optout optedout unsubscribed donotcontact donotmail donotemail
""")
# Prefixes of keys: `isGranted` is `granted`, `email_opt_out` is `optout`.
KEY_BEGINNINGS = ("is", "has", "was", "email", "marketing")
# A key outside both sets that contains one of these may revoke a yes.
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
# Keys of other channels and purposes: a no there does not concern marketing by e-mail.
OTHER_KEYS = _words("""
    sms push phone call post mail letter whatsapp web inapp analytics functional necessary
    preferences
    personalization personalisation advertising ads statistics performance social doubleoptin
    confirmed verified
""")
# One of NO_KEYS with such an ending holds a time; any time says that the refusal happened.
MOMENT_ENDINGS = ("at", "on", "date", "time", "timestamp")

SEPARATORS = re.compile(r"[\s_/.'’\-\u2010-\u2015]+")
# Quotation marks, white space and invisible characters, stripped around a word.
AROUND = " \t\r\n\"'“”„‘’«»\u200b\u200c\u200d\u2060\ufeff\u00ad"
MOMENT = re.compile(r"[12][0-9]{3}-[01][0-9]|[0-9]{9,}")
NUMBER = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?")


class Consent(Enum):
    """The consent at one place of an event.

    Attributes:
        YES: The person agrees.
        NO: The person refuses.
        ABSENT: The place is empty.
        UNKNOWN: The value states that the consent is unknown.
        UNCLEAR: The value is not understood.
    """

    YES = "yes"
    NO = "no"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    UNCLEAR = "unclear"


def read_consent(value: Any) -> Consent:
    """Return the consent that the JSON `value` states. Total: every value has exactly one."""
    return _read(value, DEEPEST)


def read_consent_above(value: Any, places: Collection[str] = ()) -> Consent:
    """Return the consent that `value` states one level above its place: NO, ABSENT or UNCLEAR.

    Of an object only the entries count whose key is in `YES_KEYS` or `NO_KEYS` and not in `places`,
    since most such objects hold other purposes. If there is none, a no at one of `places` inside an
    inner object counts, as in Segment's `categoryPreferences`. The `places` are read on their own;
    they are keys as `normalize_word` returns them.
    """
    if value in ([], "", None):  # PHP writes an empty object as a list
        return Consent.ABSENT
    if isinstance(value, Mapping):
        ours = {
            key: each for key, each in value.items() if _is_ours(normalize_word(str(key)), places)
        }
        if not ours:
            return Consent.NO if _is_refused_within(value, places, DEEPEST) else Consent.ABSENT
        value = ours
    return Consent.NO if read_consent(value) is Consent.NO else Consent.UNCLEAR


def resolve_consent(readings: Iterable[Consent]) -> Consent:
    """Return the consent that the places of an event, in their order, state together.

    The first YES or NO counts. A YES after an UNCLEAR does not count, because the unclear value may
    have been a no. Without a YES or NO that counts, the result is UNCLEAR, else UNKNOWN, else
    ABSENT.
    """
    so_far = Consent.ABSENT
    for reading in readings:
        if reading is Consent.NO or (reading is Consent.YES and so_far is not Consent.UNCLEAR):
            return reading
        if reading is Consent.UNCLEAR or (reading is Consent.UNKNOWN and so_far is Consent.ABSENT):
            so_far = reading
    return so_far


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
    word = normalize_word(text)
    for words, reading in (
        (NO_WORDS, Consent.NO),
        (YES_WORDS, Consent.YES),
        (UNKNOWN_WORDS, Consent.UNKNOWN),
    ):
        if word in words:
            return reading
    return Consent.UNCLEAR


def normalize_word(text: str) -> str:
    """Return `text` as words are compared: in lower case, without spaces, hyphens and underscores.

    A text of more than `LONGEST_WORD` characters, or one that begins with no letter, is unchanged.
    """
    return text if len(text) > LONGEST_WORD or not text[:1].isalpha() else _normalized_word(text)


@lru_cache(maxsize=2000)  # events repeat their keys
def _normalized_word(text: str) -> str:
    return SEPARATORS.sub(
        "", unicodedata.normalize("NFKC", text).casefold().rstrip("!").replace(",", "")
    )


def _read_list(values: list[Any], deeper: int) -> Consent:
    """Return NO if `values` holds only noes, else UNCLEAR: a yes may concern another purpose."""
    said = {_read(each, deeper) for each in values}
    return Consent.NO if said == {Consent.NO} else Consent.UNCLEAR


def _read_object(value: Mapping[Any, Any], deeper: int) -> Consent:
    entries = (_read_entry(normalize_word(str(key)), each, deeper) for key, each in value.items())
    said = {each for each in entries if each is not None}
    known = said & {Consent.YES, Consent.NO}
    if Consent.UNCLEAR in said or len(known) > 1 or not said:
        return Consent.NO if known == {Consent.NO} else Consent.UNCLEAR
    if known == {Consent.YES} and any(
        _takes_back(normalize_word(str(key)), each, deeper) for key, each in value.items()
    ):
        return Consent.UNCLEAR
    return known.pop() if known else Consent.UNKNOWN


def _read_entry(key: str, value: Any, deeper: int) -> Consent | None:
    """Return the consent of an object's entry; None if its key is in neither set."""
    key = _without_beginning(key)
    if key in YES_KEYS:
        return _read(value, deeper)
    if key in NO_KEYS:
        # A consent that was not refused need not have been granted.
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


def _is_ours(key: str, places: Collection[str]) -> bool:
    return key not in places and _read_entry(key, None, 1) is not None


def _is_refused_within(value: Mapping[Any, Any], places: Collection[str], deeper: int) -> bool:
    """Return True if an object inside `value`, not itself at one of `places`, says no at one."""
    for key, each in value.items():
        if not isinstance(each, Mapping) or normalize_word(str(key)) in places:
            continue
        refused = (
            read_consent(said) is Consent.NO
            for name, said in each.items()
            if normalize_word(str(name)) in places
        )
        if any(refused) or (deeper and _is_refused_within(each, places, deeper - 1)):
            return True
    return False


def _takes_back(key: str, value: Any, deeper: int) -> bool:
    """Return True if an entry whose key is in neither set may revoke the yes of another."""
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
