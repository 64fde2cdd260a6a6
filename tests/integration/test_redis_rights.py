"""The users of docs/redis-rights.md, each with no right more: events go their whole way, and Redis notes no refusal."""

import json
import re
from collections.abc import Iterator

import pytest
import requests

from tests.integration.bench import Bench, identified, printed_by, until
from tests.integration.flowers import Flower, flower_of
from tests.integrations import delay_one
from tests.redis_rights import acl_rules
from worker.ops.redis_check.rights import WORKERS_USER, Who
from worker.queue.message import Message

# What a client is called is of no use but to people; INFO and CONFIG are of use, but not needed.
NOT_MISSED = {"client|setinfo", "info", "config|get"}


@pytest.fixture
def rights(own: Bench) -> Iterator[Bench]:
    """A bench on which a refusal can be seen."""
    own.redis.acl_log_reset()
    yield own
    own.redis.execute_command(
        "ACL", "DELUSER", *(each for each in own.redis.acl_users() if each != "default"), "none"
    )


def user(bench: Bench, *who: Who) -> str:
    """The address for a user of these rights, named after the first."""
    name = who[0].value.replace(" ", "-")
    rules = acl_rules(who, bench.integration).split()
    bench.redis.execute_command("ACL", "SETUSER", name, "reset", "on", ">pw", *rules)
    return bench.server.url.replace("redis://", f"redis://{name}:pw@")


def act_on_delayed(bench: Bench, flower: Flower, act: str) -> None:
    """Let Flower do it with all delayed events, of which there is one."""
    bench.delay_queue.redis.delete(bench.delay_queue.key)
    delay_one(
        bench.delay_queue, Message(id=f"m-{act}", args=({"type": "page"},), kind="page"), 3600
    )
    with requests.Session() as session:
        page = session.get(f"{flower.url}/retries", timeout=30).text
        token = re.search(r'name="_xsrf" value="([^"]+)"', page)
        assert token
        form = {"_xsrf": token[1], "act": f"{act}-all", "query": "", "rate": "1000"}
        job = session.post(f"{flower.url}/retries/jobs", data=form, timeout=30).url
        for state, path in (("ready", f"{job}/start"), ("done", f"{job}/progress")):
            progress = f"{job}/progress"
            until(lambda: session.get(progress, timeout=30).json()["state"] == state, state, 30)  # noqa: B023
            session.post(path, data=form, timeout=30)
    assert bench.delay_queue.count() == 0


def refused_commands(bench: Bench) -> list[tuple[str, str]]:
    """Return which users were refused which commands, but for what is asked only to say more, and goes without."""
    asked = [
        (each["username"], each["object"])
        for each in bench.redis.acl_log()
        if each["object"] not in NOT_MISSED
    ]
    return [
        each for each in asked if each != ("producer", "exists")
    ]  # `send`: has a worker ever served the queue


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"MAILGUN_MEMBER_STATE": "ledger", "MAILGUN_OPT_OUT_REFRESH_SECONDS": "1"},
        {"MAILGUN_BATCH_SIZE": "10"},
    ],
    ids=["default", "ledger", "batches"],
)
def test_a_worker_delivers_retries_and_buries_with_its_rights_alone(
    rights: Bench, settings: dict[str, str]
) -> None:
    url = user(rights, *WORKERS_USER)
    rights.sandbox.control.add_fault(address="no@example.com", kind="status", status=400)
    rights.sandbox.control.add_fault(
        address="later@example.com", kind="status", status=503, count=1
    )
    with rights.working(REDIS_URL=url, **settings):
        sent = rights.run(
            "send",
            "-",
            given=json.dumps(identified("p@example.com")),
            REDIS_URL=user(rights, Who.PRODUCER),
        )
        assert sent.status == 0
        rights.put(identified("no@example.com"), identified("later@example.com"))
        for address in ("p@example.com", "later@example.com"):
            rights.member(address)
        rights.the_dead_letter()
    assert refused_commands(rights) == []


