"""One attempt to bring one patch to Mailgun: the member is read, merged, and written where that changes it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from worker.delivery.flow import Flow
from worker.delivery.ledger import Busy, Held, Ledger, Visit
from worker.delivery.merge import Subscribing, fields_of, known_after, merged_member, our_no_after, surviving
from worker.mailgun.client import Mailgun
from worker.mailgun.member import Member
from worker.mailgun.outcome import Answer, Kind, NoAnswer, Outcome, read_outcome, write_outcome
from worker.privacy import redacted
from worker.signal.patch import Patch


@dataclass(frozen=True)
class Delivery:
    """How patches are brought to one mailing list."""

    mailgun: Mailgun
    flow: Flow
    ledger: Ledger | None  # None: MAILGUN_WRITE_MODE=overwrite, one POST with the event's own fields, nothing read
    rules: Subscribing
    clock: Callable[[], datetime]  # UTC
    told: Callable[[str, str], None]  # what to do when a hold begins or ends: its kind, and why

    def attempt(self, patch: Patch, at: float) -> Outcome:
        """Make Mailgun hold what `patch`, of the event time `at` (epoch seconds), says, asking no more than needed."""
        if self.ledger is None:
            return self._overwrite(patch)
        visit = self.ledger.open(patch.address)
        match visit:
            case Held(seconds):
                return held_outcome(seconds)
            case Busy():
                return busy_outcome()
            case Visit():
                return self._visit(self.ledger, visit, patch, at)

    def _visit(self, ledger: Ledger, visit: Visit, patch: Patch, at: float) -> Outcome:
        outcome = Outcome(Kind.CRASHED)
        try:
            outcome = self._settle(ledger, visit, patch, at)
        finally:
            outcome = replace(outcome, requests=visit.requests)
            self._tell(ledger.close(visit, outcome, why(outcome), self.clock()), outcome)
        return outcome

    def _settle(self, ledger: Ledger, visit: Visit, patch: Patch, at: float) -> Outcome:
        left = surviving(patch, visit.known, at)
        if fields_of(patch) and not fields_of(left):
            return Outcome(Kind.SUPERSEDED)
        held = self._from_copy(visit, left) or self._read(visit, patch.address)
        if isinstance(held, Outcome):
            return held
        member = merged_member(held, left, self.rules, our_no=visit.known.our_no)
        if held and member.form() == held.form():  # as texts: to Python 1 equals true
            outcome = Outcome(Kind.UNCHANGED, member=member)
        else:
            outcome = self._write(ledger, visit, held, member)
        if outcome.member:
            visit.confirmed = outcome.member
            visit.learned = known_after(visit.known, left, at, held, member)
        return outcome

    def _from_copy(self, visit: Visit, patch: Patch) -> Member | None:
        # A copy shows that nothing needs writing. It is never written back: a recipient, or anybody, may have changed the
        # member since, and a "yes" from a copy would undo an opt-out.
        copy = visit.copy
        if copy is None:
            return None
        member = merged_member(copy, patch, self.rules, our_no=visit.known.our_no)
        return copy if member.form() == copy.form() else None

    def _read(self, visit: Visit, address: str) -> Member | Outcome | None:
        visit.requests += 1
        read = read_outcome(self.mailgun.read_member(address), address, self.clock())
        visit.confirmed = read if isinstance(read, Member) else None
        if visit.confirmed and visit.confirmed.subscribed and visit.known.our_no:
            visit.known = visit.learned = replace(visit.known, our_no=False)  # the next "no" may be the recipient's
        return read

    def _write(self, ledger: Ledger, visit: Visit, held: Member | None, member: Member) -> Outcome:
        no_of_ours = not member.subscribed and our_no_after(visit.known, held, member) and not visit.known.our_no
        # Known before it is asked: were we killed after Mailgun stored it, the "no" would look like the recipient's.
        known = replace(visit.known, our_no=True) if no_of_ours else None
        match ledger.ask_again(visit, known):
            case Held(seconds):
                return held_outcome(seconds)
            case Busy():
                return busy_outcome()
        visit.requests += 1
        visit.confirmed = None
        visit.learned = known or visit.learned
        outcome = self._outcome_of(self.mailgun.upsert(member), member)
        if known and outcome.status not in {None, 200}:  # not stored, as far as Mailgun says
            visit.learned = visit.known
        return outcome

    def _overwrite(self, patch: Patch) -> Outcome:
        wait = self.flow.ask()
        if wait:
            return held_outcome(wait)
        member = merged_member(None, patch, self.rules)
        outcome = replace(self._outcome_of(self.mailgun.upsert(member), member), requests=1)
        self._tell(self.flow.report(outcome, why(outcome), self.clock()), outcome)
        return outcome

    def _outcome_of(self, answer: Answer | NoAnswer, member: Member) -> Outcome:
        return write_outcome(answer, member.address, self.clock())

    def _tell(self, hold: str, outcome: Outcome) -> None:
        if hold:
            self.told(hold, why(outcome))


def held_outcome(seconds: float) -> Outcome:
    """Nobody may ask Mailgun for so many seconds."""
    return Outcome(Kind.HELD, None, f"the integration is held for {seconds:.0f} s")


def busy_outcome() -> Outcome:
    """Another delivery has the member."""
    return Outcome(Kind.BUSY, None, "another event of the same member is under way")


def why(outcome: Outcome) -> str:
    """The outcome for people, in one line without addresses."""
    return redacted(f"{outcome.kind}{f' ({outcome.status})' if outcome.status else ''}: {outcome.answer}")[:200]
