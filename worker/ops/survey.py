"""Count the messages that are meant before an act, with a sample of what would become of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.ops.replay_preview import ReplayEffect
from worker.queue.message import Message

SAMPLE = 40  # messages at most


@dataclass(frozen=True)
class Sampled:
    """One message of the sample; `effect` is None if none was asked for."""

    id: str
    kind: str
    reason: str
    effect: ReplayEffect | None


@dataclass
class Survey:
    """The messages counted so far. One thread adds, others may read.

    The sample is spread evenly: each time it is full, every second one of it goes, and from then
    on half as many are taken.

    Attributes:
        effect: Returns what would become of a message that is tried now, or None.
        counts: Reason -> messages that are meant.
        sample: Some of them, in the order in which they were added.
        total: The number of messages that are meant.
        latest: The latest moment of any of them, in epoch seconds. Who acts only on dead letters
            that died until then acts on none that came after the count.
    """

    effect: Callable[[Message], ReplayEffect | None]
    counts: Counter[str] = field(default_factory=Counter)
    sample: list[Sampled] = field(default_factory=list)
    total: int = 0
    latest: float = 0.0
    _every: int = 1

    def add(self, message: Message, reason: str, at: float) -> None:
        """Count one message.

        Args:
            message: The message.
            reason: Why it is where it is.
            at: Since when, in epoch seconds.
        """
        if self.total % self._every == 0:
            self.sample.append(Sampled(message.id, message.kind, reason, self.effect(message)))
            if len(self.sample) > SAMPLE:
                self.sample = self.sample[::2]
                self._every *= 2
        self.counts[reason] += 1
        self.latest = max(self.latest, at)
        self.total += 1

    def effects(self) -> dict[str, int]:
        """Return how many messages of the sample would have each effect."""
        return Counter(each.effect.value for each in self.sample if each.effect)
