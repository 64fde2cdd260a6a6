"""Variables that look like settings of this program and are none: misspelt ones, and those of other programs. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from io import StringIO

from dotenv.parser import parse_stream

from worker.printable import printable

OURS = (
    "MAILGUN_",
    "SIGNAL_",
    "RETRY_",
    "INCIDENT_",
    "LEDGER_",
)  # what begins so is most likely meant for us
SHARED = (
    "DEAD_",
    "MESSAGE_",
    "REDIS_",
    "VISIBILITY_",
    "WORKER_",
    "METRICS_",
    "LOG_",
)  # and so do many others'
# What other programs and platforms set: Mailgun's tools and our live tests; Kubernetes for each service, such as one named redis.
FOREIGN = re.compile(
    r"MAILGUN_(LIVE_.*|SMTP_.*|(SENDER_)?DOMAIN(_NAME)?|WEBHOOK_.*|(PUBLIC|SIGNING|SENDING)_.*|FROM(_.*)?|SENDER)"
    r"|.*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)"
)
UNITS = re.compile(r"_(SECONDS|HOURS|DAYS|MS|ADDRESS)$")
TYPO = 0.85  # of likeness behind the prefix, from which a name is a misspelt one and not another program's
SHARED_TYPO = 0.87  # of likeness in all
LIKE = 0.6  # of likeness, from which it may be meant
MOST_NAMES = 6  # that one line names


@dataclass(frozen=True)
class Strays:
    """Names that are no settings; each with the one that may be meant, else ""."""

    typos: dict[str, str]  # beyond doubt
    others: dict[str, str]

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.typos or self.others)


def strays(names: Iterable[str], known: Iterable[str]) -> Strays:
    """Sort out of `names`, in any case, those that look like settings and are not among `known`, given in upper case."""
    settings = {*known}
    looking = [
        name
        for name in names
        if name.upper() not in settings and not FOREIGN.fullmatch(name.upper())
    ]
    typos: dict[str, str] = {}
    others: dict[str, str] = {}
    for name in looking:
        meant, likeness = _meant(name.upper(), settings)
        if name.upper().startswith(OURS):
            (typos if likeness >= TYPO else others)[name] = meant if likeness >= LIKE else ""
        elif likeness >= SHARED_TYPO:
            others[name] = meant
    return Strays(typos, others)


def described(found: dict[str, str]) -> str:
    """Return the names, and which settings may be meant, as part of one line."""
    shown = [
        f"{printable(name)}{f' (did you mean {meant}?)' if meant else ''}"
        for name, meant in found.items()
    ]
    more = f" and {len(shown) - MOST_NAMES} more" if len(shown) > MOST_NAMES else ""
    return ", ".join(shown[:MOST_NAMES]) + more


def _meant(name: str, known: set[str]) -> tuple[str, float]:
    """The setting that `name` is most like, and how like it is: 1 is certain."""
    prefix = next((each for each in OURS if name.startswith(each)), "")
    if not prefix and not name.startswith(
        SHARED
    ):  # the prefix itself may be misspelt, but then all else must be right
        close = get_close_matches(name, known, 1, 0.93)
        return (close[0], 1.0) if close else ("", 0.0)
    candidates = {each: _likeness(name, each, prefix) for each in known if each.startswith(prefix)}
    best = max(sorted(candidates), key=lambda each: candidates[each])
    return best, candidates[best]


def _likeness(name: str, known: str, prefix: str) -> float:
    if UNITS.sub("", name) == UNITS.sub("", known):  # RETRY_MAX_DELAY
        return 1.0
    return SequenceMatcher(None, name.removeprefix(prefix), known.removeprefix(prefix)).ratio()


@dataclass(frozen=True)
class EnvFile:
    """What a `.env` file sets."""

    names: dict[str, int]  # and the line of each, from 1
    broken: tuple[int, ...]  # lines that are no NAME=VALUE
    bare: dict[str, int]  # names without a = and so without a value


def env_file(text: str) -> EnvFile:
    """Read a `.env` file, with comments, quotes and `export`, as python-dotenv does."""
    names: dict[str, int] = {}
    bare: dict[str, int] = {}
    broken: list[int] = []
    for each in parse_stream(StringIO(text)):
        text = each.original.string
        line = each.original.line + text[: len(text) - len(text.lstrip())].count(
            "\n"
        )  # blank ones are before it
        if each.error:
            broken.append(line)
        elif each.key is not None:
            (bare if each.value is None else names)[each.key] = line
    return EnvFile(names, tuple(broken), bare)
