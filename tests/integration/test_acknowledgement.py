"""Workers that are killed, or told to stop, at any moment: every event ends at Mailgun, whoever held it."""

from tests.integration.bench import IMPATIENT, Bench, identified, until

PEOPLE = 1500


def people(count: int) -> list[str]:
    return [f"p{number}@example.com" for number in range(count)]


def test_workers_killed_repeatedly_under_load_lose_no_event(own: Bench) -> None:
    own.sandbox.control.latency(5)
    own.put(*(identified(each, plan="pro") for each in people(PEOPLE)))
    for enough in (100, 400, 700):
        worker = own.worker(**IMPATIENT).ready()
        until(lambda enough=enough: own.delivered() >= enough, f"{enough} members", 120)  # type: ignore[misc]
        worker.kill()
    with own.working(**IMPATIENT):
        own.ended(120)
    assert set(own.members()) == set(people(PEOPLE))
    assert own.letters() == []


def test_worker_killed_amid_deliveries_delays_and_burials_loses_no_event(own: Bench) -> None:
    own.sandbox.control.add_fault("hang", seconds=60, count=5, method="POST")
    own.sandbox.control.add_fault("status", status=503, share=0.1)
    own.sandbox.control.add_fault("status", status=400, share=0.3)
    own.put(*(identified(each) for each in people(150)))
    worker = own.worker(**IMPATIENT).ready()
    seen = {"hang", "400", "503", "200"}
    until(lambda: seen <= set(own.sandbox.control.totals()["by_status"]), "every way to end")
    worker.kill()
    own.sandbox.control.clear_faults()
    with own.working(**IMPATIENT):
        own.ended(120)
    buried = {each.message.args[0]["traits"]["email"] for each in own.letters()}
    assert buried | set(own.members()) == set(people(150))


def test_worker_stopped_while_busy_ends_by_itself_and_loses_no_event(own: Bench) -> None:
    own.sandbox.control.latency(50)
    own.put(*(identified(each) for each in people(400)))
    worker = own.worker().ready()
    until(lambda: own.delivered() >= 20, "20 members")
    assert worker.stop() == 0
    under_way = own.queued() + own.delay_queue.count()
    assert own.unacknowledged() == 0
    assert len(own.members()) + under_way >= 400
    own.sandbox.control.latency(0)
    with own.working():
        own.ended()
    assert set(own.members()) == set(people(400))


def test_worker_stopped_during_a_request_finishes_it(own: Bench) -> None:
    own.sandbox.control.add_fault("latency", ms=1500, method="POST", count=1)
    worker = own.worker().ready()
    own.put(identified("slow@example.com"))
    until(lambda: own.posts("slow@example.com"), "a request under way")
    assert worker.stop() == 0
    assert (own.queued(), own.unacknowledged(), own.delay_queue.count()) == (0, 0, 0)
    assert list(own.members()) == ["slow@example.com"]
    assert len(own.posts()) == 1


def test_workers_that_share_a_queue_deliver_each_event_once(own: Bench) -> None:
    own.sandbox.control.latency(5)
    with own.working() as one, own.working() as another:
        own.put(*(identified(each) for each in people(400)))
        own.ended()
        assert len(own.posts()) == len(own.members()) == 400
        assert all("delivered" in each.printed() for each in (one, another))
