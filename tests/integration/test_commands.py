"""The command line towards people and programs: send, preview, check, and what each says where something is wrong."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import example
from tests.integration.bench import Bench, Printed, identified, printed_by
from tests.servers import free_port

JANE = "jane@example.com"
EVENT = identified(JANE, plan="pro")
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def own(own: Bench) -> Bench:
    """The same, and a worker has served it once: no line says that the integration is unknown."""
    own.redis.hset(f"signal:{own.integration}:totals", "delivered", 1)
    return own


def is_one_line(printed: Printed, *words: str) -> bool:
    """Did it fail with one line on standard error that holds these words?"""
    lines = printed.err.strip().splitlines()
    return (
        len(lines) == 1
        and "Traceback" not in printed.everything
        and all(word in lines[0] for word in words)
    )


def all_at_once(commands: Mapping[str, Callable[[], Printed]]) -> dict[str, Printed]:
    """What each of these printed; they run side by side."""
    with ThreadPoolExecutor(4) as threads:
        return dict(zip(commands, threads.map(lambda run: run(), commands.values()), strict=True))


# -- send ----------------------------------------------------------------------------------------------------------


def lines(*values: Any) -> str:
    return "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in values)


FORMS = {
    "ndjson": lines(EVENT, "", identified("sam@example.com")),
    "ndjson with other line ends": lines(EVENT, identified("sam@example.com")).replace(
        "\n", "\r\n"
    ),
    "an array": json.dumps([EVENT, identified("sam@example.com")]),
    "a pretty array": json.dumps([EVENT, identified("sam@example.com")], indent=2),
}


@pytest.mark.parametrize("form", FORMS)
def test_send_enqueues_every_event_of_a_file(own: Bench, form: str, tmp_path: Path) -> None:
    file = tmp_path / "events"
    file.write_text(FORMS[form], encoding="utf-8", newline="")
    printed = own.run("send", str(file))
    assert (printed.status, printed.out, printed.err) == (0, f"2 enqueued on {own.queue}\n", "")
    assert len(own.queued_events()) == 2


def test_send_accepts_a_single_object_in_any_layout(own: Bench) -> None:
    printed = own.run("send", "-", given=f"\n{json.dumps(EVENT, indent=2)}\n")
    assert (printed.status, printed.out) == (0, f"1 enqueued on {own.queue}\n")
    assert own.queued() == 1


def test_event_enqueued_by_send_is_delivered(bench: Bench) -> None:
    assert bench.run("send", "-", given=lines(EVENT)).status == 0
    assert bench.member(JANE).vars == {"plan": "pro"}


def test_send_reports_bad_lines_by_number_and_sends_the_rest(own: Bench) -> None:
    given = lines(
        EVENT, "{broken", "", {"traits": {"email": JANE}}, "5", identified("sam@example.com")
    )
    printed = own.run("send", "-", given=given)
    assert printed.status == 1
    assert printed.out == f"2 enqueued on {own.queue}, 3 bad lines left out\n"
    assert [line.partition(":")[0] for line in printed.err.splitlines()] == [
        "line 2",
        "line 4",
        "line 5",
    ]
    assert len(own.queued_events()) == 2


def test_send_to_an_integration_never_served_warns_and_enqueues(own: Bench) -> None:
    own.redis.delete(f"signal:{own.integration}:totals")
    printed = own.run("send", "-", given=lines(EVENT))
    assert (printed.status, own.queued()) == (0, 1)
    assert is_one_line(printed, f"no worker has ever served {own.queue}")


@pytest.mark.parametrize("asked", [("status",), ("dead-letters", "list"), ("pause",)])
def test_unknown_integration_error_lists_the_known_ones(own: Bench, asked: tuple[str, ...]) -> None:
    own.put(EVENT)
    printed = own.run(*asked, SIGNAL_INTEGRATION="misspelt")
    assert printed.status == 0
    assert is_one_line(printed, "no integration misspelt", own.integration)


@pytest.mark.parametrize("given", ["MAILGUN_API_KEYS", "retry_max_delay", "SIGNAL_INTEGRATON"])
def test_a_misspelt_setting_stops_every_command(own: Bench, given: str) -> None:
    for asked in (("status",), ("worker",), ("preview", "-")):
        printed = own.run(*asked, given="", **{given: "1"})
        assert printed.status == 1
        assert is_one_line(printed, given, "did you mean")


def test_variable_of_another_program_is_warned_about_once(own: Bench) -> None:
    printed = own.run(
        "dead-letters", "list", "--reason=rejected", MAILGUN_TRACKING="yes", MAILGUN_DOMAIN="x"
    )
    assert printed.status == 0
    assert is_one_line(printed, "MAILGUN_TRACKING", "ignored")


def test_producer_with_a_mistyped_variable_warns_and_enqueues(own: Bench) -> None:
    program = "import logging, worker; logging.basicConfig(); worker.enqueue({'type': 'page'})"
    settings = {
        "REDIS_URL": own.server.url,
        "MAILGUN_API_KEYS": "1",
        "SIGNAL_INTEGRATION": own.integration,
    }
    printed = printed_by("-c", program, folder=own.folder, **settings)
    assert (printed.status, own.queued()) == (0, 1)
    assert is_one_line(printed, "WARNING", "MAILGUN_API_KEYS")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"REDIS_URL redis://x", "line 1"),
        (b"\n# a\nLOG_LEVEL\n", "line 3: LOG_LEVEL has no ="),
        (b"\xef\xbb\xbfLOG_LEVEL=loud\n", "LOG_LEVEL"),
        (b"MAILGUN_LIST_ADRESS='x@y'", "MAILGUN_LIST_ADDRESS"),
        ("LOG_LEVEL=info".encode("utf-16"), "cannot be read"),
    ],
)
def test_wrong_env_file_is_refused_in_one_line(
    own: Bench, tmp_path: Path, text: bytes, word: str
) -> None:
    (tmp_path / ".env").write_bytes(text)
    printed = printed_by("-m", "worker", "preview", "-", folder=tmp_path)
    assert printed.status == 1
    assert is_one_line(printed, word)


def test_send_needs_no_mailgun_setting(own: Bench) -> None:
    printed = printed_by(
        "-m", "worker", "send", "-", given=lines(EVENT), folder=own.folder, REDIS_URL=own.server.url
    )
    assert printed.out == "1 enqueued on mailgun.default\n"


@pytest.mark.parametrize("name", ["missing.ndjson", "."])
def test_send_of_an_unreadable_file_fails_in_one_line(own: Bench, name: str) -> None:
    printed = own.run("send", name)
    assert printed.status == 1
    assert is_one_line(printed, name, "cannot be read")


def test_send_of_an_empty_file_enqueues_nothing(own: Bench) -> None:
    printed = own.run("send", "-", given="")
    assert (printed.status, printed.out) == (0, f"0 enqueued on {own.queue}\n")


def test_send_takes_a_big_file_a_hundred_events_a_message(own: Bench, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text(lines(*(identified(f"p{number}@example.com") for number in range(1300))))
    assert own.run("send", str(file)).out == f"1300 enqueued on {own.queue}\n"
    addresses = [each.args[0]["traits"]["email"] for each in own.queued_events()]
    assert (own.queued(), addresses) == (13, [f"p{number}@example.com" for number in range(1300)])


def test_send_survives_a_file_that_is_no_utf8(own: Bench, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(
        b"\xef\xbb\xbf" + lines(EVENT).encode() + b"\xff\xfe\n" + lines(EVENT).encode()
    )
    printed = own.run("send", str(file))
    assert (printed.status, len(own.queued_events())) == (1, 2)
    assert is_one_line(printed, "line 2")


def test_send_leaves_out_an_event_nested_too_deep_and_sends_the_rest(own: Bench) -> None:
    deep = json.dumps(EVENT).replace('"pro"', "[" * 700 + "]" * 700)
    printed = own.run("send", "-", given=lines(EVENT, deep, EVENT))
    assert (printed.status, len(own.queued_events())) == (1, 2)
    assert is_one_line(printed, "line 2")


def test_send_takes_a_byte_order_mark_from_standard_input_too(own: Bench) -> None:
    printed = own.run("send", "-", given="\ufeff" + lines(EVENT))
    assert (printed.status, own.queued()) == (0, 1)


# -- preview -------------------------------------------------------------------------------------------------------


def test_preview_prints_the_integrations_example_as_its_page_does(own: Bench) -> None:
    printed = own.run(
        "preview",
        "-",
        given=json.dumps(example.EVENT),
        MAILGUN_API_BASE_URL=None,
        MAILGUN_API_KEY=None,
    )
    assert (printed.status, printed.err) == (0, "")
    assert printed.out.strip() == f"{example.LINE}\n\n{example.FIELDS}"


def test_preview_without_any_setting_works_and_sends_nothing(own: Bench) -> None:
    printed = printed_by(
        "-m", "worker", "preview", "-", given=json.dumps(example.EVENT), folder=own.folder
    )
    assert printed.status == 0
    assert "<MAILGUN_LIST_ADDRESS>" in printed.out
    assert own.requests() == []


def test_preview_shows_the_outcome_of_each_line(own: Bench) -> None:
    given = lines(
        example.EVENT,
        "{broken",
        {"type": "page"},
        identified("not an address"),
        {"type": "track", "event": "Video Played"},
        5,
    )
    printed = own.run("preview", "--json", "-", given=given)
    assert printed.status == 0
    found = [json.loads(line) for line in printed.out.splitlines()]
    assert [next(key for key in each if key != "line") for each in found] == [
        "request",
        "bad_line",
        "skipped",
        "dead_letter",
        "skipped",
        "dead_letter",
    ]
    assert [each["line"] for each in found] == [1, 2, 3, 4, 5, 6]
    assert found[0]["form"]["address"] == JANE
    assert [each.get("skipped") for each in found] == [
        None,
        None,
        "no_email",
        None,
        "unmapped_event",
        None,
    ]


def test_preview_text_marks_events_without_a_request(own: Bench) -> None:
    printed = own.run("preview", "-", given=lines({"type": "page"}, identified("x y@z")))
    assert "# 1: skipped: no_email" in printed.out
    assert "# 2: dead letter: " in printed.out


def test_preview_shows_an_event_nested_too_deep_as_a_dead_letter(
    own: Bench,
) -> None:
    deep = json.dumps(EVENT).replace('"pro"', "[" * 700 + "]" * 700)
    printed = own.run("preview", "--json", "-", given=lines(EVENT, deep, EVENT))
    assert (printed.status, printed.err) == (0, "")
    shown = [json.loads(line) for line in printed.out.splitlines()]
    assert ["form" in each for each in shown] == [True, False, True]
    assert "dead_letter" in shown[1] or "bad_line" in shown[1]


def test_preview_prints_markup_and_odd_signs_as_they_are(own: Bench) -> None:
    printed = own.run(
        "preview", "-", given=lines(identified(JANE, name="[bold]Zoë[/] \\[x]", company="🦊" * 200))
    )
    assert "name=[bold]Zoë[/] \\[x]\n" in printed.out
    assert "🦊" * 200 in printed.out


# -- check ---------------------------------------------------------------------------------------------------------


def test_check_without_a_problem_ends_with_0(own: Bench) -> None:
    printed = own.run("check")
    assert (printed.status, printed.out.count("✓"), printed.out.count("✗")) == (0, 7, 0)
    assert own.members() == {}


def test_check_with_json_prints_each_result(own: Bench) -> None:
    found = json.loads(own.run("check", "--json").out)
    looked_at = (
        "Redis",
        "Redis eviction",
        "Redis memory",
        "Redis persistence",
        "Redis rights",
        "Preset",
        "Mailgun",
    )
    assert [(each["what"], each["ok"], each["fix"]) for each in found] == [
        (what, True, "") for what in looked_at
    ]


CHECKS: dict[str, tuple[dict[str, str | None], str, tuple[str, ...]]] = {
    "no Redis": ({"REDIS_URL": NOWHERE}, "Redis", ("REDIS_URL", "127.0.0.1:1")),
    "a wrong key": (
        {"MAILGUN_API_KEY": "wrong"},
        "Mailgun",
        ("401", "MAILGUN_API_KEY", "Private API key"),
    ),
    "no key": ({"MAILGUN_API_KEY": None}, "Mailgun", ("MAILGUN_API_KEY is not set",)),
    "a missing list": (
        {"MAILGUN_LIST_ADDRESS": "nobody@mg.example.com"},
        "Mailgun",
        ("404", "MAILGUN_LIST_ADDRESS"),
    ),
    "no list": ({"MAILGUN_LIST_ADDRESS": None}, "Mailgun", ("MAILGUN_LIST_ADDRESS is not set",)),
    "no server there": (
        {"MAILGUN_API_BASE_URL": "http://127.0.0.1:1"},
        "Mailgun",
        ("MAILGUN_API_BASE_URL",),
    ),
    "a missing preset": (
        {"MAILGUN_PRESET": "/missing.toml"},
        "Preset",
        ("/missing.toml", "cannot be read"),
    ),
}


@pytest.fixture(scope="module")
def checked(the_bench: Bench) -> dict[str, Printed]:
    """What `check` says of each."""
    return all_at_once(
        {name: partial(the_bench.run, "check", "--json", **CHECKS[name][0]) for name in CHECKS}
    )


@pytest.mark.parametrize("wrong", CHECKS)
def test_check_with_a_problem_names_it_with_its_fix_and_ends_with_1(
    checked: dict[str, Printed], wrong: str
) -> None:
    _, what, words = CHECKS[wrong]
    printed = checked[wrong]
    bad = [each for each in json.loads(printed.out) if not each["ok"]]
    assert (printed.status, [each["what"] for each in bad]) == (1, [what])
    assert all(word in bad[0]["found"] + bad[0]["fix"] for word in words)
    assert "wrong" not in printed.everything  # the key itself


def test_check_without_json_shows_the_fix(own: Bench) -> None:
    printed = own.run("check", MAILGUN_LIST_ADDRESS="nobody@mg.example.com")
    assert printed.status == 1
    assert "✗ Mailgun" in printed.out
    assert "→ Create the mailing list in Mailgun first" in printed.out
    assert "Traceback" not in printed.everything


# -- what is said where something is wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("send", "-"),
        ("dead-letters", "list"),
        ("dead-letters", "replay", "--yes"),
        ("dead-letters", "show", "x"),
    ],
)
def test_an_unreachable_redis_is_one_line(own: Bench, arguments: tuple[str, ...]) -> None:
    printed = own.run(*arguments, given=lines(EVENT), REDIS_URL="redis://user:s3cret@127.0.0.1:1/0")
    assert printed.status == 1
    assert is_one_line(printed, "redis://127.0.0.1:1/0", "does not answer")
    assert "s3cret" not in printed.everything


WRONG_SETTINGS: dict[str, dict[str, str | None]] = {
    "MAILGUN_API_KEY": {"MAILGUN_API_KEY": None},
    "MAILGUN_API_KEY_FILE": {"MAILGUN_API_KEY": None, "MAILGUN_API_KEY_FILE": "/missing"},
    "MAILGUN_LIST_ADDRESS": {"MAILGUN_LIST_ADDRESS": None},
    "MAILGUN_API_BASE_URL": {"MAILGUN_API_BASE_URL": "ftp://api.mailgun.net"},
    "MAILGUN_ALLOW_CUSTOM_HOST": {"MAILGUN_ALLOW_CUSTOM_HOST": None},
    "MAILGUN_PRESET": {"MAILGUN_PRESET": "/missing.toml"},
    "MAILGUN_WRITE_MODE": {"MAILGUN_WRITE_MODE": "sometimes"},
    "REDIS_URL": {"REDIS_URL": "http://127.0.0.1"},
    "SIGNAL_INTEGRATION": {"SIGNAL_INTEGRATION": "A B"},
    "VISIBILITY_TIMEOUT_SECONDS": {"VISIBILITY_TIMEOUT_SECONDS": "3"},
}


@pytest.fixture(scope="module")
def not_started(the_bench: Bench) -> dict[str, Printed]:
    """What a worker says of each."""
    return all_at_once(
        {name: partial(the_bench.run, "worker", **each) for name, each in WRONG_SETTINGS.items()}
    )


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_a_worker_with_a_wrong_setting_does_not_start_and_names_it(
    not_started: dict[str, Printed], name: str
) -> None:
    printed = not_started[name]
    assert printed.status == 1
    assert is_one_line(printed, name.partition(":")[0])


@pytest.mark.parametrize("name", ["MAILGUN_API_KEY", "REDIS_URL"])
def test_celerys_own_command_refuses_to_start_too(own: Bench, name: str) -> None:
    settings = {**own.environment(), **WRONG_SETTINGS[name]}
    given = {key: value for key, value in settings.items() if value is not None}
    printed = printed_by("-m", "celery", "-A", "worker.app", "worker", folder=own.folder, **given)
    assert printed.status == 1
    assert name in printed.err.strip().splitlines()[-1]
    assert "Traceback" not in printed.everything


def test_a_setting_comes_from_the_env_file_too(own: Bench, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"REDIS_URL={NOWHERE}\n")
    printed = printed_by("-m", "worker", "dead-letters", "list", folder=tmp_path)
    assert is_one_line(printed, "redis://127.0.0.1:1/0")


def test_api_key_from_a_file_is_accepted(own: Bench, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sandbox-key\n")
    printed = own.run("check", MAILGUN_API_KEY=None, MAILGUN_API_KEY_FILE=str(tmp_path / "key"))
    assert printed.status == 0


def test_sandbox_on_a_taken_port_fails_in_one_line(own: Bench) -> None:
    port = own.sandbox.base_url.rpartition(":")[2]
    printed = own.run("sandbox", f"--port={port}")
    assert printed.status == 1
    assert is_one_line(printed, port, "--port")


def test_sandbox_listens_on_loopback_alone_by_default(own: Bench) -> None:
    printed = own.run("sandbox", "--host=0.0.0.0", f"--port={free_port()}")
    assert printed.status == 1
    assert is_one_line(printed, "--allow-remote")


@pytest.mark.parametrize("name", ["a b", "*", "http://box", "box:8025", "\x1b[2J", ""])
def test_invalid_host_for_the_sandbox_is_refused_in_one_line(own: Bench, name: str) -> None:
    printed = own.run("sandbox", f"--allow-host={name}", f"--port={free_port()}")
    assert printed.status == 1
    assert is_one_line(printed, "--allow-host", "is not a host name")


@pytest.mark.parametrize("arguments", [("fly",), ("send",)])
def test_wrong_usage_ends_with_2(own: Bench, arguments: tuple[str, ...]) -> None:
    printed = own.run(*arguments)
    assert printed.status == 2
    assert "Traceback" not in printed.everything


def test_every_command_explains_itself(own: Bench) -> None:
    shown = own.run("--help").out
    assert all(
        name in shown
        for name in ("run", "worker", "send", "preview", "check", "dead-letters", "sandbox")
    )
