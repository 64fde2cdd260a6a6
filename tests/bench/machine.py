"""Where and with what this ran: figures say nothing without it."""

import os
import re
import sys

from tests.sandboxes import PROJECT

COMPARED = ("celery", "dramatiq", "taskiq")


def machine() -> str:
    """The machine, Python, and the versions of what is compared."""
    python = ".".join(map(str, sys.version_info[:3]))
    return ", ".join([f"{os.cpu_count()} cores", sys.platform, f"Python {python}", *versions()])


def versions() -> list[str]:
    """Of what is compared, as locked."""
    lock = (PROJECT / "tests/bench/requirements.lock").read_text(encoding="utf-8")
    found = dict(re.findall(r"^([a-z-]+)==(\S+)", lock, re.MULTILINE))
    return [f"{name} {found[name]}" for name in COMPARED]


def load_average() -> str:
    """How busy the machine is, over the last minute: more than what the benchmark runs spoils the figures."""
    return f"{os.getloadavg()[0]:.1f}"
