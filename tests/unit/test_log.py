"""What is printed: one line a record, and nothing of a person."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from worker.monitoring.log import JsonLines, TextLines, configure, quiet_libraries

FORMATTERS = [TextLines(), JsonLines()]


def record(
    message: str, *args: object, error: BaseException | None = None, **extra: object
) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.getLogger("signal_mailgun.test").makeRecord(
        "signal_mailgun.test", logging.INFO, "file.py", 1, message, args, info, extra=extra
    )


def as_json(*args: Any, **extra: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(JsonLines().format(record(*args, **extra)))
    return found


def raised() -> ValueError:
    try:
        raise ValueError("jane@example.com is not what was expected")
    except ValueError as error:
        return error


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    quiet = {
        name: logging.getLogger(name).level
        for name in ("celery.app.trace", "celery.worker.strategy", "celery.bootsteps")
    }
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    for name, each in quiet.items():
        logging.getLogger(name).setLevel(each)


def test_a_text_line_is_time_level_message_and_fields() -> None:
    line = TextLines().format(record("delivered", event="m1", status=200))
    time, level, rest = line.split(" ", 2)
    assert (len(time), level) == (8, "INFO")
    assert rest.strip() == "delivered  event=m1 status=200"


def test_a_json_line_is_time_level_message_logger_and_fields() -> None:
    found = as_json("delivered", event="m1", status=200)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "info",
        "message": "delivered",
        "logger": "signal_mailgun.test",
        "event": "m1",
        "status": 200,
    }


def test_a_field_without_a_value_is_left_out() -> None:
    assert "status" not in as_json("x", status=None)
    assert as_json("x", status=0)["status"] == 0


def test_task_arguments_added_by_celery_are_left_out() -> None:
    assert "jane" not in JsonLines().format(record("x", data={"args": "jane@example.com"}))


def test_a_field_that_json_does_not_know_is_shown_as_text() -> None:
    assert as_json("x", place=io.StringIO)["place"] == str(io.StringIO)


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_addresses_in_a_message_are_struck_out(formatter: logging.Formatter) -> None:
    line = formatter.format(record("Member %s not found", "jane@example.com"))
    assert "Member <address> not found" in line


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_addresses_in_a_field_are_struck_out(formatter: logging.Formatter) -> None:
    assert "jane" not in formatter.format(record("delivered", event="jane@example.com"))


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_record_with_any_content_is_one_line(formatter: logging.Formatter) -> None:
    lines = formatter.format(
        record("a\nb\r%s", "c\u2028d", error=raised(), event="x\n12:00:00 INFO forged\u2028")
    )
    assert len(lines.splitlines()) == 1


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_exception_is_logged_by_kind_and_place_without_text_or_traceback(
    formatter: logging.Formatter,
) -> None:
    line = formatter.format(record("crashed", error=raised()))
    assert "(ValueError at test_log.py:" in line
    assert "expected" not in line
    assert "Traceback" not in line


@pytest.mark.parametrize(("form", "is_json"), [("auto", True), ("json", True), ("text", False)])
def test_log_off_a_terminal_is_json_unless_text_is_configured(
    root: logging.Logger,
    form: Any,
    is_json: bool,  # noqa: FBT001
) -> None:
    stream = io.StringIO()
    configure("info", form, stream)
    root.info("hello")
    assert stream.getvalue().startswith("{") is is_json


def test_log_on_a_terminal_is_text(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    configure("info", "auto", stream)
    root.info("hello")
    assert stream.getvalue().rstrip().endswith("hello")
    assert not stream.getvalue().startswith("{")


def test_record_is_printed_once_and_only_from_its_level_on(
    root: logging.Logger,
) -> None:
    stream = io.StringIO()
    configure("debug", "json", stream)
    configure("warning", "json", stream)
    logging.getLogger("signal_mailgun.test").info("quiet")
    logging.getLogger("signal_mailgun.test").warning("loud")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_log_goes_to_standard_error_by_default(root: logging.Logger) -> None:
    configure("info", "json")
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream in (sys.stderr, sys.__stderr__) or handler.stream.name == "<stderr>"


def test_http_library_is_quiet_whether_or_not_a_handler_is_set_up() -> None:
    logging.getLogger("urllib3").setLevel(logging.NOTSET)
    quiet_libraries()
    for name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.response"):
        assert not logging.getLogger(name).isEnabledFor(logging.ERROR)
