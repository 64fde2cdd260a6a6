"""No command ends in "a bug" or a traceback, whatever lies in Redis, in files, in settings or in arguments: looked for at random.

Each search is the same every time and takes some seconds; `FUZZ=20` looks longer, and elsewhere each time.
"""

import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from tests.raw_mailguns import RawMailgun, answer, said
from tests.servers import RedisServer
from tests.unit.strategies import any_text, strange_json
from worker.cli import commands
from worker.cli.errors import exit_status_of
from worker.monitoring.integration_gauges import RedisCollector, read_gauges
from worker.queue.codec import celery_message
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_reasons import ADVICE
from worker.queue.message import Message
from worker.redis_client.client import connect
from worker.settings import Settings

LIST = "newsletter@mg.example.com"
HOSTILE = "\x1b]52;c;cm0=\x07\x9b31m\u202egnp.exe[red]R[/red][link=http://x]L[/link][/x]\r\b\n\u2028\u200b\x00\ud800"
# Made once: that is a third of what a command costs here.
COMMAND = commands()
FUZZ = int(os.environ.get("FUZZ", "1"))  # so many times as many cases, and others each time
SHARED: dict[str, Any] = {
    "deadline": None,
    "derandomize": FUZZ == 1,
    "suppress_health_check": list(HealthCheck),
}


