"""The sandbox as a process of its own, with every option: `python -m tests.sandbox_process`."""

import argparse
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from worker.sandbox.quirks import Quirks
from worker.sandbox.server import serve
from worker.sandbox.state import SandboxConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox until SIGINT or SIGTERM and return the exit code.

    Prints one line once the sandbox listens.

    Returns:
        0 after a signal; 1, with one line on stderr, if the sandbox cannot start.
    """
    given = vars(_parser().parse_args(arguments))
    try:
        serve(_config(given), ready=_announce)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return _fail(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    except (OSError, ValueError) as error:
        return _fail(str(error))
    return 0


def _parser() -> argparse.ArgumentParser:
    default = SandboxConfig()
    parser = argparse.ArgumentParser(
        prog="python -m tests.sandbox_process", description="Run a Mailgun sandbox on this machine."
    )
    parser.add_argument("--host", default=default.host)
    parser.add_argument("--port", type=int, default=default.port, help="0: any free port")
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="listen on other than loopback; the control routes need no key",
    )
    parser.add_argument(
        "--allow-host",
        dest="allow_hosts",
        action="append",
        metavar="NAME",
        help="host name that requests may use; may be repeated",
    )
    parser.add_argument(
        "--api-key", dest="api_keys", action="append", help="may be repeated; default sandbox-key"
    )
    parser.add_argument(
        "--list", dest="lists", action="append", help="may be repeated; default " + default.lists[0]
    )
    parser.add_argument(
        "--seed", type=int, default=default.seed, help="seed of the draws for faults with a share"
    )
    parser.add_argument(
        "--log-size", type=int, default=default.log_size, help="requests that the log keeps; 0: all"
    )
    parser.add_argument("--latency-ms", type=int, default=default.latency_ms)
    parser.add_argument(
        "--switch",
        dest="switches",
        action="append",
        default=[],
        type=_switch,
        metavar="NAME=VALUE",
        help="may be repeated: " + ", ".join(Quirks.model_fields),
    )
    return parser


def _switch(text: str) -> tuple[str, str | int]:
    name, _, value = text.partition("=")
    return name, int(value) if value.isdecimal() else value


def _config(given: dict[str, object]) -> SandboxConfig:
    named = {name: value for name, value in given.items() if value is not None}
    return SandboxConfig.model_validate(named | {"switches": dict(given["switches"])})  # type: ignore[call-overload]


def _announce(base_url: str) -> None:
    sys.stdout.write(f"sandbox listening on {base_url}\n")
    sys.stdout.flush()


def _fail(why: str) -> int:
    sys.stderr.write(f"sandbox: {why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
