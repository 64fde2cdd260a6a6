"""A service that takes alerts, for tests: a loopback port that records each request."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

SECRET = "T0SECRET/B0SECRET/xoxSECRETkey"


@dataclass(frozen=True)
class Received:
    """A request that came.

    Attributes:
        authorization: The header Authorization; "": there was none.
    """

    method: str
    path: str
    body: bytes
    authorization: str = ""


@dataclass
class RecordingWebhook:
    """A webhook whose path is a secret.

    Attributes:
        status: The status of each answer; None: it gives no answer.
        headers: Further headers of each answer.
        received: The requests, the oldest first.
    """

    status: int | None = 200
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Listen on a free port."""
        self._ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """The address with its secret path."""
        return f"http://{self.host}/services/{SECRET}"

    def messages(self) -> list[dict[str, Any]]:
        """Return what was posted, the oldest first."""
        return [json.loads(each.body) for each in list(self.received) if each.method == "POST"]

    def events(self) -> list[tuple[str, str]]:
        """Return event and kind of each message."""
        return [(each["event"], each["kind"]) for each in self.messages()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body, user = self.rfile.read(length), self.headers.get("Authorization", "")
                webhook.received.append(Received(self.command, self.path, body, user))
                if webhook.status is None:
                    webhook._ended.wait(60)
                    return
                self.send_response(webhook.status)
                for name, value in {**webhook.headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def do_HEAD(self) -> None:
                self.do_POST()

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
