"""A worker is a Celery worker: Celery's own command starts it, its remote control answers, and integrations keep apart."""

from dataclasses import replace

from tests.integration.bench import Bench, Printed, identified, printed_by, until
from tests.servers import eventually

JANE = "jane@example.com"
CELERY = ("-m", "celery", "-A", "worker.app")


def celery(bench: Bench, *arguments: str) -> Printed:
    return printed_by(*CELERY, *arguments, folder=bench.folder, **bench.environment())


def test_celerys_own_command_is_a_worker_too(own: Bench) -> None:
    own.put(identified(JANE, plan="pro"))
    worker = own.worker(*CELERY, "worker").ready()
    assert own.member(JANE).vars == {"plan": "pro"}
    own.ended()
    assert worker.stop() == 0


def test_celerys_own_command_retries_buries_and_survives_a_kill(own: Bench) -> None:
    own.sandbox.control.add_fault("status", status=503, count=1, address=JANE)
    own.sandbox.control.add_fault("status", status=400, address="rex@example.com")
    own.put(identified(JANE), identified("rex@example.com"))
    with own.working(*CELERY, "worker", "--loglevel=INFO"):
        own.ended()
    assert list(own.members()) == [JANE]
    assert [each.letter.reason for each in own.letters()] == ["rejected"]


def test_remote_control_shows_the_dead_letter_queue_and_takes_no_event(bench: Bench) -> None:
    bench.sandbox.control.add_fault("status", status=400, address=JANE)
    bench.put(identified(JANE))
    bench.the_dead_letter()
    shown = celery(bench, "inspect", "active_queues", "--json")
    assert shown.status == 0
    assert '"mailgun.default"' in shown.out
    assert '"mailgun.default.dead_letter"' in shown.out
    assert len(bench.letters()) == 1


def test_inspecting_a_busy_worker_takes_no_event(own: Bench) -> None:
    own.sandbox.control.latency(20)
    people = [f"p{number}@example.com" for number in range(300)]
    with own.working():
        own.put(*(identified(each) for each in people))
        until(own.delivered, "a first member")
        for asked in ("active_queues", "stats"):
            assert celery(own, "inspect", asked).status == 0
        own.ended()
    assert set(own.members()) == set(people)
    assert len(own.posts()) == len(people)


def test_inspecting_a_missing_worker_takes_no_event(own: Bench) -> None:
    own.put(identified(JANE))
    assert (
        celery(
            own, "inspect", "active_queues", "--timeout=0.5", "--destination=nobody@nowhere"
        ).status
        != 0
    )
    assert own.queued() == 1


def test_a_workers_configuration_shows_no_secret(own: Bench) -> None:
    secret = "s3cret-key"
    own.sandbox.control.set_key(secret)
    with own.working(MAILGUN_API_KEY=secret):
        shown = celery(own, "inspect", "conf")
        report = celery(own, "report")
    assert "task_acks_late" in shown.out
    assert secret not in shown.everything + report.everything


def test_a_node_can_be_named_and_several_run_side_by_side(own: Bench) -> None:
    command = ("-m", "worker", "worker", "--concurrency=2", "--name")
    with own.working(*command, "one@%h"), own.working(*command, "two@%h"):
        own.put(identified(JANE))
        own.ended()
        shown = eventually(lambda: celery(own, "inspect", "ping").out)
    assert "one@" in shown
    assert "two@" in shown


def test_two_integrations_on_one_redis_do_not_touch_each_other(own: Bench) -> None:
    other = replace(own, integration=f"{own.integration}-other")
    own.sandbox.control.add_list("other@mg.example.com")
    own.sandbox.control.add_fault("status", status=400, address="rex@example.com")
    own.sandbox.control.add_fault("status", status=503, address="una@example.com")
    own.put(*(identified(each) for each in (JANE, "rex@example.com", "una@example.com")))
    with other.working(MAILGUN_LIST_ADDRESS="other@mg.example.com"):
        other.put(identified("sam@example.com"))
        other.ended()
        other.counted("delivered")
        assert own.queued() == 3
        with own.working():
            until(own.delayed, "a delayed event")
            own.counted("dead letter: rejected")
            own.counted("delivered")
            assert (len(other.letters()), other.delayed(), other.queued()) == (0, [], 0)
            other.put(identified("pat@example.com"))
            other.ended()
            until(own.delayed, "the delayed event, which may have been under way")
    lists = own.sandbox.control
    assert set(lists.members("other@mg.example.com")) == {"sam@example.com", "pat@example.com"}
    assert set(lists.members()) == {JANE}
    assert "dead letter: rejected" not in other.totals()
