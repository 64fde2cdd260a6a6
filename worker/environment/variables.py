"""Variables that look like settings but are none: misspelt ones, and other programs' ones. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from io import StringIO

from dotenv.parser import parse_stream

from worker.printable import printable

# A variable with one of these prefixes is most likely meant for this program.
OURS = ("MAILGUN_", "SIGNAL_", "RETRY_", "INCIDENT_", "LEDGER_")
# These prefixes begin settings of this program and of many others.
SHARED = ("ALERT_", "DEAD_", "MESSAGE_", "REDIS_", "VISIBILITY_", "WORKER_", "METRICS_", "LOG_")
# Variables of Mailgun's tools and of this project's live tests, and those that Kubernetes sets for
# each service, such as one named redis.
FOREIGN = re.compile(
    r"MAILGUN_(LIVE_.*|SMTP_.*|(SENDER_)?DOMAIN(_NAME)?|WEBHOOK_.*|(PUBLIC|SIGNING|SENDING)_.*"
    r"|FROM(_.*)?|SENDER)"
    r"|.*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)"
)
UNITS = re.compile(r"_(SECONDS|HOURS|DAYS|MS|ADDRESS)$")
# Ratios of `SequenceMatcher` for the part after the prefix, from 0 to 1 (equal). A name with one
# of OURS is a typo from TYPO on; one with one of SHARED may be another program's and is reported
# as a stray only from SHARED_TYPO on. From LIKE on, the report suggests the setting.
TYPO = 0.85
SHARED_TYPO = 0.87
LIKE = 0.6
MOST_NAMES = 6  # named in one line


@dataclass(frozen=True)
class Strays:
    """Names that are no settings; each with the setting that may be meant, else "".

    Attributes:
        typos: Names that are certainly misspelt.
        others: Names that may be another program's.
    """

    typos: dict[str, str]
    others: dict[str, str]


def strays(names: Iterable[str], known: Iterable[str]) -> Strays:
    """Return those of `names`, in any case, that look like settings but are not `known`."""
    settings = {*known}
    typos: dict[str, str] = {}
    others: dict[str, str] = {}
    for name in names:
        upper = name.upper()
        if upper in settings or FOREIGN.fullmatch(upper):
            continue
        meant, likeness = _meant(upper, settings)
        if upper.startswith(OURS):
            (typos if likeness >= TYPO else others)[name] = meant if likeness >= LIKE else ""
        elif likeness >= SHARED_TYPO:
            others[name] = meant
    return Strays(typos, others)


def described(found: dict[str, str]) -> str:
    """Return the names, each with the setting that may be meant, as part of one line."""
    shown = [
        f"{printable(name)}{f' (did you mean {meant}?)' if meant else ''}"
        for name, meant in found.items()
    ]
    more = f" and {len(shown) - MOST_NAMES} more" if len(shown) > MOST_NAMES else ""
    return ", ".join(shown[:MOST_NAMES]) + more


def _meant(name: str, known: set[str]) -> tuple[str, float]:
    """Return the setting that is most like `name`, and their likeness from 0 to 1 (certain)."""
    prefix = next((each for each in OURS if name.startswith(each)), "")
    # The prefix itself may be misspelt, but then nearly everything else must be right.
    if not prefix and not name.startswith(SHARED):
        close = get_close_matches(name, known, 1, 0.93)
        return (close[0], 1.0) if close else ("", 0.0)
    candidates = {each: _likeness(name, each, prefix) for each in known if each.startswith(prefix)}
    best = max(sorted(candidates), key=lambda each: candidates[each])
    return best, candidates[best]


def _likeness(name: str, known: str, prefix: str) -> float:
    # A missing or wrong unit, as in RETRY_MAX_DELAY, is a certain match.
    if UNITS.sub("", name) == UNITS.sub("", known):
        return 1.0
    return SequenceMatcher(None, name.removeprefix(prefix), known.removeprefix(prefix)).ratio()


@dataclass(frozen=True)
class EnvFile:
    """The names in a `.env` file. Lines are counted from 1.

    Attributes:
        names: Names with a value, and the line of each.
        broken: Lines that are no NAME=VALUE.
        bare: Names without `=`, and so without a value, and the line of each.
    """

    names: dict[str, int]
    broken: tuple[int, ...]
    bare: dict[str, int]


def env_file(text: str) -> EnvFile:
    """Read a `.env` file, with comments, quotes and `export`, as python-dotenv does."""
    names: dict[str, int] = {}
    bare: dict[str, int] = {}
    broken: list[int] = []
    for each in parse_stream(StringIO(text)):
        text = each.original.string
        # The parser counts the blank lines before an entry as part of it.
        line = each.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        if each.error:
            broken.append(line)
        elif each.key is not None:
            (bare if each.value is None else names)[each.key] = line
    return EnvFile(names, tuple(broken), bare)
