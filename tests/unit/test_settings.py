"""Settings: their defaults, what is refused and how, and that no secret shows."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from worker.environment.names import SettingsError, warn_once
from worker.settings import Settings, load_settings

SECRET = "key-5ecret-0f-Jane"

# The design's list of settings. A default of None: nothing, or derived.
DEFAULTS: dict[str, Any] = {
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "SIGNAL_INTEGRATION": "default",
    "SIGNAL_DIGEST_KEY": None,
    "MAILGUN_API_KEY": None,
    "MAILGUN_API_KEY_FILE": None,
    "MAILGUN_API_BASE_URL": "https://api.mailgun.net",
    "MAILGUN_ALLOW_CUSTOM_HOST": False,
    "MAILGUN_LIST_ADDRESS": None,
    "MAILGUN_PRESET": None,
    "MAILGUN_WRITE_MODE": "merge",
    "MAILGUN_MEMBER_STATE": "read",
    "MAILGUN_MEMBER_CACHE_SECONDS": 10,
    "MAILGUN_OPT_OUT_REFRESH_SECONDS": 60,
    "MAILGUN_READ_LAG_SECONDS": 600,
    "MAILGUN_SUBSCRIBE_NEW": True,
    "MAILGUN_RESUBSCRIBE": False,
    "MAILGUN_CONNECT_TIMEOUT_SECONDS": 5,
    "MAILGUN_READ_TIMEOUT_SECONDS": 15,
    "MAILGUN_RATE_LIMIT": 0,
    "MAILGUN_BATCH_SIZE": 1,
    "MAILGUN_BATCH_LINGER_MS": 50,
    "RETRY_BASE_SECONDS": 4,
    "RETRY_MAX_DELAY_SECONDS": 3600,
    "RETRY_MAX_ATTEMPTS": 50,
    "RETRY_MAX_AGE_HOURS": 24,
    "INCIDENT_THRESHOLD": 5,
    "INCIDENT_REJECTED_THRESHOLD": 50,
    "INCIDENT_PROBE_SECONDS": 60,
    "LEDGER_DAYS": 30,
    "DEAD_LETTERS_MAX": 0,
    "DEAD_LETTERS_MAX_DAYS": 0,
    "MESSAGE_MAX_BYTES": 4_194_304,
    "MESSAGE_MAX_EVENTS": 10_000,
    "MESSAGE_MAX_RETURNS": 5,
    "ALERT_WEBHOOK_URL": None,
    "FLOWER_EVENT_VIEWERS": "all",
    "VISIBILITY_TIMEOUT_SECONDS": 120,
    "WORKER_CONCURRENCY": 64,
    "METRICS_PORT": 9808,
    "METRICS_HOST": "127.0.0.1",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "auto",
}
EXISTING = [name for name in DEFAULTS if name.lower() in Settings.model_fields]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def loaded(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Why these settings, and the key beside them, are refused: one line that holds no secret."""
    environment = {"MAILGUN_API_KEY": SECRET, "SIGNAL_DIGEST_KEY": SECRET, **environment}
    with pytest.raises(SettingsError) as caught:
        loaded(monkeypatch, **environment)
    told = str(caught.value)
    assert told.isprintable()
    assert SECRET not in told
    return told


@pytest.mark.parametrize("name", EXISTING)
def test_each_setting_has_the_default_of_the_design(name: str) -> None:
    found = getattr(load_settings(), name.lower())
    assert found == DEFAULTS[name]
    assert isinstance(found, bool) == isinstance(DEFAULTS[name], bool)


def test_every_setting_is_named_in_the_design() -> None:
    assert {name.upper() for name in Settings.model_fields} <= DEFAULTS.keys()


