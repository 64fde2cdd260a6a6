"""Structured logs: one line a record, as text on a terminal and as JSON elsewhere.

No line holds a trait, an address, a key or a traceback.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

from worker.printable import printable
from worker.privacy import redacted, whereabouts

# For every task Celery logs at INFO what this program's line for the attempt says better, and at
# WARNING what concerns Celery's authors. urllib3 quotes URLs, and texts of the server.
QUIET = {
    "celery.app.trace": logging.CRITICAL,
    "celery.worker.strategy": logging.WARNING,
    "celery.bootsteps": logging.WARNING,
    "urllib3": logging.CRITICAL,
}
# Only this program's loggers go below INFO: at DEBUG other libraries quote messages and addresses.
OURS = "signal_mailgun"
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "data"}
ENCODER = json.JSONEncoder(default=str)


def configure(
    level: str, form: Literal["auto", "text", "json"], stream: TextIO | None = None
) -> None:
    """Make every logger of this process print through one handler.

    A line that cannot be written, as on a full disk, is lost, and no error is raised.

    Args:
        level: The lowest level that is printed, for other libraries INFO at the lowest.
        form: Text, JSON, or `auto`: text if `stream` is a terminal, else JSON.
        stream: Where to print; None: standard error.
    """
    # `sys.stderr` is None if standard error is closed.
    stream = stream or sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    logging.raiseExceptions = False
    handler = logging.StreamHandler(stream)
    as_text = form == "text" or (form == "auto" and stream.isatty())
    handler.setFormatter(TextLines() if as_text else JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger().setLevel(max(logging.INFO, logging.getLevelName(level.upper())))
    logging.getLogger(OURS).setLevel(level.upper())
    quiet_libraries()


def quiet_libraries() -> None:
    """Raise the level of libraries that repeat this program's lines, or quote personal data."""
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(quiet)


class TextLines(logging.Formatter):
    """Lines such as `12:00:01 INFO    delivered  event=… member=…`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record on one line."""
        fields = " ".join(f"{name}={value}" for name, value in extras(record).items())
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        return printable(
            f"{time} {record.levelname:<7} {render(record)}{'  ' if fields else ''}{fields}"
        )


class JsonLines(logging.Formatter):
    """Lines of one JSON object: time (UTC), level, message, logger, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one JSON object."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {
            "time": time,
            "level": record.levelname.lower(),
            "message": render(record),
            "logger": record.name,
        }
        return ENCODER.encode(head | extras(record))


def render(record: logging.LogRecord) -> str:
    """Return the record's message on one line, without addresses.

    Instead of a traceback, the type and the place of the record's exception follow.
    """
    error = record.exc_info[1] if record.exc_info else None
    if not error:
        return redacted(_message(record))
    # Celery quotes the error itself, and that may quote a person's data.
    text = _message(record).replace(repr(error), type(error).__name__)
    return f"{redacted(text)} ({whereabouts(error)})"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # the arguments do not fit the format
        return str(record.msg)


def extras(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields that the caller passed as `extra`, without addresses and without None."""
    return {
        k: redacted(v) if isinstance(v, str) else v
        for k, v in vars(record).items()
        if k not in STANDARD and v is not None
    }
