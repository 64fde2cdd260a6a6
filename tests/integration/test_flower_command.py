"""`signal-mailgun flower`: Flower with this program's pages, its options, its end and its errors."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.integration.bench import clean_environment, printed_by
from tests.preloaded import AnyProcess, started
from tests.servers import RedisServer, eventually, free_port

SECONDS = 60


@contextmanager
def flower_command(folder: Path, *options: str, **settings: str) -> Iterator[AnyProcess]:
    """Run the command with these options; its output goes to `flower.log` in the folder."""
    with (folder / "flower.log").open("ab") as output, Path(os.devnull).open() as nothing:
        process = started(
            ("-m", "worker", "flower", *options),
            clean_environment(**settings),
            folder,
            (nothing, output, output),
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def page(port: int, path: str, host: str = "127.0.0.1") -> str | None:
    """Return a page, or None if nothing listens there yet."""
    try:
        answer = requests.get(f"http://{host}:{port}{path}", auth=("ops", "secret"), timeout=30)
    except requests.ConnectionError:
        return None
    assert answer.status_code == 200, answer.text
    return answer.text


def own_address() -> str | None:
    """Return an address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_flower_shows_all_tabs_on_loopback_alone_and_ends_in_order(
    server: RedisServer, tmp_path: Path, ending: signal.Signals
) -> None:
    port = free_port()
    options = f"--port={port}", "--basic-auth", "ops:secret"
    settings = {"REDIS_URL": server.url, "SIGNAL_INTEGRATION": "command"}
    with flower_command(tmp_path, *options, **settings) as process:
        eventually(lambda: page(port, "/healthcheck"), SECONDS, "Flower")
        assert requests.get(f"http://127.0.0.1:{port}/retries", timeout=30).status_code == 401
        for path in ("/dead-letters", "/retries", "/broker"):
            shown = page(port, path) or ""
            assert 'href="/retries"' in shown
            assert 'href="/dead-letters"' in shown
        assert "signal:command:delayed" in shown
        assert "mailgun.command.dead_letter" in shown
        if address := own_address():
            assert page(port, "/", address) is None
        process.send_signal(ending)
        assert process.wait(SECONDS) == 0
    assert "Traceback" not in (tmp_path / "flower.log").read_text()


def test_variable_outranks_the_default_address_and_an_option_both(
    server: RedisServer, tmp_path: Path
) -> None:
    asked, other = free_port(), free_port()
    settings = {"FLOWER_ADDRESS": "127.0.0.2", "FLOWER_PORT": str(other)}
    with flower_command(tmp_path, f"--port={asked}", REDIS_URL=server.url, **settings):
        eventually(
            lambda: page(asked, "/healthcheck", "127.0.0.2"), SECONDS, "Flower on the other address"
        )
        assert page(asked, "/healthcheck") is None


def test_flower_starts_while_redis_is_away_and_says_so_on_its_pages(tmp_path: Path) -> None:
    port = free_port()
    with flower_command(tmp_path, f"--port={port}", REDIS_URL=f"redis://127.0.0.1:{free_port()}"):
        eventually(lambda: page(port, "/healthcheck"), SECONDS, "Flower")
        answer = requests.get(f"http://127.0.0.1:{port}/retries", timeout=30)
        assert (answer.status_code, "Redis at" in answer.text) == (503, True)


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (["--prot=5556"], 2, "Flower has no option --prot (did you mean --port?)"),
        (["--basic_auht=ops:secret"], 2, "did you mean --basic-auth?"),
        (["--basic-auth"], 2, "--basic-auth takes a value"),
        (["extra"], 2, "Flower has no option extra"),
        (["--port=many"], 2, "port"),
        (["--max-tasks=many"], 1, "an option of Flower cannot be read"),
        (["--address=192.0.2.77"], 1, "cannot listen on 192.0.2.77:5555"),
        (["--certfile=none"], 1, "keyfile"),
    ],
)
def test_wrong_option_of_flower_is_told_in_one_line(
    tmp_path: Path, options: list[str], status: int, told: str
) -> None:
    printed = printed_by("-m", "worker", "flower", *options, folder=tmp_path)
    assert (printed.status, printed.out) == (status, "")
    assert told in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "secret" not in printed.err


def test_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        printed = printed_by("-m", "worker", "flower", f"--port={port}", folder=tmp_path)
    assert printed.status == 1
    assert printed.err.splitlines() == [
        f"signal-mailgun: cannot listen on 127.0.0.1:{port}: "
        f"{os.strerror(98)}; give another with --port or --address"
    ]


def test_configuration_in_the_folder_counts_only_if_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "flowerconfig.py").write_text("address = '192.0.2.77'\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"--port={taken.getsockname()[1]}"
        unnamed = printed_by("-m", "worker", "flower", port, folder=tmp_path)
        named = printed_by(
            "-m", "worker", "flower", port, "--conf=flowerconfig.py", folder=tmp_path
        )
    assert "cannot listen on 127.0.0.1:" in unnamed.err
    assert "cannot listen on 192.0.2.77:" in named.err


def test_wrong_variable_of_flower_is_told_in_one_line(tmp_path: Path) -> None:
    printed = printed_by("-m", "worker", "flower", folder=tmp_path, FLOWER_PORT="many")
    assert printed.status == 1
    assert "FLOWER_…" in printed.err
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("line", ["port = = 5556", "port = prot"])
def test_configuration_that_is_no_python_is_told_in_one_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "own.py").write_text(f"basic_auth = ['ops:secret']\n{line}\n")
    printed = printed_by("-m", "worker", "flower", "--conf=own.py", folder=tmp_path)
    assert (printed.status, printed.out) == (1, "")
    assert "the file of --conf" in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "secret" not in printed.err


def test_missing_flower_is_told_with_what_to_install(tmp_path: Path) -> None:
    program = (
        "import importlib.util, sys; find = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda name, *more: None if name == 'flower' else find(name, *more);"
        "from worker.cli import main; sys.argv[1:] = ['flower']; main()"
    )
    printed = printed_by("-c", program, folder=tmp_path)
    assert printed.status == 1
    assert printed.err == "signal-mailgun: Flower is not installed; pip install flower\n"
