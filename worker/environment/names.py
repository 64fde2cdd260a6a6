"""Names in the environment and `.env` that are no settings: a misspelt one ends the program."""

import logging
import os
from functools import lru_cache
from pathlib import Path

from worker.environment.source import ENVIRONMENT_ONLY
from worker.environment.variables import described, env_file, strays

logger = logging.getLogger("signal_mailgun.settings")

ENV_FILE, ENV_ENCODING = Path(".env"), "utf-8-sig"  # Windows editors write a byte order mark


class SettingsError(ValueError):
    """A setting that cannot be right; the text is one line that names it and says what to do."""


def check_names(known: set[str], *, guest: bool) -> None:
    """Refuse misspelt names, and warn once about others that look like settings.

    Args:
        known: The names of the settings.
        guest: This code runs inside another program; then a misspelt name is only logged.

    Raises:
        SettingsError: A name is misspelt, or a line of `.env` is no NAME=VALUE; not for a guest.
        OSError: `.env` cannot be read.
        UnicodeDecodeError: `.env` is not UTF-8.
    """
    written = env_file(ENV_FILE.read_text(encoding=ENV_ENCODING) if ENV_FILE.is_file() else "")
    found = strays([*(name for name, value in os.environ.items() if value), *written.names], known)
    wrong = [f".env line {line} is no NAME=VALUE" for line in written.broken]
    wrong += [
        f".env line {line}: {name.upper()} has no ="
        for name, line in written.bare.items()
        if name.upper() in known
    ]
    if found.typos:
        wrong.append(f"no setting of this program: {described(found.typos)}; correct or unset it")
    if wrong and not guest:
        raise SettingsError("; ".join(wrong))
    if found.others:
        wrong.append(f"ignored, since this program has no such setting: {described(found.others)}")
    if unheard := sorted({name.upper() for name in written.names} & {*ENVIRONMENT_ONLY}):
        wrong.append(
            f"{unheard[0]} in .env does not count, since it decides where the key goes: "
            f"set it in the environment"
        )
    for line in wrong:
        warn_once(line)


@lru_cache(maxsize=100)
def warn_once(line: str) -> None:
    """Log a warning, the same one only once in a process."""
    logger.warning(line)


def reason(error: Exception) -> str:
    """Return the system's text for `error`, else its type: nothing of what a file holds."""
    return getattr(error, "strerror", None) or type(error).__name__