@pytest.mark.parametrize("name", EXISTING)
def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert getattr(loaded(monkeypatch, **{name: ""}), name.lower()) == DEFAULTS[name]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        (
            "REDIS_URL",
            "rediss://:pw@redis.example.com:6380/1",
            "rediss://:pw@redis.example.com:6380/1",
        ),
        (
            "REDIS_URL",
            "sentinel://a:26379;sentinel://b:26379/0?master_name=m",
            "sentinel://a:26379;sentinel://b:26379/0?master_name=m",
        ),
        ("SIGNAL_INTEGRATION", "eu-news_2", "eu-news_2"),
        ("MAILGUN_API_BASE_URL", "https://api.eu.mailgun.net", "https://api.eu.mailgun.net"),
        ("MAILGUN_API_BASE_URL", "https://api.mailgun.net/", "https://api.mailgun.net"),
        ("MAILGUN_LIST_ADDRESS", "newsletter@mg.example.com", "newsletter@mg.example.com"),
        ("MAILGUN_PRESET", "own.toml", Path("own.toml")),
        ("MAILGUN_WRITE_MODE", "overwrite", "overwrite"),
        ("MAILGUN_SUBSCRIBE_NEW", "false", False),
        ("MAILGUN_RESUBSCRIBE", "1", True),
        ("MAILGUN_CONNECT_TIMEOUT_SECONDS", "0.5", 0.5),
        ("RETRY_MAX_ATTEMPTS", "1", 1),
        ("MAILGUN_RATE_LIMIT", "0.5", 0.5),
        ("INCIDENT_THRESHOLD", "0", 0),
        ("INCIDENT_PROBE_SECONDS", "0.5", 0.5),
        ("LEDGER_DAYS", "365", 365),
        ("LOG_LEVEL", "WARNING", "warning"),
        ("LOG_FORMAT", "json", "json"),
    ],
)
def test_a_setting_is_read_from_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    assert getattr(loaded(monkeypatch, **{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("REDIS_URL", each)
            for each in (
                "127.0.0.1:6379",
                "http://127.0.0.1",
                "redis:",
                "redis://",
                f"amqp://:{SECRET}@host/0",
                f"redis://:{SECRET}@127.0.0.1:port/0",
                f"redis://:{SECRET}@127.0.0.1:99999/0",
                f"sentinel://:{SECRET}@a:26379;sentinel://b:port/0",
                f"redis://:{SECRET}@[::1",
            )
        ),
        *(
            ("SIGNAL_INTEGRATION", each)
            for each in ("Default", "a b", "a.b", "-a", "a" * 64, "a:b", "ä")
        ),
        *(
            ("MAILGUN_API_BASE_URL", each)
            for each in (
                "api.mailgun.net",
                "ftp://api.mailgun.net",
                "https://",
                "https://api.mailgun.net/v3",
                "https://api.mailgun.net?x=1",
                "https://api.mailgun.net#x",
                "http://api.mailgun.net",
                "https://api.mailgun.net.example.com",
                f"https://api:{SECRET}@api.mailgun.net",
                "http://127.0.0.1:8025",
            )
        ),
        *(
            ("MAILGUN_LIST_ADDRESS", each)
            for each in (
                "newsletter",
                "a@b@c",
                "news letter@x",
                "a/b@x",
                "a@x\n",
                "@",
                "@mg.example.com",
                "newsletter@",
            )
        ),
        *(
            ("ALERT_WEBHOOK_URL", each)
            for each in (
                f"hooks.example.com/{SECRET}",
                f"ftp://hooks.example.com/{SECRET}",
                f"https:///{SECRET}",
                f"https://hooks.example.com:{SECRET}/",
                f"https://hooks.example.com:0/{SECRET}",
                f"https://[hooks/{SECRET}",
                f"https://hooks.example.com/{SECRET} x",
                f"http://hooks.example.com/{SECRET}",
                f"HTTP://hooks.example.com/{SECRET}",
                f"http://hooks.example.com\\@127.0.0.1/{SECRET}",
            )
        ),
        *(("MAILGUN_WRITE_MODE", each) for each in ("append", "MERGE ")),
        *(("MAILGUN_ALLOW_CUSTOM_HOST", each) for each in ("maybe", "2")),
        *(("MAILGUN_SUBSCRIBE_NEW", each) for each in ("maybe", "none")),
        *(("MAILGUN_RESUBSCRIBE", each) for each in ("maybe", "none")),
        *(("MAILGUN_MEMBER_CACHE_SECONDS", each) for each in ("-1", "ten", "inf", "nan")),
        *(("MAILGUN_READ_LAG_SECONDS", each) for each in ("-1", "ten", "inf", "nan")),
        *(("MAILGUN_CONNECT_TIMEOUT_SECONDS", each) for each in ("0", "-1", "five", "inf", "nan")),
        *(("MAILGUN_READ_TIMEOUT_SECONDS", each) for each in ("0", "-1", "five", "inf", "nan")),
        *(("RETRY_BASE_SECONDS", each) for each in ("0", "-1", "four", "inf", "nan")),
        *(("RETRY_MAX_DELAY_SECONDS", each) for each in ("0", "-1", "4s", "inf", "nan")),
        *(("RETRY_MAX_ATTEMPTS", each) for each in ("0", "-1", "1.5", "many")),
        *(("RETRY_MAX_AGE_HOURS", each) for each in ("0", "-1", "day", "inf")),
        *(("MAILGUN_RATE_LIMIT", each) for each in ("-1", "fast", "inf", "nan")),
        *(("INCIDENT_THRESHOLD", each) for each in ("-1", "1.5", "few")),
        *(("INCIDENT_PROBE_SECONDS", each) for each in ("0", "-1", "minute", "inf", "nan")),
        *(("LEDGER_DAYS", each) for each in ("0", "-1", "month", "inf", "nan")),
        *(("VISIBILITY_TIMEOUT_SECONDS", each) for each in ("0", "-1", "x", "inf")),
        *(("WORKER_CONCURRENCY", each) for each in ("0", "-1", "1001", "1.5", "x")),
        *(("LOG_LEVEL", each) for each in ("loud", "trace", "20")),
        *(("LOG_FORMAT", each) for each in ("xml", "JSON lines")),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_without_any_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert name in refusal(monkeypatch, **{name: value})


def test_several_wrong_settings_are_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    told = refusal(monkeypatch, LOG_LEVEL="loud", RETRY_MAX_ATTEMPTS="0", SIGNAL_INTEGRATION="A B")
    assert all(name in told for name in ("LOG_LEVEL", "RETRY_MAX_ATTEMPTS", "SIGNAL_INTEGRATION"))


def test_a_custom_host_needs_to_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    host = "https://mailgun.example.com:8443/proxy"
    assert "MAILGUN_ALLOW_CUSTOM_HOST=true" in refusal(monkeypatch, MAILGUN_API_BASE_URL=host)
    settings = loaded(monkeypatch, MAILGUN_API_BASE_URL=host, MAILGUN_ALLOW_CUSTOM_HOST="true")
    assert settings.mailgun_api_base_url == host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.0.0.1:8025"])
def test_plain_http_is_allowed_on_loopback(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    url = f"http://{host}"
    assert (
        loaded(
            monkeypatch, MAILGUN_API_BASE_URL=url, MAILGUN_ALLOW_CUSTOM_HOST="true"
        ).mailgun_api_base_url
        == url
    )


@pytest.mark.parametrize(
    "host",
    [
        "mailgun.example.com",
        "api.mailgun.net",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "10.0.0.1",
    ],
)
def test_plain_http_is_refused_for_another_machine(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    told = refusal(
        monkeypatch, MAILGUN_API_BASE_URL=f"http://{host}", MAILGUN_ALLOW_CUSTOM_HOST="true"
    )
    assert "MAILGUN_API_BASE_URL" in told
    assert "https" in told


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://hooks.example.com/{}", "hooks.example.com"),
        (" HTTPS://user:{}@hooks.example.com:8443/?key={} ", "hooks.example.com:8443"),
        ("http://127.0.0.1:9000/{}", "127.0.0.1:9000"),
        ("http://[::1]/{}", "[::1]"),
    ],
)
def test_of_the_alert_webhook_only_the_host_shows(
    monkeypatch: pytest.MonkeyPatch, url: str, host: str
) -> None:
    settings = loaded(monkeypatch, ALERT_WEBHOOK_URL=url.replace("{}", SECRET))
    assert settings.alert_webhook_host == host
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()}"
    assert settings.alert_webhook_url
    assert SECRET in settings.alert_webhook_url.get_secret_value()


def test_retry_maximum_below_the_base_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told = refusal(monkeypatch, RETRY_BASE_SECONDS="10", RETRY_MAX_DELAY_SECONDS="9")
    assert "RETRY_MAX_DELAY_SECONDS" in told
    assert "RETRY_BASE_SECONDS" in told


def test_visibility_timeout_shorter_than_a_delivery_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    longest = load_settings().longest_delivery_seconds
    assert "VISIBILITY_TIMEOUT_SECONDS" in refusal(
        monkeypatch, VISIBILITY_TIMEOUT_SECONDS=str(longest)
    )
    assert "VISIBILITY_TIMEOUT_SECONDS" in refusal(
        monkeypatch, VISIBILITY_TIMEOUT_SECONDS="120", MAILGUN_READ_TIMEOUT_SECONDS="60"
    )


def test_ledger_that_expires_before_the_retry_window_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = refusal(monkeypatch, LEDGER_DAYS="0.9")
    assert "LEDGER_DAYS" in told
    assert "RETRY_MAX_AGE_HOURS" in told
    assert "LEDGER_DAYS" in refusal(monkeypatch, LEDGER_DAYS="30", RETRY_MAX_AGE_HOURS="721")
    assert loaded(monkeypatch, LEDGER_DAYS="30", RETRY_MAX_AGE_HOURS="720").ledger_days == 30


def test_member_cache_kept_longer_than_the_ledger_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = refusal(monkeypatch, LEDGER_DAYS="1", MAILGUN_MEMBER_CACHE_SECONDS="86401")
    assert "MAILGUN_MEMBER_CACHE_SECONDS" in told
    assert "LEDGER_DAYS" in told
    found = loaded(monkeypatch, LEDGER_DAYS="1", MAILGUN_MEMBER_CACHE_SECONDS="86400")
    assert found.mailgun_member_cache_seconds == 86_400


def test_read_lag_longer_than_the_ledger_is_kept_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = refusal(monkeypatch, LEDGER_DAYS="1", MAILGUN_READ_LAG_SECONDS="86401")
    assert "MAILGUN_READ_LAG_SECONDS" in told
    assert "LEDGER_DAYS" in told


@pytest.mark.parametrize(("size", "events"), [("1", 64), ("6", 64), ("7", 70), ("100", 1000)])
def test_events_in_hand_follow_the_batch_size(
    monkeypatch: pytest.MonkeyPatch, size: str, events: int
) -> None:
    settings = loaded(monkeypatch, MAILGUN_BATCH_SIZE=size)
    assert settings.worker_concurrency == events
    assert settings.most_in_hand == 4 * events
    monkeypatch.setenv("WORKER_CONCURRENCY", "200")
    assert load_settings().worker_concurrency == load_settings().most_in_hand == 200


def test_wrong_batch_size_is_the_only_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    told = refusal(monkeypatch, MAILGUN_BATCH_SIZE="x")
    assert told.startswith("MAILGUN_BATCH_SIZE")
    assert "WORKER_CONCURRENCY" not in told


def test_batch_larger_than_the_worker_concurrency_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = refusal(monkeypatch, MAILGUN_BATCH_SIZE="33", WORKER_CONCURRENCY="32")
    assert "MAILGUN_BATCH_SIZE" in told
    assert "WORKER_CONCURRENCY" in told
    assert (
        loaded(monkeypatch, MAILGUN_BATCH_SIZE="33", WORKER_CONCURRENCY="33").mailgun_batch_size
        == 33
    )


def test_trusted_ledger_in_a_mode_without_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = refusal(monkeypatch, MAILGUN_WRITE_MODE="overwrite", MAILGUN_MEMBER_STATE="ledger")
    assert "MAILGUN_MEMBER_STATE" in told
    assert "MAILGUN_WRITE_MODE" in told


def test_api_key_in_two_places_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told = refusal(monkeypatch, MAILGUN_API_KEY_FILE="key")
    assert "MAILGUN_API_KEY" in told
    assert "MAILGUN_API_KEY_FILE" in told


def test_the_key_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, MAILGUN_API_KEY=SECRET).mailgun_key == SecretStr(SECRET)


