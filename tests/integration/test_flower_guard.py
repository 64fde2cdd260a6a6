"""Flower without a login: programs on this machine may ask it, pages of other sites and strangers' names may not."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.flowers import flower_process
from tests.servers import RedisServer, free_port

PAGES = ("/", "/tasks", "/workers", "/broker", "/healthcheck", "/metrics", "/static/css/flower.css")
EVERYWHERE = (*PAGES, "/api/workers", "/api/tasks")
ACTS = (
    "/api/worker/shutdown/a",
    "/api/task/async-apply/signal.deliver",
    "/api/worker/pool/restart/a",
    "/tasks/datatable",
)
FORMS: tuple[dict[str, Any], ...] = (
    {"data": {"a": "b"}},
    {"json": {}},
    {"data": "{}", "headers": {"Content-Type": "text/plain"}},
)


def flower(server: RedisServer, folder: Path, **environment: str) -> AbstractContextManager[str]:
    """Run Flower, without a login unless the environment says so; yield its address."""
    return flower_process(free_port(), folder / "flower.log", REDIS_URL=server.url, **environment)


@pytest.fixture(scope="module")
def url(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Flower whose API is open to all."""
    with flower(
        server, tmp_path_factory.mktemp("flower"), FLOWER_UNAUTHENTICATED_API="true"
    ) as running:
        yield running


@pytest.mark.parametrize("path", EVERYWHERE)
def test_foreign_host_name_that_resolves_here_is_refused(url: str, path: str) -> None:
    assert requests.get(url + path, timeout=30).status_code in (200, 503)
    for host in ("evil.example", "evil.example:5555", "127.0.0.1.evil.example"):
        answer = requests.get(url + path, headers={"Host": host}, timeout=30)
        assert (answer.status_code, "FLOWER_BASIC_AUTH" in answer.text) == (403, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_page_of_another_site_stops_no_worker_and_reads_nothing(
    url: str, headers: dict[str, str]
) -> None:
    for path, form in product(ACTS, FORMS):
        sent = {**form, "headers": {**form.get("headers", {}), **headers}}
        assert requests.post(url + path, timeout=30, **sent).status_code == 403
    preflight = {**headers, "Access-Control-Request-Method": "POST"}
    assert (
        requests.options(f"{url}/api/worker/shutdown/a", headers=preflight, timeout=30).status_code
        == 403
    )
    for path in EVERYWHERE:
        assert requests.get(url + path, headers=headers, timeout=30).status_code == 403


def test_flower_allows_no_other_origin_and_no_frame(url: str) -> None:
    for path in ("/", "/tasks", "/api/workers"):
        answer = requests.get(url + path, timeout=30)
        assert [name for name in answer.headers if name.lower().startswith("access-control-")] == []
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"


def test_local_programs_and_flowers_own_pages_are_allowed(url: str) -> None:
    own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert requests.get(f"{url}/api/workers", timeout=30).status_code == 200
    assert requests.get(f"{url}/tasks", headers=link, timeout=30).status_code == 200
    for headers in ({}, own):
        answer = requests.post(f"{url}/api/worker/shutdown/a", headers=headers, timeout=30)
        assert (answer.status_code, "a" in answer.text) == (404, True)  # there is no such worker


def test_host_name_is_accepted_if_allowed_or_with_a_login(
    server: RedisServer, tmp_path: Path
) -> None:
    named = {"Host": "flower.example.com"}
    with flower(server, tmp_path, FLOWER_ALLOWED_HOSTS="other.example, Flower.Example.com") as url:
        assert requests.get(f"{url}/tasks", headers=named, timeout=30).status_code == 200
        assert (
            requests.get(f"{url}/tasks", headers={"Host": "evil.example"}, timeout=30).status_code
            == 403
        )
    with flower(server, tmp_path, FLOWER_BASIC_AUTH="ops:secret") as url:
        assert (
            requests.get(
                f"{url}/tasks", headers=named, auth=("ops", "secret"), timeout=30
            ).status_code
            == 200
        )
        assert requests.get(f"{url}/tasks", headers=named, timeout=30).status_code == 401
        elsewhere = {"Origin": "https://evil.example"}
        shutdown = f"{url}/api/worker/shutdown/a"
        assert (
            requests.post(
                shutdown, headers=elsewhere, auth=("ops", "secret"), timeout=30
            ).status_code
            == 403
        )
