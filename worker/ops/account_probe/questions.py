"""Questions of the account probe: what Mailgun's documentation leaves open, tried on one member.

Each question says what is tried, what is assumed, and what depends on it. A worker relies on some
of the answers. With the others it delivers correctly either way, because it always sends the whole
member and `subscribed`. `MAILGUN_WRITE_MODE=overwrite` reads nothing, so it relies on fewer.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from worker.mailgun.member import Member, member_in
from worker.ops.account_probe.probe_member import ProbeMember, UnexpectedAnswer, describe_response

Mode = Literal["merge", "overwrite"]
NEITHER: frozenset[Mode] = frozenset()
MERGE: frozenset[Mode] = frozenset({"merge"})
BOTH: frozenset[Mode] = frozenset({"merge", "overwrite"})

UNKNOWN = "unknown"
RATE_HEADER = re.compile(r"(x-)?ratelimit[a-z-]{0,20}|retry-after")
# Any other value may quote what was sent.
NUMBERS = re.compile(r"[\d ,;.=w-]{1,40}")
NOTHING = "nothing"
NO_FIX = "do not start a worker; report this"
READ_NOTHING = "MAILGUN_WRITE_MODE=overwrite, which reads nothing; report this"
MERGE_INSTEAD = "MAILGUN_WRITE_MODE=merge, or events erase each other's fields"

OTHER_NAME = "signal-mailgun check: delete me, changed"
NO_ADDRESS = "signal-mailgun check, not an address"
NOES = ("no", "False", "0")
# If Mailgun takes the last, it takes anything as true.
YESES = ("yes", "True", "1", "perhaps")
EVERY_TYPE: dict[str, Any] = {
    "text": 'Ümlaut ☃ \U0001f600 "quoted" \\ & + %41\nline',
    "whole": 7,
    # 2^53 + 1: no float holds it.
    "large": 9_007_199_254_740_993,
    "part": 129.5,
    "point_zero": 129.0,
    "truth": True,
    "null": None,
    "list": [1, "a", False],
    "map": {"b": {"c": 1}},
}


@dataclass(frozen=True)
class Question:
    """One thing to find out about Mailgun.

    Attributes:
        tried: What is tried, in a few words.
        assumed: What a worker assumes of it, or `UNKNOWN`.
        ask: Tries it on the member and returns the finding, in the words of `assumed` if it is as
            assumed. It may raise `UnexpectedAnswer`.
        relied_on: The write modes that go wrong if the finding is not as assumed.
        fix: What to set then.
        lost_by_overwriting: A finding with which MAILGUN_WRITE_MODE=overwrite loses fields.
        advice: Returns what to set, given the finding.
    """

    tried: str
    assumed: str
    ask: Callable[[ProbeMember], str]
    relied_on: frozenset[Mode] = NEITHER
    fix: str = NO_FIX
    lost_by_overwriting: str = ""
    advice: Callable[[str], str] = field(default=lambda _: NOTHING)


def _missing(it: ProbeMember) -> str:
    it.delete()
    return "“Member …”" if it.read() is None else "there after DELETE"


def _made_unsubscribed(it: ProbeMember) -> str:
    it.renew(it.member(subscribed=False))
    return _subscription(it.current())


def _answer_to_post(it: ProbeMember) -> str:
    answer = it.renew(it.member(plan="a"))
    return "its address" if member_in(answer.json(), it.address) else describe_response(answer)


def _answer_whole(it: ProbeMember) -> str:
    it.renew(it.member(subscribed=False, plan="a"))
    changed = it.member(name=OTHER_NAME, subscribed=True, plan="b", company="c")
    return _compared(member_in(it.write(changed.form()).json(), it.address), changed)


def _read_back(it: ProbeMember) -> str:
    member = it.member(subscribed=False, plan="a", company="b")
    it.renew(member)
    return _compared(it.current(), member)


def _updated(it: ProbeMember) -> str:
    it.renew(it.member(plan="a", company="b"))
    changed = it.member(name=OTHER_NAME, plan="c", company="d")
    it.write(changed.form())
    return "updated" if _compared(it.current(), changed) == "as sent" else "not changed"


def _capitals(it: ProbeMember) -> str:
    it.renew(it.member())
    return "the same member" if it.read(it.address.upper()) else "no such member"


def _subscription_set(it: ProbeMember, *, to: bool) -> str:
    it.renew(it.member(subscribed=not to))
    it.write(it.member(subscribed=to).form())
    return _subscription(it.current())


def _vars_on_update(it: ProbeMember) -> str:
    it.renew(it.member(plan="a"))
    it.write(it.member(company="b").form())
    names = tuple(sorted(it.current().vars))
    return {("company",): "replaced", ("company", "plan"): "merged"}.get(names, "neither")


def _left_out(it: ProbeMember, name: str) -> Member:
    it.renew(it.member(subscribed=False, plan="a"))
    form = it.member(name=OTHER_NAME, plan="b").form()
    it.write({key: value for key, value in form.items() if key != name})
    return it.current()


def _vars_left_out(it: ProbeMember) -> str:
    return "kept" if _left_out(it, "vars").vars else "cleared"


def _name_left_out(it: ProbeMember) -> str:
    return "kept" if _left_out(it, "name").name else "cleared"


def _subscribed_left_out(it: ProbeMember) -> str:
    return "subscribes" if _left_out(it, "subscribed").subscribed else "kept"


def _spellings(it: ProbeMember, words: tuple[str, ...], *, meaning: bool) -> str:
    def fate(word: str) -> str:
        it.renew(it.member(subscribed=not meaning))
        try:
            it.write({**it.member().form(), "subscribed": word})
        except UnexpectedAnswer:
            return "refused"
        return "taken" if it.current().subscribed is meaning else "not understood"

    fates = {word: fate(word) for word in words}
    by_fate = {each: [word for word in words if fates[word] == each] for each in fates.values()}
    return "; ".join(f"{each}: {' '.join(of_it)}" for each, of_it in by_fate.items())


def _types(it: ProbeMember) -> str:
    it.renew(it.member(**EVERY_TYPE))
    current = it.current().vars
    changed = [
        name
        for name, value in EVERY_TYPE.items()
        if name not in current or _as_json(current[name]) != _as_json(value)
    ]
    return f"changed: {' '.join(changed)}" if changed else "kept"


def _types_to_set(found: str) -> str:
    return "long numbers as text in events" if "large" in found else NOTHING


def _bulk_subscribed_left_out(it: ProbeMember) -> str:
    it.renew(it.member(subscribed=False))
    answer = it.write_many([{"address": it.address, "name": OTHER_NAME}])
    if answer.status == 400:
        return describe_response(answer)
    return "subscribes" if it.current().subscribed else "kept"


def _bulk_answer(it: ProbeMember) -> str:
    it.renew(it.member(subscribed=False))
    answer = it.write_many([{"address": it.address, "name": OTHER_NAME, "subscribed": False}])
    if answer.status == 400:
        return describe_response(answer)
    shown = answer.json()
    if isinstance(shown, dict) and "task-id" in shown:
        return "a job's id"
    return "the list" if it.shows_list(answer) else "no list"


def _bulk_bad_member(it: ProbeMember) -> str:
    it.renew(it.member(subscribed=False))
    good = {"address": it.address, "name": OTHER_NAME, "subscribed": False}
    answer = it.write_many([good, {"address": NO_ADDRESS, "subscribed": False}])
    if answer.status == 200 and it.delete_other(NO_ADDRESS):
        return "made a member; deleted"
    applied = it.current().name == OTHER_NAME
    match answer.status, applied:
        case 400, False:
            return "all refused (400)"
        case 200, True:
            return "it alone skipped"
        case _:
            return f"{answer.status}, the rest {'applied' if applied else 'not applied'}"


def _rate_limit_headers(it: ProbeMember) -> str:
    found = [
        f"{name} {value if NUMBERS.fullmatch(value) else '(no number)'}"
        for name, value in it.headers.items()
        if RATE_HEADER.fullmatch(name)
    ]
    return ", ".join(found) or "none"


def _rate_to_set(found: str) -> str:
    words = found.replace(",", "").split()
    limits = [value for name, value in pairwise(words) if name.endswith("ratelimit-limit")]
    if limits and limits[0].isdecimal():
        return f"MAILGUN_RATE_LIMIT={limits[0]}, if that is a minute"
    return NOTHING


def _subscription(member: Member) -> str:
    return "subscribed" if member.subscribed else "unsubscribed"


def _compared(current: Member | None, sent: Member) -> str:
    if current == sent:
        return "as sent"
    names = ("name", "subscribed", "vars") if current else ()
    differing = [name for name in names if getattr(current, name) != getattr(sent, name)]
    return f"not as sent: {' '.join(differing) or 'no member'}"


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


QUESTIONS: tuple[Question, ...] = (
    Question("a missing member's 404", "“Member …”", _missing, MERGE, READ_NOTHING),
    Question("new, subscribed=false", "unsubscribed", _made_unsubscribed, BOTH),
    Question("POST answers with", "its address", _answer_to_post, BOTH),
    Question(
        "POST answers the whole",
        "as sent",
        _answer_whole,
        MERGE,
        "MAILGUN_MEMBER_CACHE_SECONDS=0; report this",
    ),
    Question("GET after POST", "as sent", _read_back, MERGE, READ_NOTHING),
    Question(
        "GET in capitals",
        "the same member",
        _capitals,
        MERGE,
        "lowercase the list's addresses; report this",
    ),
    Question("upsert=true", "updated", _updated, BOTH),
    Question("subscribed=false", "unsubscribed", lambda it: _subscription_set(it, to=False), BOTH),
    Question("subscribed=true", "subscribed", lambda it: _subscription_set(it, to=True), BOTH),
    Question("vars on an update", "replaced", _vars_on_update, lost_by_overwriting="replaced"),
    Question("vars left out", UNKNOWN, _vars_left_out),
    Question("name left out", UNKNOWN, _name_left_out, lost_by_overwriting="cleared"),
    Question("subscribed left out", "subscribes", _subscribed_left_out),
    Question("other words for false", UNKNOWN, lambda it: _spellings(it, NOES, meaning=False)),
    Question("other words for true", UNKNOWN, lambda it: _spellings(it, YESES, meaning=True)),
    Question("JSON types in vars", "kept", _types, advice=_types_to_set),
    Question("bulk answers with", "the list", _bulk_answer),
    Question("bulk, no subscribed", "subscribes", _bulk_subscribed_left_out),
    Question("bulk, one bad member", UNKNOWN, _bulk_bad_member),
    Question("rate-limit headers", UNKNOWN, _rate_limit_headers, advice=_rate_to_set),
)
