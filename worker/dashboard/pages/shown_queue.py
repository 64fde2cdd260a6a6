"""A queue that Flower shows: what its pages and jobs need of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from worker.dashboard.pages.query import ListQuery, ListShape
from worker.dashboard.pages.words import Act, Words
from worker.gate.holds import HoldState
from worker.ops.found_page import FoundPage
from worker.ops.redis_check.errors import describe_redis_error
from worker.ops.replay_preview import ReplayPreview, replay_preview_for
from worker.ops.survey import Survey
from worker.privacy import digest
from worker.queue.dead_letter_filter import DeadLetterFilter, parse_filter
from worker.queue.message import Message
from worker.redis_client.client import connect
from worker.settings import Settings
from worker.signal.address import lenient_address
from worker.signal.preset import Preset, PresetError, load_preset
from worker.wiring import gate_for, utc_now

if TYPE_CHECKING:
    import redis


# A message as it was read from its queue.
Item = TypeVar("Item")


class Selection(ABC, Generic[Item]):
    """Those messages of a queue that an operator means, in one job.

    Attributes:
        text: Which ones these are, in words.
    """

    text: str

    @abstractmethod
    def read(self, on_read: Callable[[int], None]) -> Iterator[Item]:
        """Yield them, to be counted.

        `on_read` is called now and then with the number of messages read.
        """

    @abstractmethod
    def batches(
        self, counted: Survey, size: int, moved: Callable[[], int], check: Callable[[], None]
    ) -> Iterator[list[Item]]:
        """Yield those that were counted and are still there, in lists.

        The caller acts on each list before it fetches the next one.

        Args:
            counted: What `read` has yielded.
            size: Messages at most in one list.
            moved: Returns how many the caller has acted on so far.
            check: Called between reads; what it raises ends the job.
        """

    @abstractmethod
    def release(self) -> None:
        """Free the memory of what `read` has yielded; `batches` yields nothing of it from now on.

        Flower keeps jobs that have ended, to show them.
        """


@dataclass(frozen=True)
class ShownQueue(ABC, Generic[Item]):
    """One queue of an integration. Its methods block; any thread may call them.

    Each method that reads Redis raises `redis.RedisError` if Redis does not answer, or refuses.
    """

    words: ClassVar[Words]
    shape: ClassVar[ListShape]
    acts: ClassVar[tuple[Act, ...]]
    # The template of its list, and that of one message.
    templates: ClassVar[tuple[str, str]]

    settings: Settings

    @cached_property
    def store(self) -> "redis.Redis":
        """The client for Redis."""
        return connect(self.settings.redis_url)

    @cached_property
    def preset(self) -> Preset | None:
        """The preset that workers read events by; None if it cannot be read here."""
        try:
            return load_preset(self.settings.mailgun_preset)
        except PresetError:
            return None

    @cached_property
    def preview(self) -> ReplayPreview:
        """The preview of tries. Raises `PresetError`."""
        return replay_preview_for(self.settings)

    def request(self, message: Message) -> dict[str, Any]:
        """Return the request that a try would become, or as `unknown` why that is not known."""
        try:
            return self.preview.request(message)
        except PresetError as error:
            return {"unknown": str(error)}
        except RecursionError:
            return {"unknown": "the event is nested too deep"}

    def hold(self) -> HoldState:
        """Return whether the integration is on hold."""
        return gate_for(self.settings, self.store).state()

    def of_person(self, query: ListQuery, address: str) -> ListQuery:
        """Return the query for one person's messages, with a digest in place of the address.

        Raises:
            ValueError: It is no address; the text is one line that says so.
        """
        parse_filter(utc_now(), {"email": address})
        member = digest(lenient_address(address), self.settings.digest_key)
        return replace(query, filters={**query.filters, "member": member})

    def trouble(self, error: "redis.RedisError") -> str:
        """Return one line that says what is wrong with Redis and what to do."""
        found = describe_redis_error(error, self.settings.redis_url)
        return f"Redis at {found.found}; {found.fix.rstrip('.')}"

    def act_named(self, name: str) -> Act:
        """Return the act. Raises `ValueError` if there is none of that name."""
        found = next((act for act in self.acts if act.name == name), None)
        if found is None:
            names = " or ".join(act.name for act in self.acts)
            raise ValueError(f"no such act: {self.words.many} take {names}")
        return found

    def effect_text(self, effect: str) -> str:
        """Return a `ReplayEffect` as the pages name it."""
        return effect

    def filter_of(self, query: ListQuery) -> DeadLetterFilter:
        """Return the filter of a query.

        Raises:
            ValueError: A filter is wrong; the text is one line that says what.
        """
        given: dict[str, Any] = {**query.filters}
        member = given.pop("member", None)
        if "status" in given:
            given["status"] = _status_in(given["status"])
        wanted = parse_filter(utc_now(), given, self.preset, **self.reasons())
        return replace(wanted, member=member, digest_key=self.settings.digest_key)

    def ticked(self, texts: Collection[str]) -> Selection[Item]:
        """Return the messages with the keys that `texts` spell.

        Raises:
            ValueError: One of them is no key; the text is one line that says what to do.
        """
        short, keys = self.words.short, tuple(map(self.key_in, texts))
        if None in keys:
            raise ValueError(f"a ticked {short} cannot be found: load the list again")
        text = f"{len(keys)} ticked {short}{'' if len(keys) == 1 else 's'}"
        return self.selected(keys, DeadLetterFilter(), text)

    def matching(self, query: ListQuery) -> Selection[Item]:
        """Return the messages that match.

        Raises:
            ValueError: A filter is wrong; the text is one line that says what.
        """
        filters = ", ".join(f"{name} {value}" for name, value in sorted(query.filters.items()))
        text = f"all {self.words.many}" + (f" with {filters}" if filters else "")
        return self.selected((), self.filter_of(query), text)

    @abstractmethod
    def reasons(self) -> dict[str, Any]:
        """Return what `parse_filter` is to know of the reasons that there are."""

    @abstractmethod
    def count(self) -> int:
        """Return the number of messages."""

    @abstractmethod
    def overview(self) -> dict[str, Any]:
        """Return what the list's template shows above the table."""

    @abstractmethod
    def figures(self) -> dict[str, Any]:
        """Return figures of the whole queue for JSON, besides the total."""

    @abstractmethod
    def page(self, query: ListQuery) -> FoundPage[Any, Any]:
        """Return a page of the list, or what one bounded step of a search finds of it.

        Raises:
            ValueError: A filter is wrong; the text is one line that says what.
        """

    @abstractmethod
    def row(self, item: Item) -> Any:
        """Return the row of a message."""

    @abstractmethod
    def details(self, item: Item) -> dict[str, Any]:
        """Return what the template of one message shows besides what all pages show."""

    @abstractmethod
    def answer(self, item: Item) -> str | None:
        """Return Mailgun's whole answer, which is personal data; None if it was not kept."""

    @abstractmethod
    def since(self, item: Item) -> tuple[str, float]:
        """Return why a message is on the queue, and since when, in epoch seconds."""

    @abstractmethod
    def key_in(self, text: str) -> Any:
        """Return the key of a message that `text` spells, or None."""

    @abstractmethod
    def item(self, key: str) -> Item | None:
        """Return the message with this key, or None."""

    @abstractmethod
    def selected(
        self, keys: tuple[Any, ...], wanted: DeadLetterFilter, text: str
    ) -> Selection[Item]:
        """Return the messages with these keys, or if there is none those that match `wanted`.

        Args:
            keys: Keys of messages.
            wanted: The filter.
            text: Which messages these are, in words.
        """

    @abstractmethod
    def act(self, act: Act, batch: list[Item]) -> int:
        """Do it with the messages, each in one step, and return with how many it was done.

        Messages that a worker or another command took first are left out.
        """


def _status_in(text: str) -> int:
    """Return the HTTP status that a filter names. Raises `ValueError` if it names none."""
    if not (text.isascii() and text.isdecimal() and len(text) == 3):
        raise ValueError(f"{text} is no HTTP status; they go from 100 to 599")
    return int(text)
