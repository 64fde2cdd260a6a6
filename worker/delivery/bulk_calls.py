"""Bulk calls of a batch write: members that share a request, halves of failed calls, samples.

A 429 to a call is the outcome of each of its members. One member may be the cause of a refusal or a
5xx, so the call is split in halves until that member is alone. If both halves get a 5xx, Mailgun is
the cause. If many members are refused, no single member is the cause: a few of them get the refusal
as their outcome, and the others wait.

After a 200, a sample of the call is read back unless such answers have earned trust
(`bulk_trust.py`). If it is missing, the members are written alone; or, if Mailgun may store them
later, their events wait and the members are looked after like those of a write without an answer.
If samples were waited for as long as that together, a later batch sends the calls that are left.

An answer of no known form, from an account that answers otherwise, is a failure that one member may
have caused: each member is written alone the next time. After several such answers in a row the
next one is sampled, because the account may answer so from now on.
"""

import logging
from collections.abc import Sequence

from worker.delivery.batch_policy import chunked, is_plain_address
from worker.delivery.bulk_sample import Look, by_worth, look_at
from worker.delivery.bulk_trust import Form, form_of
from worker.delivery.collaborators import Collaborators
from worker.delivery.member_requests import MemberRequests
from worker.delivery.member_update import MemberUpdate
from worker.delivery.permits import Permits
from worker.delivery.request_reports import DEFER_SECONDS, REFUSALS
from worker.delivery.waiting_outcomes import locked_outcome, on_hold_outcome, unproved_outcome
from worker.mailgun.outcome import Outcome, OutcomeKind, classify_bulk_write

logger = logging.getLogger("signal_mailgun.delivery")

Entry = tuple[MemberUpdate, str]  # a member of a bulk call, and its JSON

LEFT_OUT = "a member was missing after a 200"


