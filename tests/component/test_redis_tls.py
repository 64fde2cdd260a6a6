"""TLS before a real server: what is verified, what is believed only on an explicit word, and the files it takes."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from cryptography.hazmat.primitives import serialization

from tests.servers import RedisServer
from tests.tls import Certificates, TlsRelay, certificates
from worker.ops.redis_check.errors import Trouble, describe_redis_error
from worker.redis_client import client
from worker.redis_client.address import redis_address
from worker.redis_client.address_text import RedisAddressError
from worker.redis_client.client import connect
from worker.redis_client.tls import check_tls_files

Relay = Callable[..., TlsRelay]


@pytest.fixture(scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def relay(server: RedisServer) -> Iterator[Relay]:
    opened: list[TlsRelay] = []

    def listening(certificate: Path, **options: Path) -> TlsRelay:
        opened.append(TlsRelay(server.port, certificate, **options).__enter__())  # type: ignore[arg-type]
        return opened[-1]

    yield listening
    for each in opened:
        each.__exit__(None, None, None)


def trouble(url: str) -> Trouble:
    with pytest.raises(redis.RedisError) as caught, connect(url) as client:
        client.ping()
    return describe_redis_error(caught.value, url)


def is_answered(url: str) -> bool:
    with connect(url) as client:
        return bool(client.ping())


def test_private_ca_is_trusted_when_the_url_names_it(relay: Relay, own_files: Certificates) -> None:
    there = relay(own_files.server)
    assert is_answered(f"rediss://localhost:{there.port}?ssl_ca_certs={own_files.ca}")
    assert is_answered(f"rediss://127.0.0.1:{there.port}?ssl_ca_certs={own_files.ca}")


@pytest.mark.parametrize(
    ("certificate", "options", "says"),
    [
        ("server", "", "is not trusted (unable to get local issuer certificate)"),
        ("self_signed", "?ssl_ca_certs={ca}", "is not trusted (self-signed certificate)"),
        ("elsewhere", "?ssl_ca_certs={ca}", "is for another host name"),
    ],
)
def test_unverified_server_gets_neither_password_nor_command(
    relay: Relay, own_files: Certificates, certificate: str, options: str, says: str
) -> None:
    there = relay(getattr(own_files, certificate))
    told = trouble(f"rediss://:s3cret@localhost:{there.port}{options.format(ca=own_files.ca)}")
    assert says in told.found
    assert not told.passes
    assert (bytes(there.read), bytes(there.plain)) == (b"", b"")


def test_a_client_certificate_is_sent(relay: Relay, own_files: Certificates) -> None:
    there = relay(own_files.server, client_ca=own_files.ca)
    url = f"rediss://localhost:{there.port}?ssl_ca_certs={own_files.ca}"
    assert is_answered(f"{url}&ssl_certfile={own_files.client}&ssl_keyfile={own_files.client_key}")
    assert "?ssl_certfile=FILE&ssl_keyfile=FILE in REDIS_URL" in trouble(url).fix


def test_server_that_expects_tls_is_reported(relay: Relay, own_files: Certificates) -> None:
    there = relay(own_files.server)
    assert "Write rediss://" in trouble(f"redis://localhost:{there.port}").fix


def test_server_without_tls_is_reported(server: RedisServer) -> None:
    assert "Write redis://" in trouble(f"rediss://localhost:{server.port}?socket_timeout=0.3").fix


@pytest.mark.parametrize(
    ("word", "certificate", "says"),
    [
        ("ssl_cert_reqs=none", "self_signed", "is not verified (ssl_cert_reqs=none)"),
        ("ssl_check_hostname=false", "elsewhere", "the name of Redis at"),
    ],
)
def test_disabled_verification_needs_its_option_and_is_logged_once(
    relay: Relay,
    own_files: Certificates,
    caplog: pytest.LogCaptureFixture,
    word: str,
    certificate: str,
    says: str,
) -> None:
    client._warn_if_unverified.cache_clear()
    there = relay(getattr(own_files, certificate))
    url = f"rediss://localhost:{there.port}?{word}&ssl_ca_certs={own_files.ca}"
    with caplog.at_level(logging.WARNING):
        assert is_answered(url)
        assert is_answered(url)
    [record] = caplog.records
    assert says in record.getMessage()


def test_disabled_host_name_check_still_verifies_the_certificate(
    relay: Relay, own_files: Certificates
) -> None:
    there = relay(own_files.self_signed)
    url = f"rediss://localhost:{there.port}?ssl_check_hostname=no&ssl_ca_certs={own_files.ca}"
    assert "self-signed" in trouble(url).found


# -- the files -----------------------------------------------------------------------------------------------------


def refusal(options: str) -> str:
    tls = redis_address(f"rediss://h?{options}").tls
    assert tls
    with pytest.raises(RedisAddressError) as caught:
        check_tls_files(tls)
    told = str(caught.value)
    assert told.isprintable()
    assert "s3cret" not in told
    return told


def accept(options: str) -> None:
    tls = redis_address(f"rediss://h?{options}").tls
    assert tls
    check_tls_files(tls)


def test_files_that_fit_are_accepted(own_files: Certificates) -> None:
    accept("ssl_cert_reqs=required")
    accept(
        f"ssl_ca_certs={own_files.ca}&ssl_certfile={own_files.client}&ssl_keyfile={own_files.client_key}"
    )
    accept(f"ssl_certfile={own_files.server}")  # which holds its key


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_cannot_be_read_is_named(
    own_files: Certificates, tmp_path: Path, name: str
) -> None:
    certificate = f"ssl_certfile={own_files.client}&" if name == "ssl_keyfile" else ""
    missing = f"the option {name}: {tmp_path}/none cannot be read: No such file or directory"
    assert refusal(f"{certificate}{name}={tmp_path}/none") == missing
    assert f"the option {name}: {tmp_path} cannot be read: Is a directory" in refusal(
        f"{certificate}{name}={tmp_path}"
    )


def test_file_without_the_expected_content_is_named(
    own_files: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("s3cret")
    assert f"ssl_ca_certs: {tmp_path}/text holds no certificate" in refusal(
        f"ssl_ca_certs={tmp_path}/text"
    )
    assert f"ssl_certfile: {tmp_path}/text and its key cannot be used" in refusal(
        f"ssl_certfile={tmp_path}/text"
    )
    assert f"ssl_certfile: {own_files.client} and its key" in refusal(
        f"ssl_certfile={own_files.client}"
    )


def test_key_of_another_certificate_is_reported(own_files: Certificates) -> None:
    other = refusal(f"ssl_certfile={own_files.client}&ssl_keyfile={own_files.server}")
    assert f"{own_files.client} does not belong to the key in ssl_keyfile" in other


def test_encrypted_key_opens_with_its_password_and_never_prompts(
    own_files: Certificates, tmp_path: Path
) -> None:
    key = serialization.load_pem_private_key(own_files.client_key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"s3cret@1"),
        )
    )
    files = f"ssl_certfile={own_files.client}&ssl_keyfile={locked}"
    accept(f"{files}&ssl_password=s3cret%401")
    assert "ssl_password must open the key" in refusal(files)
    assert "ssl_password must open the key" in refusal(f"{files}&ssl_password=s3cret")
