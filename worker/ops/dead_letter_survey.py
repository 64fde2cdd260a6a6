"""Count the letters that are meant before a replay or purge, with a sample of what would happen."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.ops.replay_preview import ReplayEffect
from worker.queue.dead_letters import DeadLetter

SAMPLE = 40  # letters at most


@dataclass(frozen=True)
class Sampled:
    """One letter of the sample; `effect` is None if none was asked for."""

    id: str
    kind: str
    reason: str
    effect: ReplayEffect | None


@dataclass
class Survey:
    """The letters counted so far. One thread adds, others may read.

    The sample is spread evenly: each time it is full, every second letter of it goes, and from then
    on half as many are taken.

    Attributes:
        effect: Returns what a replay of a letter would do, or None.
        counts: Reason -> letters that are meant.
        sample: Some of them, in the order in which they were added.
        total: The number of letters that are meant.
        latest: When the latest of them died, in epoch seconds. Who acts only on letters that died
            until then acts on none that came after the count.
    """

    effect: Callable[[DeadLetter], ReplayEffect | None]
    counts: Counter[str] = field(default_factory=Counter)
    sample: list[Sampled] = field(default_factory=list)
    total: int = 0
    latest: float = 0.0
    _every: int = 1

    def add(self, buried: DeadLetter) -> None:
        """Count one letter."""
        if self.total % self._every == 0:
            message, reason = buried.message, buried.letter.reason
            self.sample.append(Sampled(message.id, message.kind, reason, self.effect(buried)))
            if len(self.sample) > SAMPLE:
                self.sample = self.sample[::2]
                self._every *= 2
        self.counts[buried.letter.reason] += 1
        self.latest = max(self.latest, buried.letter.died_at)
        self.total += 1

    def effects(self) -> dict[str, int]:
        """Return how many letters of the sample would have each effect."""
        return Counter(each.effect.value for each in self.sample if each.effect)
