"""Addresses as flanker, Mailgun's open-source parser, reads them.

The parser is lenient, so that one member has many spellings.
"""

import idna


def parse_address(text: str) -> str:
    """Return the address that Mailgun reads in `text`.

    It is the last of several words, without angle brackets, a comma, a semicolon or the domain's
    last dot. The domain is in lower case and in Unicode. The result is not necessarily a valid
    address.
    """
    words = text.split()
    address = words[-1].strip("<>,;") if words else ""
    address = address.removesuffix(".") if address.count("@") == 1 else address
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{'.'.join(_in_unicode(each) for each in domain.lower().split('.'))}"


def _in_unicode(label: str) -> str:
    try:
        return idna.ulabel(label) if label.startswith("xn--") else label
    except (idna.IDNAError, UnicodeError):
        return label
