"""Addresses as flanker reads them, Mailgun's open parser: leniently, so that one member may be named in many ways."""

import idna


def parsed(text: str) -> str:
    """Return the address that Mailgun takes `text` for: of several words the last one, without angle brackets, quotes of
    its local part or a comment; the domain in lower case and in Unicode. Not necessarily one that can be an address.
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
