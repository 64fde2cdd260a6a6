"""E-mail address normalization: the one form in which addresses are sent, stored and compared.

An address that `normalize_address` returns holds only characters that every parser reads as
themselves. So Mailgun's lenient parser finds the same member as this program. `docs/events.md`
lists the forms that are understood.
"""

import re
import unicodedata

import idna

ADDRESS_LIMIT = 320  # RFC 3696: 64 for the local part, @, 255 for the domain
# Stripped at both ends: the white space of `str.strip`, and a byte order mark.
BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
)

# The fast path: nearly every address matches and needs no further check. Punycode does not match.
PLAIN = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*+@(?!xn--)[a-z0-9-]+(?:\.(?!xn--)[a-z0-9-]+)*+")

# `Name <address>`: words and quoted strings before one address in angle brackets at the end.
NAMED = re.compile(
    r'(?P<name>(?:"(?:[^"\\]|\\.)*"|[^"<>@,;:()\[\]\\])*+)<(?P<address>[^<>]*)>', re.DOTALL
)
MAILTO = re.compile(r"mailto:", re.IGNORECASE)

# Characters with a meaning in RFC 5322, "Address Specification", and `/`, which breaks Mailgun's
# routing.
SIGNS = {
    '"': "quotes",
    "(": "a comment in brackets",
    ")": "a comment in brackets",
    ",": "a comma: it may be a list, and an event is about one address",
    ";": "a semicolon: it may be a list, and an event is about one address",
    ":": "a colon",
    "<": "angle brackets that do not hold one address at its end",
    ">": "angle brackets that do not hold one address at its end",
    "[": "square brackets",
    "]": "square brackets",
    "\\": "a backslash",
    "/": "a slash",
}
DOMAIN_SIGNS = re.compile(r"[!#$%&'*+=?^`{|}~]")
INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})  # Unicode categories
# Default_Ignorable_Code_Point outside these categories (Unicode, DerivedCoreProperties), the blank
# Braille cell, and the replacement character, which stands for undecodable bytes.
IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\ufffd"
    "\U000e0100-\U000e01ef]"
)
OTHER_DOTS = re.compile("[\u3002\uff61]")  # IDNA reads these ideographic full stops as dots


class MalformedEmail(ValueError):
    """A text that is no usable e-mail address; the message says why and does not quote it."""


def normalize_address(text: str) -> str:
    """Return the bare address that `text` names.

    Unwraps `Name <address>`, `<address>` and `mailto:address`, trims, folds ASCII case only,
    composes (NFC) and writes the domain in Unicode, as Mailgun does in its answers. The function
    is idempotent.

    Raises:
        MalformedEmail: `text` is not exactly one address that every parser reads alike.
    """
    plain = ascii_lower(text.strip())
    if len(plain) <= ADDRESS_LIMIT and PLAIN.fullmatch(plain):
        return plain
    address = _bare(text)
    _check_length(address)
    _check_signs(address)
    _check_characters(address)
    local, domain = _halves(ascii_lower(unicodedata.normalize("NFC", address)))
    normalized = f"{local}@{_in_unicode(domain)}"
    _check_length(normalized)
    return normalized


def is_plain(address: str) -> bool:
    """Return whether a normalized address has one form only, whoever reads it."""
    return PLAIN.fullmatch(address) is not None


def lenient_address(text: str) -> str:
    """Return the normalized address, or, if malformed, `text` trimmed and in ASCII lower case.

    The result is for comparison with the address of an event, an answer or an operator, never for
    a request.
    """
    try:
        return normalize_address(text)
    except MalformedEmail:
        return ascii_lower(text.strip(BLANKS))


def ascii_lower(text: str) -> str:
    """Return `text` with A to Z in lower case.

    `str.lower` would turn the Kelvin sign into a k, and so into another person's address.
    """
    return (
        text.lower()
        if text.isascii()
        else text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
    )


def _bare(text: str) -> str:
    text = text.strip(BLANKS)
    named = NAMED.fullmatch(text)
    address = named["address"].strip(BLANKS) if named else text
    # Programs decode %40 and the like in different ways.
    if MAILTO.match(address) and "%" not in address:
        address = address[len("mailto:") :].strip(BLANKS)
    return address


def _check_length(address: str) -> None:
    if len(address) > ADDRESS_LIMIT:
        raise MalformedEmail(f"the e-mail address is longer than {ADDRESS_LIMIT} characters")


def _check_signs(address: str) -> None:
    for sign, what in SIGNS.items():
        if sign in address:
            raise MalformedEmail(f"the e-mail address has {what}")


def _check_characters(address: str) -> None:
    if not all(map(_is_visible, address)):
        raise MalformedEmail(
            "the e-mail address has a space, a control character or one that cannot be seen"
        )
    if not address.isascii() and any(map(_reads_as_ascii, address)):
        raise MalformedEmail(
            "the e-mail address has a character that programs may take for an ASCII letter or sign"
        )


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in INVISIBLE and IGNORABLE.match(character) is None


def _reads_as_ascii(character: str) -> bool:
    """Return True for the Kelvin sign (k), ſ, İ, fullwidth letters, ＠ and the like."""
    if character.isascii():
        return False
    forms = character.lower() + unicodedata.normalize("NFKC", character)
    return OTHER_DOTS.match(character) is not None or any(each.isascii() for each in forms)


def _halves(address: str) -> tuple[str, str]:
    if address.count("@") != 1:
        raise MalformedEmail("the e-mail address has not exactly one @")
    local, domain = address.split("@")
    if not local or not domain:
        raise MalformedEmail("the e-mail address has nothing before or after its @")
    if ".." in address or any(
        each.startswith(".") or each.endswith(".") for each in (local, domain)
    ):
        raise MalformedEmail(
            "the e-mail address has a dot too many: two in a row, or one at the end of a half"
        )
    if DOMAIN_SIGNS.search(domain):
        raise MalformedEmail("the e-mail address has a sign after its @ that no domain has")
    return local, domain


def _in_unicode(domain: str) -> str:
    # Domains ignore the case of other letters, too. `_check_characters` has refused every character
    # that folds to ASCII.
    if domain.isascii() and "xn--" not in domain:
        return domain
    return ".".join(
        _label(each) for each in unicodedata.normalize("NFC", domain.lower()).split(".")
    )


def _label(label: str) -> str:
    """Return a domain's label in Unicode; unchanged if invalid, or invisible when decoded."""
    if not label.startswith("xn--"):
        return label
    try:
        decoded = idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return label
    return label if decoded.isascii() or not all(map(_is_visible, decoded)) else decoded
