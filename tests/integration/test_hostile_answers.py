"""A real worker whose Mailgun means harm: it stops when it is told to, and what it was asked to deliver is still there."""

import base64
import html
import json
import signal
from collections.abc import Iterator
from itertools import zip_longest
from urllib.parse import parse_qsl, quote, unquote

import pytest

from tests.integration.bench import KEY, Bench, identified
from tests.integration.flowers import flower_of
from tests.raw_mailguns import RawMailgun, Saying, answer, dripping
from tests.servers import eventually
from tests.unit.test_unreadable import UNREADABLE, spelt

EVENTS = 8
ENDS_WITHIN_SECONDS = (
    30  # far more than a request may take with these time-outs; one that drips on takes for ever
)
IMPATIENT = {
    "MAILGUN_CONNECT_TIMEOUT_SECONDS": "1",
    "MAILGUN_READ_TIMEOUT_SECONDS": "2",
    "WORKER_CONCURRENCY": str(EVENTS),
    "RETRY_BASE_SECONDS": "60",  # so that what was tried waits
    "RETRY_MAX_DELAY_SECONDS": "60",
}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "a status line": dripping(b"HTTP/1.1 2", b"0"),
    "trailers": dripping(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    "100 Continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
}


@pytest.mark.parametrize("saying", DRIPS.values(), ids=DRIPS)
def test_worker_with_dripping_answers_in_each_thread_stops_without_loss(
    own: Bench, saying: Saying
) -> None:
    with RawMailgun(saying) as far:
        worker = own.worker(**IMPATIENT, MAILGUN_API_BASE_URL=far.url).ready()
        sent = own.put(*(identified(f"p{number}@example.com") for number in range(EVENTS)))
        eventually(lambda: len(far.asked) == EVENTS, what="every thread asking")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(ENDS_WITHIN_SECONDS) == 0
    kept = [message.id for message, _ in own.delayed()] + [
        message.id for message in own.queued_events()
    ]
    assert sorted(kept) == sorted(sent)
    assert not own.unacknowledged()


SECRETS = {
    "echo.me@example.com",
    quote("echo.me@example.com", safe=""),
    html.escape("echo.me@example.com").replace("@", "&#64;"),
    "quoted-trait",
    base64.b64encode(f"api:{KEY}".encode()).decode(),
}
ECHO = f"you sent {' and '.join(sorted(SECRETS))} \x1b[31m".encode()


def echoing(number: int) -> Iterator[bytes]:
    """Answer that there is no such member, then refuse with all that was sent, in several spellings."""
    if number % 2:
        yield answer(
            b'{"message":"Member echo.me@example.com of mailing list x not found"}', "404 Not Found"
        )
    else:
        yield answer(
            ECHO,
            "400 Bad Request",
            "X-Echo: Basic " + base64.b64encode(f"api:{KEY}".encode()).decode(),
        )


def test_personal_data_quoted_by_an_answer_is_only_in_the_dead_letter(own: Bench) -> None:
    event = {"messageId": "m-echo", **identified("echo.me@example.com", plan="quoted-trait")}
    with (
        RawMailgun(echoing) as far,
        own.working(MAILGUN_API_BASE_URL=far.url, LOG_LEVEL="debug") as worker,
    ):
        with flower_of(own) as flower:
            own.put(event)
            failure = flower.task("m-echo", "FAILURE")
            seen = [
                str(failure),
                flower.page("/task/m-echo"),
                flower.page("/tasks"),
                str(flower.tasks()),
            ]
        printed = worker.printed()
    assert f"rejected (400): {len(ECHO)} characters, digest " in failure["exception"]
    seen += [printed, own.run("status", "--json").out, own.run("explain", "m-echo").out]
    seen += [own.run("dead-letters", "list").out, own.run("dead-letters", "list", "--json").out]
    assert [
        (secret, text) for text in seen for secret in SECRETS if secret.lower() in text.lower()
    ] == []
    whole = own.run("dead-letters", "show", "m-echo").out
    assert all(secret in whole for secret in SECRETS)
    assert r"\x1b[31m" in whole
    assert (
        json.loads(own.run("dead-letters", "show", "m-echo", "--json").out)["answer"]
        == ECHO.decode()
    )


def test_unreadable_member_is_a_dead_letter_and_others_are_delivered(
    own: Bench,
) -> None:
    odd = {f"odd{number}@example.com": fields for number, fields in enumerate(UNREADABLE.values())}
    good = [f"good{number}@example.com" for number in range(5)]

    def saying(_: int) -> Iterator[bytes]:
        head, _, form = far.current.request.partition(b"\r\n\r\n")
        asked = (
            dict(parse_qsl(form.decode())).get("address")
            or unquote(head.split()[1].decode()).rpartition("/")[2]
        )
        yield answer(b'{"member":%b}' % spelt(asked, **odd.get(asked, {"subscribed": b"true"})))

    with (
        RawMailgun(saying) as far,
        own.working(MAILGUN_API_BASE_URL=far.url, WORKER_CONCURRENCY="4") as worker,
    ):
        own.put(
            *(
                identified(address, plan="pro")
                for pair in zip_longest(odd, good)
                for address in pair
                if address
            )
        )
        own.ended()
        own.counted("dead letter: unreadable_member", len(odd))
    assert own.totals() == {"dead letter: unreadable_member": len(odd), "delivered": len(good)}
    assert {each.letter.reason for each in own.letters()} == {"unreadable_member"}
    assert all(
        each.letter.answer.startswith("200, but the member cannot be read: ")
        for each in own.letters()
    )
    assert "bug" not in worker.printed()


@pytest.mark.parametrize(
    "content", [rb'{"message":"bad \ud800 thing"}', b"\xff\xfe", b"[" * 100_000, b"9" * 5000]
)
def test_429_with_any_body_puts_the_integration_on_hold(own: Bench, content: bytes) -> None:
    with RawMailgun(
        lambda _: iter([answer(content, "429 Too Many Requests", "Retry-After: 600")])
    ) as far:
        with own.working(MAILGUN_API_BASE_URL=far.url) as worker:
            own.put(identified("jane@example.com"))
            eventually(
                lambda: own.redis.hget(f"signal:{own.integration}:hold", "not_before"),
                what="a hold",
            )
            eventually(lambda: own.queued() + len(own.delayed()), what="the event waiting")
            eventually(lambda: not own.unacknowledged(), what="empty hands")
        assert own.queued() + len(own.delayed()) == 1
        assert '"level": "error"' not in worker.printed()
        assert len(far.asked) == 1
