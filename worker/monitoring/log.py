"""What is printed: one line a record, text on a terminal, JSON elsewhere; never a trait, an address, a key or a traceback."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

from worker.printable import printable
from worker.privacy import redacted, whereabouts

# Celery tells of every task at INFO what our own line per attempt says better, and at WARNING what concerns Celery's authors.
QUIET = {
    "celery.app.trace": logging.CRITICAL,
    "celery.worker.strategy": logging.WARNING,
    "celery.bootsteps": logging.WARNING,
    "urllib3": logging.CRITICAL,  # it quotes URLs, and what the far side says of itself
}
OURS = "signal_mailgun"  # only we say more at DEBUG: other libraries quote messages and addresses there
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "data"}
ENCODER = json.JSONEncoder(default=str)


def configure(
    level: str, form: Literal["auto", "text", "json"], stream: TextIO | None = None
) -> None:
    """Make every logger of this process print through one handler on `stream`, standard error if none is given.

    A line that cannot be written, as on a full disk, is lost without a word.
    """
    stream = stream or sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  none where it is closed
    logging.raiseExceptions = False
    handler = logging.StreamHandler(stream)
    as_text = form == "text" or (form == "auto" and stream.isatty())
    handler.setFormatter(TextLines() if as_text else JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger().setLevel(max(logging.INFO, logging.getLevelName(level.upper())))
    logging.getLogger(OURS).setLevel(level.upper())
    quiet_libraries()


def quiet_libraries() -> None:
    """Let no library say what we say better, or what quotes a message, an address or the far side."""
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(quiet)


class TextLines(logging.Formatter):
    """`12:00:01 INFO    delivered  event=… member=…`"""

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line."""
        fields = " ".join(f"{name}={value}" for name, value in extras(record).items())
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        return printable(
            f"{time} {record.levelname:<7} {said(record)}{'  ' if fields else ''}{fields}"
        )


class JsonLines(logging.Formatter):
    """One JSON object: time (UTC), level, message, logger, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one JSON object."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {
            "time": time,
            "level": record.levelname.lower(),
            "message": said(record),
            "logger": record.name,
        }
        return ENCODER.encode(head | extras(record))


def said(record: logging.LogRecord) -> str:
    """The record's message without addresses, on one line, with the kind and place of its exception instead of a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if not error:
        return redacted(_message(record))
    # Celery quotes the error itself, and that may quote a person's data.
    text = _message(record).replace(repr(error), type(error).__name__)
    return f"{redacted(text)} ({whereabouts(error)})"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # its arguments are not those that it asks for
        return str(record.msg)


def extras(record: logging.LogRecord) -> dict[str, object]:
    """The fields that the caller gave with `extra`."""
    return {
        k: redacted(v) if isinstance(v, str) else v
        for k, v in vars(record).items()
        if k not in STANDARD and v is not None
    }
