"""The machine and the versions of a run, without which its figures mean nothing."""

import os
import re
import sys

from tests.sandboxes import PROJECT

COMPARED = ("celery", "dramatiq", "taskiq")


def machine() -> str:
    """Return the machine, Python, and the versions of the compared libraries."""
    python = ".".join(map(str, sys.version_info[:3]))
    return ", ".join([f"{os.cpu_count()} cores", sys.platform, f"Python {python}", *versions()])


def versions() -> list[str]:
    """Return the locked versions of the compared libraries."""
    lock = (PROJECT / "tests/bench/requirements.lock").read_text(encoding="utf-8")
    found = dict(re.findall(r"^([a-z-]+)==(\S+)", lock, re.MULTILINE))
    return [f"{name} {found[name]}" for name in COMPARED]


def load_average() -> str:
    """Return the machine's load average over the last minute.

    Load from other programs spoils the figures.
    """
    return f"{os.getloadavg()[0]:.1f}"