def test_the_key_comes_from_its_file_without_the_line_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    assert loaded(monkeypatch, MAILGUN_API_KEY_FILE="key").mailgun_key == SecretStr(SECRET)


def test_missing_api_key_error_names_the_variables() -> None:
    with pytest.raises(SettingsError, match=r"^MAILGUN_API_KEY is not set; .*MAILGUN_API_KEY_FILE"):
        _ = load_settings().mailgun_key


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "cannot be read: UnicodeDecodeError"),
    ],
)
def test_a_key_file_that_gives_no_key_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    settings = loaded(monkeypatch, MAILGUN_API_KEY_FILE="key")
    with pytest.raises(SettingsError) as caught:
        _ = settings.mailgun_key
    assert str(caught.value).startswith(f"MAILGUN_API_KEY_FILE {reason}")
    assert str(caught.value).isprintable()


def test_a_key_file_that_is_a_folder_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = loaded(monkeypatch, MAILGUN_API_KEY_FILE=str(tmp_path))
    with pytest.raises(
        SettingsError, match=r"^MAILGUN_API_KEY_FILE cannot be read: Is a directory$"
    ):
        _ = settings.mailgun_key


@pytest.mark.parametrize(
    "line",
    [
        "MAILGUN_ALLOW_CUSTOM_HOST=true",
        "mailgun_allow_custom_host=1",
        "export MAILGUN_ALLOW_CUSTOM_HOST='yes'",
    ],
)
def test_custom_host_permission_counts_only_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    (tmp_path / ".env").write_text(f"{line}\nLOG_LEVEL=debug\n")
    assert not load_settings().mailgun_allow_custom_host
    assert load_settings().log_level == "debug"
    host = "https://evil.example"
    assert "in the environment, not in .env" in refusal(monkeypatch, MAILGUN_API_BASE_URL=host)
    assert loaded(monkeypatch, MAILGUN_ALLOW_CUSTOM_HOST="true").mailgun_api_base_url == host


