"""The HTTP server for Prometheus scrapes, on the first free port from METRICS_PORT upward.

Several processes on one host thus listen on consecutive ports. When another process takes over a
port, its counters start at 0, so Prometheus sees an ordinary reset.
"""

import errno
import logging
import socket
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

logger = logging.getLogger("signal_mailgun.metrics")

PORTS_AFTER = 100  # how many ports after the first are tried
CLIENT_SECONDS = 10  # after which an idle connection is closed


def serve(registry: CollectorRegistry, host: str, first: int) -> int | None:
    """Answer scrapes in a thread until the process ends.

    Returns:
        The port; None, after an error in the log, if no port can be listened on.
    """
    for port in range(first, min(first + PORTS_AFTER, 65535) + 1):
        try:
            server = make_server(host, port, make_wsgi_app(registry), _Server, _Handler)
        except (OSError, UnicodeError) as error:  # UnicodeError: the host is no name
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                continue
            # A worker also delivers without metrics.
            why = getattr(error, "strerror", None) or "no host name"
            logger.error(
                "no metrics: cannot listen", extra={"address": f"{host}:{port}", "error": why}
            )
            return None
        Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        logger.info("metrics for Prometheus", extra={"address": f"{host}:{port}"})
        return port
    logger.error(
        "no metrics: METRICS_PORT and those after it are taken",
        extra={"address": f"{host}:{first}"},
    )
    return None


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Two processes on one port would answer by turns: python/cpython#127319.
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], handler: "type[BaseHTTPRequestHandler]") -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's method also looks up this host's full name, which may take long.
        TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def handle_error(self, *_: Any) -> None:
        """Log nothing: Prometheus reports an aborted scrape, and operators see no tracebacks."""


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: scrapes come every few seconds."""
