"""The checks after a fault: which promises were broken.

It compares what the sandbox holds and received, what Redis holds, and what the workers logged.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field

from tests.chaos.clicks import by_address, undone
from tests.chaos.deployment import Deployment
from tests.chaos.faults import memory
from tests.chaos.model import ExpectedMember, expected_members
from tests.chaos.sessions import Sent
from worker.sandbox.request_log import Record

ABSENT = "(absent)"


@dataclass(frozen=True)
class Figures:
    """One run in numbers. The lists `lost` to `left` must be empty.

    Attributes:
        name: The fault.
        mode: The mode of delivery.
        events: The events sent, repetitions included.
        outcomes: The number of events by the last outcome that a worker logged.
        requests: The requests that the sandbox had.
        throttled: The answers with a hint how long to wait.
        died: The dead letters before the replay, by reason.
        seconds: How long the run took.
        slowest: The seconds from put to ended of the slowest event whose member Mailgun can answer.
        back: The seconds of the slowest recovery; None if there was none.
        alive: The workers alive at the end.
        of: The workers that should be alive.
        megabytes: The memory of the largest worker.
        clicks: The clicks on the unsubscribe link.
        lost: Events that did not end as they must.
        wrong: Members that differ from the model.
        resubscribed: Members subscribed again by a worker that could know of the click.
        early: Requests before a hint allowed them.
        left: Events and dead letters that should not be there.
        notes: Lines printed below the table.
    """

    name: str
    mode: str
    events: int
    outcomes: Counter[str]
    requests: int
    throttled: int
    died: Counter[str]
    seconds: float
    slowest: float
    back: float | None
    alive: int
    of: int
    megabytes: float
    clicks: int
    lost: list[str]
    wrong: list[str]
    resubscribed: list[str]
    early: list[str]
    left: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """All broken promises, in words."""
        named = {
            "lost": self.lost,
            "wrong": self.wrong,
            "subscribed again": self.resubscribed,
            "asked too early": self.early,
            "not at its end": self.left,
        }
        problems = [
            f"{promise}: {len(each)}, such as {each[:3]}" for promise, each in named.items() if each
        ]
        dead = (
            [f"{self.of - self.alive} workers ended by themselves"] if self.alive != self.of else []
        )
        return problems + dead


def check_run(
    name: str, deployment: Deployment, sent: list[Sent], died: Counter[str], seconds: float
) -> Figures:
    """Return the figures of a run that is over.

    All events are put, drained, replayed and drained again.
    """
    records, clicks = deployment.control.requests(), deployment.control.events()
    last_texts = {
        line.event: line.text
        for line in sorted(deployment.log_lines(), key=lambda each: each.at)
        if line.is_end
    }
    asked = by_address(records, {each.address for each in clicks})
    ends = [(each.address, undone(each, asked, deployment.mode.blind_seconds)) for each in clicks]
    # `dict` keeps the last click of each address.
    raced = {address for address, end in dict(ends).items() if end == "raced"}
    return Figures(
        name=name,
        mode=deployment.mode.name,
        events=len(sent),
        outcomes=Counter(
            last_texts[each.id].split(":")[0] for each in sent if each.id in last_texts
        ),
        requests=len(records),
        throttled=sum(each.wait_until is not None for each in records),
        died=died,
        seconds=seconds,
        slowest=slowest_healthy(deployment, sent),
        back=max([*deployment.backs, *_back_after_kills(deployment)], default=None),
        alive=deployment.alive(),
        of=len(deployment.workers),
        megabytes=memory(deployment),
        clicks=len(clicks),
        lost=[
            f"{each.id} ({last_texts.get(each.id, 'never logged')})"
            for each in sent
            if _is_lost(each, last_texts)
        ],
        wrong=wrong_members(deployment, sent, {address for address, _ in ends}, raced),
        resubscribed=[address for address, end in ends if end == "knowingly"],
        early=early_requests(records, deployment.unlucky, deployment.under_way_seconds),
        left=_left_over(deployment, sent),
        notes=deployment.notes
        + ([f"{len(raced)} clicks undone by workers that could not know of them"] if raced else []),
    )


def slowest_healthy(deployment: Deployment, sent: list[Sent]) -> float:
    """Return the seconds from put to first end of the slowest event.

    Events of bad members do not count.
    """
    ends: dict[str, float] = {}
    for line in deployment.log_lines():
        if line.is_end:
            ends[line.event] = min(line.at, ends.get(line.event, line.at))
    put_at = deployment.producer.put_at
    healthy = [each.id for each in sent if not (each.fact and each.fact.address in deployment.bad)]
    return max(
        (ends[each] - put_at[each] for each in healthy if each in ends and each in put_at),
        default=0.0,
    )


def _is_lost(sent: Sent, last_texts: dict[str, str]) -> bool:
    text = last_texts.get(sent.id, "")
    match sent.ends:
        case "member":
            return not text.startswith(("delivered", "unchanged", "superseded"))
        case "skipped":
            return not text.startswith("skipped")
        case _:
            return text != "dead letter: malformed_email"


def wrong_members(
    deployment: Deployment, sent: list[Sent], opted_out: Set[str], raced: Set[str]
) -> list[str]:
    """Return the differences between Mailgun's list and the model.

    A member that clicked between a worker's read and its write may be subscribed or not.
    """
    expected = expected_members((each.fact for each in sent if each.fact), opted_out)
    current = {
        address: ExpectedMember(member.name, member.subscribed, member.vars)
        for address, member in deployment.control.members().items()
    }
    return [
        f"{address}: "
        f"{_difference(expected.get(address), current.get(address), either_way=address in raced)}"
        for address in sorted(expected.keys() | current.keys())
        if _difference(expected.get(address), current.get(address), either_way=address in raced)
    ]


def _difference(
    expected: ExpectedMember | None, current: ExpectedMember | None, *, either_way: bool
) -> str:
    if expected is None or current is None:
        return "not expected" if current else "missing"
    differences = (
        [] if expected.name == current.name else [f"name {current.name!r} for {expected.name!r}"]
    )
    if expected.subscribed != current.subscribed and not either_way:
        differences.append(f"subscribed={current.subscribed}")
    keys = sorted(expected.vars.keys() | current.vars.keys())
    pairs = {key: (current.vars.get(key, ABSENT), expected.vars.get(key, ABSENT)) for key in keys}
    return "; ".join(
        differences
        + [
            f"{key} {found!r} for {should_be!r}"
            for key, (found, should_be) in pairs.items()
            if found != should_be
        ]
    )


def early_requests(
    records: list[Record],
    unlucky: Iterable[tuple[float, float]],
    under_way: Callable[[float], float],
) -> list[str]:
    """Return the requests that came after a 429 was answered and before it allowed them.

    A request that comes within the `under_way` seconds was decided before the 429 was read. A 429 is
    not judged if its reader was killed, or could not tell the others because Redis was away.

    Args:
        records: All requests.
        unlucky: The spans, in epoch seconds, in which a 429 is not judged.
        under_way: Returns the seconds from the decision to send a request, at an epoch time, to its
            arrival.
    """
    spans = list(unlucky)
    closing = [
        (each.answered_at + under_way(each.answered_at), each.wait_until)
        for each in records
        if each.wait_until
        and each.answered_at
        and not any(a <= each.answered_at <= b for a, b in spans)
    ]
    closed = _united(sorted(closing))
    starts = [start for start, _ in closed]
    early = [
        (each, *closed[i - 1])
        for each in records
        if (i := bisect_left(starts, each.at)) and each.at < closed[i - 1][1]
    ]
    return [
        f"{each.method} {each.at - start:.3f} s after what was under way, {end - start:.3f} s to wait"
        for each, start, end in early
    ]


def _united(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    united: list[tuple[float, float]] = []
    for start, end in spans:
        if united and start <= united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        elif start < end:
            united.append((start, end))
    return united


def _left_over(deployment: Deployment, sent: list[Sent]) -> list[str]:
    """Return what is queued, in flight or delayed, and dead letters that are wrong or missing."""
    queued, in_flight, delayed = deployment.left()
    places = {"queued": queued, "in flight": in_flight, "delayed": delayed}
    found = {each.message.id: each.letter.reason for each in deployment.letters.oldest_first()}
    expected = {each.id: "malformed_email" for each in sent if each.ends == "dead letter"}
    differ = [
        each
        for each in sorted(found.keys() | expected.keys())
        if found.get(each) != expected.get(each)
    ]
    return [f"{count} {place}" for place, count in places.items() if count] + [
        f"letter of {each}" for each in differ
    ]


def _back_after_kills(deployment: Deployment) -> list[float]:
    """Return, for each kill, the seconds until the last event in flight had ended."""
    ends = defaultdict(list)
    for line in deployment.log_lines():
        if line.is_end:
            ends[line.event].append(line.at)
    return [
        max(
            (
                min((at for at in ends[each] if at >= killed), default=killed) - killed
                for each in in_flight
            ),
            default=0.0,
        )
        for killed, in_flight in deployment.in_flight_when_killed
    ]