class BulkCalls:
    """The bulk calls of one batch write."""

    def __init__(
        self, collaborators: Collaborators, requests: MemberRequests, permits: Permits
    ) -> None:
        """Send calls with `permits`, and members that share none by `requests`."""
        self._deps = collaborators
        self._requests = requests
        self._permits = permits
        # Seconds for which samples of calls were waited for.
        self._sampled_seconds = 0.0

    def write(self, updates: Sequence[MemberUpdate]) -> None:
        """Write members: in calls as far as they may share them, the others alone."""
        trust, size = self._deps.bulk_trust, self._deps.batch_policy.size
        sharing = size > 1 and len(updates) > 1 and trust.shares()
        shared = [each for each in updates if sharing and self._may_share(each)]
        entries = [each.member.entry() for each in shared]
        together = set(shared)
        alone = [each for each in updates if each not in together]
        for call in chunked(
            [len(each) for each in entries], trust.call_size(size) if shared else 1
        ):
            if not trust.shares():
                alone += shared[call]
            elif self._sampled_seconds >= trust.longest_look:
                for update in shared[call]:
                    update.defer(DEFER_SECONDS)
            else:
                self._settle(*self._call(list(zip(shared[call], entries[call], strict=True))))
        self._requests.write(alone)

    def _may_share(self, update: MemberUpdate) -> bool:
        plain = update.exists or is_plain_address(update.address)
        return plain and not self.is_suspect(update)

    def is_suspect(self, update: MemberUpdate) -> bool:
        """Return whether requests for the member lately got no usable answer."""
        return update.goes_alone or self._deps.batch_policy.is_suspect(update.address)

    def _call(self, entries: Sequence[Entry]) -> tuple[Sequence[Entry], Outcome]:
        """Write in one request the members that may be written.

        Returns:
            The entries whose updates have no outcome yet, and the outcome of the request.
        """
        if len(entries) == 1:
            (update, _) = entries[0]
            self._requests.write([update])
            return [], update.outcome or Outcome(OutcomeKind.UNCHANGED)
        allowed = set(self._requests.authorize([update for update, _ in entries], 1))
        entries = [(update, entry) for update, entry in entries if update in allowed]
        if not entries:
            return [], on_hold_outcome(DEFER_SECONDS)
        updates = [update for update, _ in entries]
        if not all(update.lease.may_write() for update in updates):
            # The process was suspended, so leases may have ended.
            for update in updates:
                update.finish(locked_outcome())
            return [], locked_outcome()
        if not self._requests.may_send():
            for update in updates:
                update.finish(on_hold_outcome(DEFER_SECONDS))
            return [], on_hold_outcome(DEFER_SECONDS)
        answer = self._deps.mailgun.upsert_many([entry for _, entry in entries])
        outcome = classify_bulk_write(answer, self._deps.mailgun.list_address, self._deps.clock())
        self._permits.use()
        for update in updates:
            update.requests += 1
        if outcome.status == 200 and form_of(outcome) is Form.OTHER:
            return entries, outcome  # the report waits until it is known what the answer is worth
        # If one of the members may be the cause, the report names none until the cause is known.
        known = outcome.status != 200 and not _may_be_one_members(outcome)
        noted = self._requests.reports.note(
            [each.address for each in updates] if known else [], outcome
        )
        if outcome.kind is OutcomeKind.THROTTLED:
            self._requests.report_throttled()
        return entries, noted

    def _settle(self, entries: Sequence[Entry], outcome: Outcome) -> None:
        if not entries:
            return
        updates = [update for update, _ in entries]
        if outcome.status == 200:
            form, trust = form_of(outcome), self._deps.bulk_trust
            trust.note_answer(form)
            if trust.is_odd(form):
                self._note_other(form, outcome)
                self._give_up(updates, outcome._replace(unsettled=trust.is_late()))
            else:
                self._check_call(updates, outcome, form)
        elif len(entries) > 1 and _may_be_one_members(outcome):
            if outcome.kind in REFUSALS:  # none of them was stored
                for update in updates:
                    update.refuse()
            self._split(entries)
        else:
            self._give_up(updates, outcome)

    def _split(self, entries: Sequence[Entry]) -> None:
        """Write each half of a failed call. If both get a 5xx or no answer, Mailgun failed."""
        half = len(entries) // 2
        halves = [self._call(each) for each in (entries[:half], entries[half:])]
        if all(
            outcome.kind is OutcomeKind.UNAVAILABLE and outcome.status != 200
            for _, outcome in halves
        ):
            for part, outcome in halves:
                updates = [update for update, _ in part]
                self._requests.reports.blame([each.address for each in updates], outcome)
                self._give_up(updates, outcome)
            return
        for part, outcome in halves:
            self._settle(part, outcome)

    def _give_up(self, updates: Sequence[MemberUpdate], outcome: Outcome) -> None:
        """Set the outcome for each member of a failed call.

        If there was no usable answer, each of them is written alone the next time, because one of
        them may be the cause.
        """
        if outcome.kind is OutcomeKind.UNAVAILABLE:
            self._deps.batch_policy.suspect([each.address for each in updates])
        for update in updates:
            update.finish(outcome)

    def _check_call(self, updates: Sequence[MemberUpdate], outcome: Outcome, form: Form) -> None:
        """Complete the updates of a call that was answered 200, if no sample leaves a doubt."""
        trust, look = self._deps.bulk_trust, None
        if form.may_come_later:  # from now on Redis or this process may fail
            for update in updates:
                update.finish(unproved_outcome())
        if size := trust.sample_size(form):
            look = self._look_at(by_worth(updates, form), size, form)
            if look.proved:
                trust.note_held(form, look.seconds)
            elif look.missing or not trust.believes(form):
                self._note_other(form, outcome)
                self._doubt(updates, form, look)
                return
        stored = outcome._replace(kind=OutcomeKind.DELIVERED, unsettled=False)
        self._note_other(form, stored)
        doubted = look.unreadable if look and not trust.believes(form) else ()
        for update in updates:
            current = look.shown.get(update) if look else None
            if update not in doubted:
                member = current or update.member
                update.complete(stored._replace(member=member, requests=update.requests))

    def _note_other(self, form: Form, outcome: Outcome) -> None:
        if form is Form.OTHER:
            self._requests.reports.note([], outcome)

    def _look_at(self, updates: Sequence[MemberUpdate], size: int, form: Form) -> Look:
        trust = self._deps.bulk_trust
        longest = trust.longest(form) if self._sampled_seconds < trust.longest_look else 0.0
        began = trust.clock()
        look = look_at(
            *(updates, size, form, trust, longest),
            *(self._requests.read_back, self._requests.is_open),
        )
        self._sampled_seconds += trust.clock() - began
        self._deps.batch_policy.suspect([each.address for each in look.unreadable])
        return look

    def _doubt(self, updates: Sequence[MemberUpdate], form: Form, look: Look) -> None:
        """Let members of an unproved call wait, or write them alone if Mailgun stores none later.

        If Mailgun was seen not to hold one, members go alone for a while.
        """
        if look.counts and self._deps.bulk_trust.note_missing(form, LEFT_OUT):
            logger.warning(
                "Mailgun does not hold a member of a call that it answered with 200: "
                "members go alone for a while",
                extra={"answer": form.value, "members": len(updates), "found": len(look.shown)},
            )
        for update, current in look.shown.items():
            update.complete(Outcome(OutcomeKind.DELIVERED, 200, member=current))
        if not form.may_come_later:
            self._requests.write([each for each in updates if each not in look.shown])


def _may_be_one_members(outcome: Outcome) -> bool:
    """Return whether one member of a shared call may be the cause of its outcome."""
    failed = outcome.kind is OutcomeKind.UNAVAILABLE and outcome.status not in {None, 200}
    return failed or outcome.kind in REFUSALS
