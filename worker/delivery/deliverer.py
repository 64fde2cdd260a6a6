"""An attempt to bring patches to Mailgun: those of one member go together, and so do members, as far as that is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.delivery.batch_write import Collaborators, Round
from worker.delivery.member_update import Stay, busy_outcome, held_outcome
from worker.mailgun.outcome import Kind, Outcome
from worker.members.lease import Held, Visit
from worker.members.merge_plan import Wanted
from worker.members.record import EventOrder
from worker.signal.patch import Patch


@dataclass(frozen=True)
class Delivery(Collaborators):
    """How patches are brought to one mailing list."""

    def attempt(self, patch: Patch, at: float) -> Outcome:
        """Make Mailgun hold what `patch`, of the event time `at` (epoch seconds), says, asking no more than needed."""
        return self.attempts([Wanted(patch, EventOrder(at))])[0]

    def attempts(self, wanted: Sequence[Wanted]) -> list[Outcome]:
        """Make Mailgun hold what is wanted; how each ended. Raises `redis.RedisError`."""
        outcomes = [Outcome(Kind.CRASHED)] * len(wanted)
        left = list(range(len(wanted)))
        while left:
            left = self._round(wanted, left, outcomes)
        return outcomes

    def repair(self, addresses: Sequence[str]) -> None:
        """Where Mailgun does not hold the newest that is known of these members, each named once, make it so.

        What may not be done now is left for the next look. Raises `redis.RedisError`.
        """
        opened = self.desk.open(addresses)
        if isinstance(opened, Held):
            return
        stays = [Stay(visit, [], [], self.lag) for visit in opened if isinstance(visit, Visit)]
        if stays:
            Round(self, stays).run()

    def _round(self, wanted: Sequence[Wanted], places: list[int], outcomes: list[Outcome]) -> list[int]:
        """One go at the patches in these places; gives the places that are left for another."""
        grouped, left = self.desk.grouped(wanted, places)
        opened = self.desk.open(list(grouped))
        if isinstance(opened, Held):
            self._spare(wanted, places)
            for place in places:
                outcomes[place] = held_outcome(opened.seconds)
            return []
        stays = [
            Stay(visit, [wanted[place] for place in own], own, self.lag)
            for visit, own in zip(opened, grouped.values(), strict=True)
            if isinstance(visit, Visit)
        ]
        busy = [
            place
            for visit, own in zip(opened, grouped.values(), strict=True)
            if not isinstance(visit, Visit)
            for place in own
        ]
        self._spare(wanted, busy)
        for place in busy:
            outcomes[place] = busy_outcome()
        if stays:
            Round(self, stays).run()
        for stay in stays:
            for place, outcome in stay.outcomes():
                outcomes[place] = outcome
        return left

    def _spare(self, wanted: Sequence[Wanted], places: Sequence[int]) -> None:
        """No request was made for these."""
        self.flow.spare(self.flow.rules.event_cost * sum(wanted[place].paid for place in places))