class Printed(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def raw(server: RedisServer) -> Iterator["redis.Redis"]:
    """A client that speaks bytes."""
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture(autouse=True)
def _surroundings(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    for name in os.environ:  # each that is left is compared with every setting in each command
        if not name.startswith(("PATH", "HOME", "PYTEST")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setenv("MAILGUN_LIST_ADDRESS", LIST)
    monkeypatch.chdir(tmp_path)
    before = threading.excepthook, logging.lastResort
    yield
    threading.excepthook, logging.lastResort = before


def run(*arguments: str) -> Printed:
    """The command in this process; nothing that a terminal obeys gets through, and no bug."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = exit_status_of(
            lambda: COMMAND(args=list(arguments), prog_name="signal-mailgun", standalone_mode=False)
        )
    printed = Printed(status, out.getvalue(), err.getvalue())
    assert "a bug" not in printed.err, (arguments, printed.err)
    assert all(
        character.isprintable() or character in "\n\t" for character in printed.out + printed.err
    )
    assert status in {0, 1, 2}
    return printed


# -- Redis -----------------------------------------------------------------------------------------------------------

READING = (
    ("check",),
    ("check", "--json"),
    ("status",),
    ("status", "--json"),
    ("dead-letters", "list"),
    ("dead-letters", "list", "--json", "--kind=identify"),
    ("dead-letters", "show", "?"),
    ("dead-letters", "show", "m", "--json"),
    ("dead-letters", "export"),
    ("dead-letters", "replay", "--dry-run"),
    ("explain", "m"),
    ("explain", "jane@example.com"),
)
PLACES = ("queue", "priority", "dead", "delayed", "taken", "counts", "totals")
CHANGING = (
    ("forget", "jane@example.com", "--yes", "--json"),
    ("dead-letters", "replay", "--yes", "--limit=1"),
    ("dead-letters", "purge", "--yes"),
)

whole = st.builds(
    lambda named, event, kind, reason, answer, parts: with_parts(
        celery_message(
            (message := Message(id=named, args=(event,), kind=kind)),
            "mailgun.default",
            dead_letter={
                **vars(
                    dead_letter(
                        next(iter(ADVICE)),
                        message,
                        status=400,
                        answer=answer,
                        died_at=1.0,
                        integration="x",
                    )
                ),
                "reason": reason,
            },
        ),
        parts,
    ),
    st.just("m") | any_text,
    st.just({"type": "identify", "traits": {"email": "jane@example.com", "name": HOSTILE}})
    | strange_json,
    st.just("identify") | any_text,
    st.just("rejected") | st.just(HOSTILE) | any_text,
    any_text,
    st.dictionaries(
        st.sampled_from(
            [
                "headers",
                "properties",
                "body",
                "headers.signal",
                "headers.id",
                "headers.dead_letter",
                "headers.dead_letter.died_at",
                "headers.signal.enqueued_at",
                "headers.signal.trail",
                "content-type",
            ]
        ),
        strange_json,
        max_size=2,
    ),
)


def with_parts(message: dict[str, Any], parts: dict[str, Any]) -> bytes:
    """The message with other values at these places, as text."""
    for place, value in parts.items():
        *way, last = place.split(".")
        within: Any = message
        for each in way:
            within = within.get(each) if isinstance(within, dict) else None
        if isinstance(within, dict):
            within[last] = value
    return json.dumps(message).encode()


lying = st.one_of(
    whole,
    st.binary(max_size=40),
    strange_json.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [
            b"",
            b"[" * 2000 + b"]" * 2000,
            b"\xff\xfe\x00binary",
            b'{"headers": {"signal": {"enqueued_at": 1e999}}}',
            b"7" * 5000,
        ]
    ),
)


@settings(max_examples=25 * FUZZ, **SHARED)
@given(st.lists(lying, min_size=1, max_size=4), st.sampled_from(PLACES))
def test_every_command_ends_well_whatever_is_in_redis(
    raw: "redis.Redis", lying: list[bytes], place: str
) -> None:
    raw.flushall()
    lay(raw, place, lying)
    for command in READING:
        run(*command)
    assert b'signal_mailgun_redis_up{integration="default"} 1.0' in scraped()
    for command in CHANGING:
        run(*command)
    if place == "dead":
        assert raw.llen("mailgun.default.dead_letter") == 0


def scraped() -> bytes:
    """What Prometheus is told of the integration."""
    registry = CollectorRegistry()
    given = Settings()
    store = connect(given.redis_url)
    registry.register(RedisCollector("default", lambda: read_gauges(given, store)))
    return generate_latest(registry)


def lay(raw: "redis.Redis", place: str, messages: list[bytes]) -> None:
    """Put the messages there, as some other program might."""
    match place:
        case "queue":
            raw.lpush("mailgun.default", *messages)
        case "dead":
            raw.lpush("mailgun.default.dead_letter", *messages)
        case "delayed":
            raw.zadd(
                "signal:default:delayed",
                {each: number - 1e300 * (number % 2) for number, each in enumerate(messages)},
            )
        case "priority":
            raw.lpush("mailgun.default\x06\x163", *messages)
        case "taken":
            raw.hset(
                "signal:default:unacked",
                mapping={str(number): each for number, each in enumerate(messages)},
            )
        case _:  # what workers count
            keys = {
                "counts": "signal:default:dead_letter_counts",
                "totals": "signal:default:totals",
            }
            raw.hset(keys[place], mapping={each: each for each in messages})
            raw.hset("signal:default:not_understood", mapping={each: each for each in messages})
            raw.lpush("mailgun.default.dead_letter", *messages)


# -- files -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60 * FUZZ, **SHARED)
@given(
    st.binary(max_size=120)
    | st.lists(strange_json, max_size=4).map(
        lambda values: "\n".join(map(json.dumps, values)).encode()
    )
    | st.lists(any_text, max_size=5).map(
        lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
    )
)
def test_file_of_any_content_is_sent_or_refused(raw: "redis.Redis", data: bytes) -> None:
    raw.flushall()
    Path("events").write_bytes(data)
    run("preview", "events")
    run("preview", "--json", "events")
    run("send", "events")


# -- arguments ---------------------------------------------------------------------------------------------------------

OPTIONS = ("--reason", "--status", "--since", "--until", "--kind", "--email", "--id", "--limit")
values = st.one_of(
    any_text.filter(lambda text: "\0" not in text),
    st.sampled_from(
        [
            "9999999d",
            "1e400d",
            "0001-01-01",
            "0001-01-01T00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "nan",
            "inf",
            "-1",
            "1e999",
            "9" * 400,
            "rejected",
            "2h",
            "",
            HOSTILE.replace("\0", ""),
        ]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(str),
)
options = st.lists(st.tuples(st.sampled_from(OPTIONS), values).map("=".join), max_size=3)


@settings(max_examples=80 * FUZZ, **SHARED)
@given(
    st.sampled_from(
        [
            ("dead-letters", "list"),
            ("dead-letters", "export"),
            ("dead-letters", "purge", "--yes"),
            ("dead-letters", "replay", "--dry-run"),
        ]
    ),
    options,
)
def test_filters_of_any_form_are_accepted_or_refused(
    raw: "redis.Redis", command: tuple[str, ...], given_options: list[str]
) -> None:
    raw.flushall()
    run(*command, *given_options)


@settings(max_examples=60 * FUZZ, **SHARED)
@given(
    st.sampled_from(
        [
            ("explain",),
            ("forget", "--yes"),
            ("dead-letters", "show"),
            ("preview",),
            (),
            ("dead-letters",),
            ("status", "--bogus"),
            ("pause",),
        ]
    ),
    values,
)
def test_arguments_of_any_form_are_accepted_or_refused(
    raw: "redis.Redis", command: tuple[str, ...], value: str
) -> None:
    run(*command, "--", value)


# -- settings and presets ----------------------------------------------------------------------------------------------

NAMES = [
    name.upper() for name in Settings.model_fields if name not in {"redis_url", "mailgun_api_key"}
]
settings_values = st.one_of(
    any_text.filter(
        lambda text: "\0" not in text and not any(0xD800 <= ord(each) <= 0xDFFF for each in text)
    ),
    st.sampled_from(
        [
            "1e308",
            "-1",
            "nan",
            "inf",
            "0",
            "1e9",
            "9" * 30,
            "true",
            "http://[",
            "https://x:99999999",
            "http://\u2100.com",
            "https://" + "a" * 70 + ".com",
            "https://api.mailgun.net/..",
            "x@y",
            "\x1b[2J@x",
        ]
    ),
    st.floats().map(str),
    st.integers().map(str),
)


@settings(max_examples=80 * FUZZ, **SHARED)
@given(st.dictionaries(st.sampled_from(NAMES), settings_values, min_size=1, max_size=2))
def test_settings_of_any_value_are_accepted_or_refused(
    raw: "redis.Redis", given_settings: dict[str, str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAILGUN_API_KEY", "key")
        patch.setenv("MAILGUN_API_BASE_URL", "http://127.0.0.1:1")
        patch.setenv("MAILGUN_ALLOW_CUSTOM_HOST", "true")
        for name, value in given_settings.items():
            patch.setenv(name, value)
        run("check")
        run("status")
        run("pause")
        run("dead-letters", "replay", "--dry-run")


@settings(max_examples=60 * FUZZ, **SHARED)
@given(settings_values)
def test_check_reports_any_address_of_mailgun(raw: "redis.Redis", value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAILGUN_API_KEY", "key")
        patch.setenv("MAILGUN_API_BASE_URL", "http://127.0.0.1:1/" + value)
        patch.setenv("MAILGUN_ALLOW_CUSTOM_HOST", "true")
        run("check")


ECHO = "Authorization: Basic YXBpOmtleS01ZWNyZXQ="
hostile_answers = st.one_of(
    st.binary(max_size=80),
    strange_json.map(
        lambda value: answer(
            json.dumps({"list": {"address": LIST, "members_count": value}}).encode()
        )
    ),
    st.builds(
        lambda status, head, body: answer(body, status, *head),
        st.sampled_from(
            [
                "200 OK",
                "200",
                "204 No",
                "302 Found",
                "400 X",
                "401 X",
                "404 X",
                "429 X",
                "502 \x1b[2J",
                "999 X",
            ]
        ),
        st.lists(
            st.sampled_from(
                [
                    "Retry-After: \x1b",
                    "Content-Encoding: gzip",
                    "Location: http://x/",
                    "X: " + ECHO,
                    "Transfer-Encoding: x",
                ]
            ),
            max_size=2,
        ),
        st.one_of(
            strange_json.map(lambda value: json.dumps(value).encode()),
            strange_json.map(lambda value: json.dumps({"message": value}).encode()),
            any_text.map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.sampled_from(
                [HOSTILE.encode("utf-8", "surrogatepass"), ECHO.encode(), b"<p>key-5ecret" * 200]
            ),
        ),
    ),
)


@settings(max_examples=40 * FUZZ, **SHARED)
@given(hostile_answers)
def test_check_reports_any_answer_without_showing_the_key(
    raw: "redis.Redis", said_bytes: bytes
) -> None:
    with RawMailgun(said(said_bytes)) as far, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAILGUN_API_KEY", "key-5ecret")
        patch.setenv("MAILGUN_API_BASE_URL", far.url)
        patch.setenv("MAILGUN_ALLOW_CUSTOM_HOST", "true")
        patch.setenv("MAILGUN_READ_TIMEOUT_SECONDS", "0.1")
        for command in (("check",), ("check", "--json"), ("check", "--probe")):
            printed = run(*command)
            assert "5ecret" not in printed.out + printed.err
            assert "YXBpOmtl" not in printed.out + printed.err


tables = st.dictionaries(
    st.sampled_from(["address", "consent", "event", "always", "x"]), strange_json, max_size=4
)
lines = st.lists(
    st.sampled_from(
        [
            "[[event]]",
            "[event]",
            "address = ['traits.email']",
            "consent = ['context.consent']",
            "kind = 'x'",
            "types = ['page']",
            "names = ['\\u0000']",
            "[event.sets]",
            "'vars.x' = ['properties.x']",
            "'name' = 'traits.a + traits.b'",
            "x = " + "9" * 5000,
            "x = " + "[" * 2000,
            "x = 0000-00-00",
            "\x1b",
            "a.b.c = 1",
        ]
    ),
    max_size=9,
)


@settings(max_examples=60 * FUZZ, **SHARED)
@given(lines.map("\n".join) | any_text | tables.map(json.dumps))
def test_preset_of_any_content_is_accepted_or_refused(raw: "redis.Redis", text: str) -> None:
    Path("preset.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    Path("event.json").write_text(
        '{"type": "page", "traits": {"email": "jane@example.com"}, "properties": {"x": [1]}}'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAILGUN_PRESET", "preset.toml")
        run("preview", "event.json")
        run("check")


@settings(max_examples=60 * FUZZ, **SHARED)
@given(
    st.lists(
        st.sampled_from(
            [
                "REDIS_URL",
                "LOG_LEVEL",
                "MAILGUN_PRESET",
                "=",
                " ",
                "\n",
                "'",
                '"',
                "#",
                "export ",
                "\\",
                "$",
                "{X}",
                "info",
                "\0",
                "\ufeff",
                "\u2028",
                "MAILGUN_API_KEYS",
                "A",
            ]
        ),
        max_size=12,
    ).map("".join)
    | any_text
)
def test_env_file_of_any_content_is_accepted_or_refused(raw: "redis.Redis", text: str) -> None:
    Path(".env").write_bytes(text.encode("utf-8", "surrogatepass"))
    run("preview", "missing")
    Path(".env").unlink()
