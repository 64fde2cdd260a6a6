"""The alert webhook over HTTP: what counts as taken, what is tried again, and that its path stays secret."""

import base64
import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.odd_servers import closing, silent, tls
from tests.servers import free_port
from tests.webhooks import SECRET, Received, RecordingWebhook
from worker.monitoring import webhook as module
from worker.monitoring.webhook import Posted, Webhook

MESSAGE = {"text": "hello", "event": "test"}


def post_to(url: str) -> Posted:
    return Webhook(SecretStr(url)).post(MESSAGE)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.5)


def test_message_is_posted_as_json_to_the_whole_url() -> None:
    with RecordingWebhook() as far:
        assert post_to(f"{far.url}?thread=1") == Posted()
        assert far.messages() == [MESSAGE]
        assert far.received[0].path == f"/services/{SECRET}?thread=1"


def test_user_of_the_url_is_sent_as_basic_auth() -> None:
    with RecordingWebhook() as far:
        assert post_to(far.url.replace("//", "//jane:p%40ss@")) == Posted()
        token = base64.b64encode(b"jane:p@ss").decode()
        assert far.received[0].authorization == f"Basic {token}"


@pytest.mark.parametrize(
    ("status", "again"),
    [
        *((status, False) for status in (204, 400, 403, 404, 410)),
        *((status, True) for status in (408, 429, 500, 503)),
    ],
)
def test_answer_decides_whether_the_message_is_sent_again(status: int, again: bool) -> None:  # noqa: FBT001
    with RecordingWebhook(status) as far:
        posted = post_to(far.url)
    assert posted.again == again
    assert (str(status) in posted.trouble) == (status >= 300)


def test_redirect_is_not_followed() -> None:
    with RecordingWebhook() as other, RecordingWebhook(307, {"Location": other.url}) as far:
        posted = post_to(far.url)
        assert (len(far.received), other.received) == (1, [])
    assert "redirects" in posted.trouble
    assert not posted.again


def test_host_that_hangs_closes_or_is_not_there_is_told_without_the_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # as `monitoring.log` does
    with silent() as mute, closing() as shut, tls(tmp_path) as untrusted:
        urls = {
            f"http://127.0.0.1:{mute.port}/{SECRET}": "no answer in time",
            f"http://127.0.0.1:{shut.port}/{SECRET}": "no connection, or it broke",
            f"https://127.0.0.1:{untrusted.port}/{SECRET}": "no secure connection",
            f"http://127.0.0.1:{free_port()}/{SECRET}": "no connection",
        }
        for url, trouble in urls.items():
            webhook = Webhook(SecretStr(url))
            for posted in (webhook.post(MESSAGE), webhook.reach()):
                assert trouble in posted.trouble
                assert posted.again
                assert "SECRET" not in posted.trouble
    assert "SECRET" not in caplog.text


def test_reach_sends_neither_a_message_nor_the_path() -> None:
    with RecordingWebhook(404) as far:
        assert Webhook(SecretStr(far.url)).reach() == Posted()
        assert far.received == [Received("HEAD", "/", b"")]
