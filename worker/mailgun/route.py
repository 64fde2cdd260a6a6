"""The way to the mailing list: a connection, through a proxy if the environment names one.

`requests` knows what an environment says of proxies and certificates, and is asked once for each
connection. The requests then go straight to urllib3, which costs half of a call of `requests`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import cast
from urllib.parse import urlsplit

import requests
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Retry, Timeout
from urllib3.exceptions import SSLError
from urllib3.util.ssl_ import ALPN_PROTOCOLS, create_urllib3_context

from worker.environment.addresses import LOOPBACK_HOSTS
from worker.mailgun.connection import BoundedAdapter

NO_RETRIES = Retry(total=False, redirect=False)

# Sends a request: its method, what comes after the list's URL, its headers, its body. Returns the
# answer, whose body is still unread.
Send = Callable[[str, str, Mapping[str, str], bytes | None], BaseHTTPResponse]
# Takes the list's URL and the time-outs of a request; returns what sends requests to the list.
Connect = Callable[[str, Timeout], Send]


def connect(list_url: str, timeouts: Timeout) -> Send:
    """Return what sends requests to the list, over keep-alive connections that its callers share.

    A request opens a connection if none is idle. No request is sent twice, and no redirect is
    followed. For a host on loopback the environment does not count.

    Raises:
        OSError: `list_url` or the URL of the proxy is none, or the certificates' file is not there.
        urllib3.exceptions.SSLError: The certificates cannot be read.
        urllib3.exceptions.LocationValueError: The URL of the proxy is none.
    """
    session = requests.Session()
    session.trust_env = urlsplit(list_url).hostname not in LOOPBACK_HOSTS
    request = requests.Request("GET", list_url).prepare()
    url = str(request.url)
    found = session.merge_environment_settings(url, {}, None, None, None)
    proxies, verify, cert = found["proxies"], found["verify"], found["cert"]
    adapter = BoundedAdapter()
    pool = cast(
        "HTTPConnectionPool",
        adapter.get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert),
    )
    adapter.cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
    _load_certificates_once(pool)
    # The request target of the list: absolute, if it goes to a proxy that forwards requests.
    target = adapter.request_url(request, proxies)

    def send(
        method: str, below: str, headers: Mapping[str, str], body: bytes | None
    ) -> BaseHTTPResponse:
        return pool.urlopen(
            method,
            target + below,
            body,
            headers,
            timeout=timeouts,
            retries=NO_RETRIES,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
        )

    return send


def _load_certificates_once(pool: HTTPConnectionPool) -> None:
    """Let the pool's connections share a context of TLS.

    urllib3 makes one for each, and loads all certificates into it, which takes longer than the
    rest of a connect. A proxy that speaks TLS itself needs the certificates, too.

    Raises:
        urllib3.exceptions.SSLError: The certificates cannot be read.
    """
    speaks_tls = pool.proxy is not None and pool.proxy.scheme == "https"
    if not isinstance(pool, HTTPSConnectionPool) or speaks_tls:
        return
    context = create_urllib3_context()
    try:
        context.load_verify_locations(pool.ca_certs, pool.ca_cert_dir)
    except OSError as error:
        raise SSLError(error) from error
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    # urllib3 sets them again for each connection. While others connect in other threads, that would
    # free what OpenSSL reads: https://github.com/python/cpython/issues/141012
    context.set_alpn_protocols = _keep  # type: ignore[assignment]
    pool.conn_kw["ssl_context"] = context
    pool.ca_certs = pool.ca_cert_dir = None


def _keep(_protocols: Iterable[str]) -> None:
    """Leave the protocols as they are."""