def test_ignored_line_in_the_env_file_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".env").write_text("MAILGUN_ALLOW_CUSTOM_HOST=false\n")
    warn_once.cache_clear()
    load_settings()
    assert "MAILGUN_ALLOW_CUSTOM_HOST in .env does not count" in caplog.text


def test_missing_list_address_error_shows_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SettingsError, match=r"^MAILGUN_LIST_ADDRESS is not set; .*newsletter@mg\.example\.com"
    ):
        _ = load_settings().list_address
    assert (
        loaded(monkeypatch, MAILGUN_LIST_ADDRESS="news@mg.example.com").list_address
        == "news@mg.example.com"
    )


def test_setting_in_the_environment_overrides_the_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        f"LOG_LEVEL=debug\nRETRY_MAX_ATTEMPTS=7\nMAILGUN_API_KEY={SECRET}\nOTHER=1\n"
    )
    settings = loaded(monkeypatch, RETRY_MAX_ATTEMPTS="9")
    assert (settings.log_level, settings.retry_max_attempts, settings.mailgun_key) == (
        "debug",
        9,
        SecretStr(SECRET),
    )


def test_a_wrong_setting_in_a_dot_env_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=loud\n")
    with pytest.raises(SettingsError, match="LOG_LEVEL"):
        load_settings()


