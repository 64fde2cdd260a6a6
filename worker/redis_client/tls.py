"""A check of the files that TLS needs, before the first connection."""

import ssl
from collections.abc import Callable
from pathlib import Path

from worker.redis_client.address import Tls
from worker.redis_client.address_text import RedisAddressError


def check_tls_files(tls: Tls) -> None:
    """Check the files that `tls` names.

    Raises:
        RedisAddressError: A file cannot be used; the text names the option and the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    files = {"ssl_ca_certs": tls.ca_certs, "ssl_certfile": tls.certfile, "ssl_keyfile": tls.keyfile}
    for option, file in files.items():
        if file:
            _attempt(option, file, lambda file=file: Path(file).read_bytes())  # type: ignore[misc]
    if tls.ca_certs:
        _attempt(
            "ssl_ca_certs", tls.ca_certs, lambda: context.load_verify_locations(cafile=tls.ca_certs)
        )
    if tls.certfile:
        # "": with None, OpenSSL would ask for a password on the terminal.
        certfile, password = tls.certfile, tls.password or ""
        _attempt(
            "ssl_certfile",
            certfile,
            lambda: context.load_cert_chain(certfile, tls.keyfile, password=password),
        )


def _attempt(option: str, file: str, use: Callable[[], object]) -> None:
    try:
        use()
    except ssl.SSLError as error:
        raise RedisAddressError(f"the option {option}: {file} {_why(option, error)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise RedisAddressError(f"the option {option}: {file} cannot be read: {reason}") from None


def _why(option: str, error: ssl.SSLError) -> str:
    if option == "ssl_ca_certs":
        return "holds no certificate in PEM form"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "does not belong to the key in ssl_keyfile"
    return (
        "and its key cannot be used; both must be in PEM form, and ssl_password must open the key"
    )
