"""A real worker whose Mailgun means harm: it stops when it is told to, and what it was asked to deliver is still there."""

import signal

import pytest

from tests.integration.bench import Bench, identified
from tests.raw_mailguns import RawMailgun, Saying, dripping
from tests.servers import eventually

EVENTS = 8
ENDS_WITHIN_SECONDS = 30  # far more than a request may take with these time-outs; one that drips on takes for ever
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
def test_worker_whose_every_thread_is_dripped_upon_stops_and_loses_nothing(own: Bench, saying: Saying) -> None:
    with RawMailgun(saying) as far:
        worker = own.worker(**IMPATIENT, MAILGUN_API_BASE_URL=far.url).ready()
        sent = own.put(*(identified(f"p{number}@example.com") for number in range(EVENTS)))
        eventually(lambda: len(far.asked) == EVENTS, what="every thread asking")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(ENDS_WITHIN_SECONDS) == 0
    kept = [message.id for message, _ in own.parked()] + [message.id for message in own.queued_events()]
    assert sorted(kept) == sorted(sent)
    assert not own.unacknowledged()