def test_a_dot_env_file_that_is_not_utf_8_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"LOG_LEVEL=d\xe9bug\n")
    with pytest.raises(SettingsError, match=r"\.env"):
        load_settings()


@pytest.mark.parametrize("shown", [repr, str, lambda settings: str(settings.model_dump())])
def test_settings_shown_in_any_way_contain_no_key(
    monkeypatch: pytest.MonkeyPatch, shown: Any
) -> None:
    settings = loaded(monkeypatch, MAILGUN_API_KEY=SECRET, SIGNAL_DIGEST_KEY=SECRET)
    assert settings.mailgun_key.get_secret_value() == SECRET
    assert settings.digest_key == SECRET.encode()
    assert SECRET not in shown(settings)


def test_validation_error_behind_a_refusal_hides_the_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", f"amqp://:{SECRET}@127.0.0.1")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert SECRET not in f"{caught.value!r} {caught.value}"


def test_a_key_read_from_its_file_is_not_shown_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(SECRET)
    settings = loaded(monkeypatch, MAILGUN_API_KEY_FILE="key")
    assert settings.mailgun_key.get_secret_value() == SECRET
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {vars(settings)}"


def test_showing_the_settings_does_not_show_the_password_of_redis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = loaded(monkeypatch, REDIS_URL=f"redis://:{SECRET}@127.0.0.1/0")
    assert SECRET not in f"{settings!r} {settings}"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().log_level = "debug"  # type: ignore[misc]


def test_the_queue_is_named_after_the_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, SIGNAL_INTEGRATION="eu").queue == "mailgun.eu"


def test_integration_without_a_digest_key_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    default = load_settings().digest_key
    assert default == load_settings().digest_key
    assert default != loaded(monkeypatch, SIGNAL_INTEGRATION="eu").digest_key
