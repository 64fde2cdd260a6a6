"""One go at several members at once: each is read where that is needed, then they are written together, then released.

Every request is asked for straight before it is made, in the step that renews the members' leases. What Mailgun says of a whole
call holds for each of its members, except a refusal: it may be one member's doing, so the call is split in halves until the
culprit is alone. A refusal of the key or the list is nobody's doing: only a handful of events pay for it, the rest wait.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from worker.delivery.batching import calls, is_ordinary
from worker.delivery.flow import Report, reported
from worker.delivery.stay import NOT_SENT, Stay, busy_outcome, held_outcome
from worker.delivery.visit import Held
from worker.mailgun.member import Member
from worker.mailgun.outcome import Kind, Outcome, read_outcome, write_many_outcome, write_outcome
from worker.privacy import redacted

if TYPE_CHECKING:
    from worker.delivery.attempt import Delivery

logger = logging.getLogger("signal_mailgun.delivery")

Asked = TypeVar("Asked")

OF_THE_EVENT = frozenset({Kind.REJECTED, Kind.UNEXPECTED_STATUS})  # refusals that may be one member's doing
OF_THE_LIST = frozenset({Kind.UNAUTHORIZED, Kind.LIST_NOT_FOUND})  # refusals of the key or the list
SAMPLE = 3  # members that are read back after an answer that proves nothing
HELD_BY_PACE_SECONDS = 1.0
AT_ONCE = 32  # members that are asked for one by one between two looks at the hold, several at the same moment


class Round:
    """One go at the members of some stays. Each stay has its outcome, and its member is released, once it has been run."""

    def __init__(self, delivery: "Delivery", stays: Sequence[Stay]) -> None:
        """Each stay's member is this round's alone."""
        self._it = delivery
        self._stays = stays
        # Requests that were paid for and not made.
        self._purse = delivery.flow.rules.event_cost * sum(each.paid for stay in stays for each in stay.wanted)
        self._reports: list[Report] = []
        self._refusals = 0  # of the key or the list, that cost an event or a call
        self._refused = 0  # the same, counted as they come
        self._stopped = False  # nobody may be asked any more

    def run(self) -> None:
        """Make Mailgun hold what is wanted. Raises `redis.RedisError`, and whatever our own bugs raise."""
        try:
            for stay in self._stays:
                stay.plan_unread(self._it.rules)
            self._read([each for each in self._stays if each.is_unread])
            self._write([each for each in self._stays if each.is_unwritten])
        finally:
            for stay in self._stays:
                stay.visit.looks = stay.is_looked_at
            visits = [each.visit for each in self._stays]
            for change in self._it.desk.close(visits, self._reports, -self._purse):
                self._it.told(*change)
            for stay in self._stays:
                if stay.visit.lost:
                    stay.lose()

    # Reading

    def _read(self, stays: Sequence[Stay]) -> None:
        for part in _parts(self._granted(stays)):
            self._read_at_once(part)
            if len(part) < len(stays) and not self._stopped:
                self._stopped = self._it.flow.ask() > 0

    def _read_at_once(self, stays: Sequence[Stay]) -> None:
        for stay, read in zip(stays, self._each(self._reading, stays), strict=True):
            self._was_read(stay, read)
            if isinstance(read, Outcome):
                self._conclude(stay, read)
            else:
                stay.plan_on(read, self._it.rules)

    def _reading(self, stay: Stay) -> Member | Outcome | None:
        """What Mailgun holds; held, where it was not asked any more."""
        if self._stopped:
            return held_outcome(HELD_BY_PACE_SECONDS)
        read = read_outcome(self._it.mailgun.read_member(stay.address), stay.address, self._it.clock())
        if isinstance(read, Outcome):
            self._stop_after(read)
        return read

    # Writing

    def _write(self, stays: Sequence[Stay]) -> None:
        sharing = self._it.batching.shares()
        shared = [each for each in stays if sharing and (each.exists or is_ordinary(each.address))]
        entries = [each.member.entry() for each in shared]
        for call in calls([len(each) for each in entries], self._it.batching.size):
            self._write_together(list(zip(shared[call], entries[call], strict=True)))
        together = set(shared)
        self._write_alone([each for each in stays if each not in together])

    def _write_together(self, entries: Sequence[tuple[Stay, str]]) -> None:
        if len(entries) == 1:
            self._write_alone([stay for stay, _ in entries])
            return
        allowed = set(self._allowed([stay for stay, _ in entries], 1))
        entries = [(stay, entry) for stay, entry in entries if stay in allowed]
        if not entries:
            return
        stays = [stay for stay, _ in entries]
        if not all(stay.visit.may_write() for stay in stays):
            self._too_late(stays)
            return
        answer = self._it.mailgun.upsert_many([entry for _, entry in entries])
        outcome = write_many_outcome(answer, self._it.mailgun.list_address, self._it.clock())
        self._asked(stays, outcome)
        match outcome.kind:
            case Kind.DELIVERED:
                self._look_after(stays, outcome)
            case _ if outcome.status == 200:
                self._distrust(stays, outcome.answer, self._found(stays[:SAMPLE]))
            case kind if kind in OF_THE_EVENT:
                self._refused_all(stays)
                half = len(entries) // 2
                self._write_together(entries[:half])
                self._write_together(entries[half:])
            case kind if kind in OF_THE_LIST:
                self._refused_all(stays)
                self._refusals += 1
                for stay in stays:
                    self._write_alone([stay])
            case _:
                for stay in stays:
                    self._conclude(stay, outcome)

    def _refused_all(self, stays: Sequence[Stay]) -> None:
        for stay in stays:
            stay.refuse()

    def _too_late(self, stays: Sequence[Stay]) -> None:
        """This process was stopped for so long that others may have the members by now."""
        for stay in stays:
            stay.conclude(busy_outcome())

    def _look_after(self, stays: Sequence[Stay], outcome: Outcome) -> None:
        """The answer says that all are stored. A new member is the one that may have been left out without a word."""
        sample = next((each for each in stays if not each.exists), stays[0])
        read = self._looked([sample]) if self._it.batching.looks_after() else {}
        if any(_shows_no_write(sample, each) for each in read.values()):
            self._distrust(stays, "a member was left out of a call that was answered 200", {})
            return
        for stay in stays:
            held = read.get(stay)
            stay.deliver(replace(outcome, member=held if isinstance(held, Member) else stay.member))

    def _looked(self, stays: Sequence[Stay]) -> dict[Stay, Member | Outcome | None]:
        """What Mailgun says of each, as far as it may be asked now."""
        looked = {}
        for stay in self._granted(stays, wait=False):
            looked[stay] = self._reading(stay)
            self._was_read(stay, looked[stay])
        return looked

    def _found(self, stays: Sequence[Stay]) -> dict[Stay, Member]:
        """Those that Mailgun, asked for each, holds as sent, and as what."""
        looked = self._looked(stays).items()
        return {stay: read for stay, read in looked if isinstance(read, Member) and stay.is_as_sent(read)}

    def _distrust(self, stays: Sequence[Stay], why: str, found: Mapping[Stay, Member]) -> None:
        """Members go alone for a while, these at once; who was `found` as sent is done."""
        if self._it.batching.distrust():
            logger.warning(
                "Mailgun's answer to a call for many members does not show that they are stored: members go alone for a while",
                extra={"why": redacted(why)[:200], "members": len(stays), "found": len(found)},
            )
        for stay, held in found.items():
            stay.deliver(Outcome(Kind.DELIVERED, 200, member=held))
        self._write_alone([each for each in stays if each not in found])

    def _write_alone(self, stays: Sequence[Stay]) -> None:
        granted = self._granted(stays) if len(stays) > 1 else stays
        for part in _parts(granted):
            self._write_at_once(self._allowed(part, len(part)))

    def _write_at_once(self, stays: Sequence[Stay]) -> None:
        for stay, outcome in zip(stays, self._each(self._writing, stays), strict=True):
            if outcome.kind not in NOT_SENT:
                self._asked([stay], outcome)
            if outcome.kind in OF_THE_EVENT and len(stay.wanted) > 1:
                self._write_one_by_one(stay)
            else:
                self._conclude(stay, outcome)

    def _writing(self, stay: Stay) -> Outcome:
        """What became of it; held or busy, where Mailgun was not asked any more."""
        if self._stopped:
            return held_outcome(HELD_BY_PACE_SECONDS)
        if not stay.visit.may_write():
            return busy_outcome()
        outcome = write_outcome(self._it.mailgun.upsert(stay.member), stay.address, self._it.clock())
        self._stop_after(outcome)
        return outcome

    def _stop_after(self, outcome: Outcome) -> None:
        """Nobody else is asked where Mailgun says to wait, or has refused the key or the list often enough.

        Threads do this at the same moment: it is never taken back, and a refusal more or less does not matter.
        """
        threshold = self._it.flow.rules.incident_threshold
        if outcome.kind in OF_THE_LIST:
            self._refused += 1
        if outcome.kind is Kind.THROTTLED or 0 < threshold <= self._refused:
            self._stopped = True

    def _write_one_by_one(self, stay: Stay) -> None:
        """The member is refused with what several events set: each is tried by itself, on what the ones before it left."""
        held = stay.held
        for part in stay.split():
            part.plan_after(held, self._it.rules)
            if part.is_unwritten:
                self._write_alone([part])
            if part.outcome and part.outcome.kind is Kind.DELIVERED:
                held = part.outcome.member

    # Asking for leave

    def _granted(self, stays: Sequence[Stay], *, wait: bool = True) -> Sequence[Stay]:
        """Those for each of which a request may be made; the rest waits."""
        missing = math.ceil(len(stays) - self._purse - 0.001)
        if missing > 0:
            self._purse += self._it.flow.grant(missing)
        granted = max(0, min(len(stays), int(self._purse + 0.001)))
        if wait:
            for stay in stays[granted:]:
                stay.hold(HELD_BY_PACE_SECONDS)
        return stays[:granted]

    def _allowed(self, stays: Sequence[Stay], requests: int) -> Sequence[Stay]:
        """Those that may be written now, by so many requests; the rest has its outcome."""
        threshold = self._it.flow.rules.incident_threshold
        if self._stopped or 0 < threshold <= self._refusals:
            for stay in stays:
                stay.hold(HELD_BY_PACE_SECONDS)
            return ()
        if not stays:
            return ()
        pay = max(0.0, requests - self._purse)
        notes = [each.noted() for each in stays]
        answer = self._it.desk.ask_again([each.visit for each in stays], notes, pay)
        if isinstance(answer, Held):
            self._stopped = True
            for stay in stays:
                stay.hold(answer.seconds)
            return ()
        self._purse += pay
        for stay, note, ours in zip(stays, notes, answer, strict=True):
            if ours:
                stay.send(note)
            else:
                stay.lose()
        return [stay for stay, ours in zip(stays, answer, strict=True) if ours]

    # What came of it

    def _was_read(self, stay: Stay, read: Member | Outcome | None) -> None:
        if isinstance(read, Outcome) and read.kind is Kind.HELD:
            return
        stay.requests += 1
        self._report(read if isinstance(read, Outcome) else Outcome(Kind.UNCHANGED))

    def _asked(self, stays: Sequence[Stay], outcome: Outcome) -> None:
        for stay in stays:
            stay.requests += 1
        self._report(outcome)
        if outcome.kind is Kind.THROTTLED:
            self._stopped = True

    def _report(self, outcome: Outcome) -> None:
        self._purse -= 1
        self._reports.append(reported(replace(outcome, requests=1), why(outcome), self._it.clock()))

    def _conclude(self, stay: Stay, outcome: Outcome) -> None:
        threshold = self._it.flow.rules.incident_threshold
        if outcome.kind in OF_THE_LIST:
            self._refusals += 1
            if 0 < threshold < self._refusals:
                stay.conclude(held_outcome(HELD_BY_PACE_SECONDS))
                return
        stay.conclude(outcome)

    def _each(self, act: Callable[[Stay], Asked], stays: Sequence[Stay]) -> Iterator[Asked]:
        """What `act` gives for each; several at once."""
        return map(act, stays) if len(stays) < 2 else self._it.pool.map(act, stays)


def _shows_no_write(stay: Stay, read: Member | Outcome | None) -> bool:
    """Return True if `read`, what Mailgun says of the member after a call that was answered 200, is not what was sent."""
    if isinstance(read, Member):
        return not stay.is_as_sent(read)
    return read is None or read.kind is Kind.WRONG_MEMBER


def _parts(stays: Sequence[Stay]) -> Iterator[Sequence[Stay]]:
    return (stays[start : start + AT_ONCE] for start in range(0, len(stays), AT_ONCE))


def why(outcome: Outcome) -> str:
    """The outcome for people, in one line without addresses."""
    return redacted(f"{outcome.kind}{f' ({outcome.status})' if outcome.status else ''}: {outcome.answer}")[:200]
