"""The page of one dead letter: it is made beside Flower's event loop, and a long event is cut."""

import asyncio
import threading
import tracemalloc
from typing import Any

import pytest

from tests.integrations import OwnIntegration
from tests.servers import RedisServer
from worker.dashboard.dead_letters.letters import DeadLetters
from worker.dashboard.dead_letters.words import WORDS
from worker.dashboard.pages import item_pages
from worker.dashboard.pages.item_pages import LONGEST_EVENT, ItemPage, event_text
from worker.ops.dead_letter_pages import key_of
from worker.queue.dead_letter import letter_in
from worker.queue.message import Message
from worker.settings import Settings


def unreadable(text: str) -> Message:
    return Message(id="m", args=(), original=text)


def test_text_of_a_long_message_is_cut_before_it_is_decoded() -> None:
    letter = unreadable("é\n" * 5_000_000)
    tracemalloc.start()
    shown = event_text(letter, WORDS.whole)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    assert LONGEST_EVENT < len(shown) < LONGEST_EVENT + 200
    assert "--raw" in shown


@pytest.mark.parametrize("text", ["", "x", "a\nb", "x" * LONGEST_EVENT])
def test_text_that_is_not_too_long_is_shown_whole(text: str) -> None:
    assert event_text(unreadable(text), WORDS.whole) == text


def test_letter_page_reads_and_shows_a_letter_outside_the_event_loop(
    own: OwnIntegration, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown_queue = DeadLetters(Settings(redis_url=server.url, signal_integration=own.name))
    shown_queue.letters.redis.lpush(shown_queue.letters.key, "no message")
    key = str(key_of(letter_in("no message", -1), shown_queue.settings.digest_key))
    threads: list[int] = []
    shown: dict[str, Any] = {}

    def noted(call: Any) -> Any:
        def run(*args: Any) -> Any:
            threads.append(threading.get_ident())
            return call(*args)

        return run

    for name in ("item", "request", "row", "hold"):
        monkeypatch.setattr(DeadLetters, name, noted(getattr(DeadLetters, name)))
    monkeypatch.setattr(item_pages, "event_text", noted(event_text))
    monkeypatch.setattr(ItemPage, "why_not_see_events", "")
    page = object.__new__(ItemPage)
    page.queue = shown_queue
    monkeypatch.setattr(page, "show", lambda _, **values: shown.update(values))
    asyncio.run(page._answer(key, with_event=True))
    assert shown["event"] == "no message"
    assert len(threads) == 5
    assert threading.get_ident() not in threads
