"""Why Redis cannot be used, told apart for people, and what to do about it."""

import ssl
from collections.abc import Iterator

import redis
from redis.sentinel import MasterNotFoundError

NOT_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}

CLOSED = "Connection closed by server"  # redis-py's text
CLOSED_FIX = {
    "redis": "write rediss:// if it expects TLS, else look at its log",
    "rediss": "give ssl_certfile and ssl_keyfile if it asks for a client certificate, else look at its log",
}


def redis_trouble(error: redis.RedisError, place: str) -> str:
    """Return what is wrong with Redis at `place` and the fix, in one line without any secret."""
    tls = tls_error_in(error)
    if tls:
        return f"Redis at {place}: {_tls_trouble(tls)}"
    if isinstance(error, MasterNotFoundError):
        return f"Redis at {place}: {error}"
    if isinstance(error, redis.AuthenticationError):
        return f"Redis at {place} refused the password; check REDIS_URL"
    if any(isinstance(each, ConnectionResetError) for each in _chain(error)) or str(error).startswith(CLOSED):
        return f"Redis at {place} closed the connection; {CLOSED_FIX['rediss' if _over_tls(place) else 'redis']}"
    if isinstance(error, redis.TimeoutError) and _over_tls(place):
        return f"Redis at {place} does not answer over TLS; start it, or write redis:// if it has no TLS there"
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return f"Redis at {place} does not answer; start it or set REDIS_URL"
    return f"Redis at {place} refused a command ({type(error).__name__}); it must be a writable Redis ≥ 6.2 or Valkey"


def tls_error_in(error: BaseException) -> ssl.SSLError | None:
    """Return the TLS error that led to `error`, if one did."""
    return next((each for each in _chain(error) if isinstance(each, ssl.SSLError)), None)


def _over_tls(place: str) -> bool:
    return place.startswith("rediss:")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _tls_trouble(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message.rstrip('.')}); "
            "name its CA with ssl_ca_certs in REDIS_URL, and the host as the certificate does"
        )
    reason = error.reason or type(error).__name__
    if reason in NOT_TLS:
        return "it does not speak TLS there; correct the port, or write redis://"
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return "it asks for a client certificate; give ssl_certfile and ssl_keyfile in REDIS_URL"
    return f"no TLS connection comes about ({reason.replace('_', ' ').lower()}); check the ssl_ options of REDIS_URL"