def test_every_command_works_with_a_workers_rights(rights: Bench) -> None:
    url = user(rights, *WORKERS_USER)
    rights.sandbox.control.add_fault(address="no@example.com", kind="status", status=400)
    with rights.working(REDIS_URL=url):
        rights.put(identified("p@example.com"), identified("no@example.com"))
        rights.the_dead_letter()
    rights.put(identified("p@example.com"))
    for number in range(2):
        delay_one(rights.delay_queue, Message(id=f"m-{number}", args=({},)), 3600.0)
    for line in (
        "check",
        "status",
        "explain p@example.com",
        "tail --no-follow",
        "sync",
        "pause",
        "resume",
        "dead-letters list",
        "dead-letters replay --yes",
        "dead-letters purge --yes",
        "delayed list",
        "delayed retry --limit 1 --yes",
        "delayed bury --yes",
        "forget p@example.com --yes",
    ):
        ended = rights.run(*line.split(), REDIS_URL=url)
        assert (line, ended.status, "Redis" in ended.err) == (line, 0, False)
    assert refused_commands(rights) == []


def test_status_of_all_says_which_integration_the_user_may_not_read(rights: Bench) -> None:
    url = user(rights, *WORKERS_USER)
    rights.put(identified("p@example.com"))
    rights.put(identified("p@example.com"), integration="others")
    printed = rights.run("status", "--all", REDIS_URL=url)
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in printed.out.splitlines()}
    assert (printed.status, rows[rights.integration][0]) == (0, "1")
    assert rows["others"] == ["no right", *"------"]
    found = json.loads(rights.run("status", "--all", "--json", REDIS_URL=url).out)
    assert {"integration": "others", "refused": "no right"} in found


def test_another_celery_client_enqueues_with_its_rights_alone(rights: Bench) -> None:
    program = (
        "import celery, os; app = celery.Celery(broker=os.environ['REDIS_URL']);"
        f"app.send_task('signal.deliver', [{identified('c@example.com')!r}], queue={rights.queue!r}, priority=3)"
    )
    url = user(rights, Who.CELERY_CLIENT)
    assert printed_by("-c", program, folder=rights.folder, REDIS_URL=url).status == 0
    with rights.working(REDIS_URL=user(rights, *WORKERS_USER)):
        rights.member("c@example.com")
    assert refused_commands(rights) == []


def test_flower_shows_queue_and_dead_letters_with_its_rights_alone(rights: Bench) -> None:
    with (
        rights.working(
            SIGNAL_INTEGRATION="another"
        ),  # answers Flower as well, and Flower may not read its queue
        rights.working(REDIS_URL=user(rights, *WORKERS_USER)),
        flower_of(rights, REDIS_URL=user(rights, Who.FLOWER)) as flower,
    ):
        until(
            lambda: flower.knows_queue(f"{rights.queue}.dead_letter"),
            "the queue on Flower's Broker tab",
            60,
        )
        assert "mailgun.another" not in flower.page("/broker")
        rights.sandbox.control.add_fault(address="no@example.com", kind="status", status=400)
        rights.put(identified("no@example.com", name="No"))
        rights.the_dead_letter()
        letter = re.search(r'class="signal-id"><a href="([^"]+)"', flower.page("/dead-letters"))
        assert letter
        assert "sent to Mailgun" in flower.page(letter[1])
        delay_one(
            rights.delay_queue, Message(id="m-late", args=({"type": "page"},), kind="page"), 3600
        )
        event = re.search(r'class="signal-id"><a href="([^"]+)"', flower.page("/retries"))
        assert event
        assert "Next try" in flower.page(event[1])
        for act in ("retry", "bury", "purge"):
            act_on_delayed(rights, flower, act)
    of_others = [
        each
        for each in refused_commands(rights)
        if each[1].startswith("mailgun.") and rights.queue not in each[1]
    ]
    assert ("Flower", "mailgun.another") in of_others
    assert set(refused_commands(rights)) == set(of_others)
