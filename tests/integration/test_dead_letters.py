"""What Mailgun refuses, and what is no event: each one dead letter, whole, with what to do about it, and nothing lost."""

import json
from typing import Any

import pytest
from celery import Celery

from tests.integration.bench import KEY, Bench, identified
from tests.workers import RunningWorker
from worker.queue.codec import encode
from worker.queue.message import Message

JANE = "jane@example.com"
EVENT = {
    **identified(JANE, name="Jane Doe", plan="pro"),
    "messageId": "m-1",
    "anonymousId": "a1",
    "context": {"ip": "203.0.113.7", "nested": [{"as": None}, 1.5, "ü"]},
}

# status, what Mailgun says -> reason, and cause and fix from the integration's page, "Troubleshooting"
REFUSALS = {
    400: (
        {"message": "The 'address' parameter should be a valid email address"},
        "rejected",
        "Missing or malformed email",
        "Ensure events carry $traits.email; anonymous events have no address to upsert.",
    ),
    401: (
        {"body": "plain", "message": "Forbidden"},
        "unauthorized",
        "Wrong key, wrong username, or wrong region",
        "Confirm the key is the Private key, the Base URL matches the key's region (US vs EU).",
    ),
    403: (
        {"body": "plain", "message": "Forbidden"},
        "unauthorized",
        "Wrong key, wrong username, or wrong region",
        "Confirm the key is the Private key, the Base URL matches the key's region (US vs EU).",
    ),
    404: (
        {"message": "Mailing list newsletter@mg.example.com not found"},
        "list_not_found",
        "List does not exist, or wrong Base URL",
        "Create the mailing list in Mailgun first; verify the Mailing List Address and region host.",
    ),
}


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused_event_is_one_dead_letter_with_cause_and_fix(
    bench: Bench, method: str, status: int
) -> None:
    says, reason, cause, fix = REFUSALS[status]
    bench.sandbox.control.add_fault("status", status=status, method=method, address=JANE, **says)
    bench.put(EVENT)
    bench.the_dead_letter()
    [headers] = bench.dead_letter_headers()
    letter = headers["dead_letter"]
    first_seen, died_at = letter.pop("first_seen"), letter.pop("died_at")
    assert 0 <= died_at - first_seen < 3600
    assert letter == {
        "reason": reason,
        "status": status,
        "answer": says["message"],
        "cause": cause,
        "fix": fix,
        "attempts": 1,
        "integration": "default",
    }


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 405, 409, 413, 418, 451])
def test_undocumented_status_is_a_dead_letter_without_a_retry(bench: Bench, status: int) -> None:
    headers = {"Location": f"{bench.sandbox.base_url}/v3/elsewhere"}
    bench.sandbox.control.add_fault("status", status=status, address=JANE, headers=headers)
    bench.put(EVENT)
    buried = bench.the_dead_letter()
    assert (buried.letter.reason, buried.letter.status) == ("unexpected_status", status)
    assert buried.letter.cause
    assert buried.letter.fix
    assert [each.status for each in bench.requests(JANE)] == [
        status
    ]  # and no redirect was followed


@pytest.mark.parametrize("status", [400, 404, 418])
def test_a_refused_event_is_kept_whole_under_its_own_id(bench: Bench, status: int) -> None:
    bench.sandbox.control.add_fault("status", status=status, address=JANE)
    bench.put(EVENT)
    buried = bench.the_dead_letter()
    assert buried.message.id == "m-1"
    assert json.dumps(buried.message.args) == json.dumps([EVENT])


def test_wrong_api_key_buries_the_event_as_unauthorized(own: Bench) -> None:
    with own.working(MAILGUN_API_KEY="wrong-key"):
        own.put(EVENT)
        buried = own.the_dead_letter()
    assert (buried.letter.reason, buried.letter.status, buried.letter.answer) == (
        "unauthorized",
        401,
        "Forbidden",
    )


def test_missing_list_is_a_dead_letter_unlike_a_missing_member(bench: Bench) -> None:
    bench.sandbox.control.remove_list("newsletter@mg.example.com")
    bench.put(EVENT)
    buried = bench.the_dead_letter()
    assert (buried.letter.reason, buried.letter.status) == ("list_not_found", 404)
    assert "not found" in buried.letter.answer


def test_long_answer_in_a_dead_letter_is_cut(bench: Bench) -> None:
    bench.sandbox.control.add_fault(
        "status", status=400, address=JANE, body="plain", message="x" * 100_000
    )
    bench.put(EVENT)
    assert len(bench.the_dead_letter().letter.answer) == 2048


def test_refused_event_does_not_delay_other_members(bench: Bench) -> None:
    bench.sandbox.control.add_fault("status", status=400, address="p3@example.com")
    bench.put(*(identified(f"p{number}@example.com") for number in range(8)))
    bench.ended()
    assert set(bench.members()) == {f"p{number}@example.com" for number in range(8)} - {
        "p3@example.com"
    }
    assert [each.message.args[0]["traits"]["email"] for each in bench.letters()] == [
        "p3@example.com"
    ]


# -- what is no event, or has no address ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "email", ["not an address", "a@b@c", "@b.c", "a@", "a b@c.d", "x@y/z", "a" * 320 + "@b.c", 5]
)
def test_invalid_address_is_a_dead_letter_without_a_request(bench: Bench, email: object) -> None:
    bench.put({"type": "identify", "traits": {"email": email}})
    buried = bench.the_dead_letter()
    assert (buried.letter.reason, buried.letter.status) == ("malformed_email", None)
    assert bench.requests() == []


def sent(*args: Any, id: str = "m-2", **kwargs: Any) -> str:
    """A message with these arguments, as it lies on Redis."""
    return encode(Message(id=id, args=args, kwargs=kwargs), "mailgun.default")


@pytest.mark.parametrize(
    "event",
    [
        None,
        True,
        5,
        "an event",
        [],
        ["an event"],
        {},
        {"type": None},
        {"type": " "},
        {"event": "Signed Up"},
    ],
)
def test_malformed_event_is_a_dead_letter_without_a_request(bench: Bench, event: object) -> None:
    bench.put_raw(sent(event))
    buried = bench.the_dead_letter()
    assert (buried.letter.reason, buried.letter.status, buried.letter.attempts) == (
        "malformed_event",
        None,
        0,
    )
    assert (buried.message.id, buried.message.args) == ("m-2", (event,))
    assert bench.requests() == []


@pytest.mark.parametrize(
    "raw", [sent(), sent(EVENT, EVENT), sent(EVENT, more=1), sent(events=EVENT)]
)
def test_a_task_with_other_arguments_is_a_dead_letter_with_all_of_them(
    bench: Bench, raw: str
) -> None:
    bench.put_raw(raw)
    buried = bench.the_dead_letter()
    given = json.loads(json.dumps([list(buried.message.args), dict(buried.message.kwargs)]))
    assert buried.letter.reason == "malformed_event"
    assert sent(*given[0], **given[1]) == raw


def altered(**parts: Any) -> str:
    """A good message with these parts of its envelope replaced."""
    return json.dumps({**json.loads(sent(EVENT)), **parts})


HEADERS = json.loads(sent(EVENT))["headers"]

GARBAGE = {
    "nothing": ("", "unreadable_message"),
    "a word": ("hello", "unreadable_message"),
    "a number": ("5", "unreadable_message"),
    "null": ("null", "unreadable_message"),
    "half a message": (sent(EVENT)[:200], "unreadable_message"),
    "an array": ("[1, 2]", "unreadable_message"),
    "an object": ('{"type": "identify"}', "unreadable_message"),
    "an event without an envelope": (json.dumps(EVENT), "unreadable_message"),
    "a control character": ("\x00\x01", "unreadable_message"),
    "deep nesting": ("[" * 50_000, "unreadable_message"),
    "another task's name": (altered(headers={**HEADERS, "task": "tasks.add"}), "unknown_task"),
    "no task's name": (
        altered(headers={k: v for k, v in HEADERS.items() if k != "task"}),
        "unknown_task",
    ),
    "headers of another kind": (altered(headers=[]), "unknown_task"),
    "no headers": (altered(headers=None), "unknown_task"),
    "a body that is no base64": (altered(body="%%%"), "unreadable_message"),
    "a body that is no JSON": (altered(body="e30x"), "unreadable_message"),
    "no body": (altered(body=None), "unreadable_message"),
    "a pickle": (
        altered(**{"content-type": "application/x-python-serialize"}),
        "unsupported_encoding",
    ),
    "another encoding of the body": (
        altered(properties={"body_encoding": "rot13"}),
        "unsupported_encoding",
    ),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_on_the_queue_is_a_dead_letter_with_its_text(bench: Bench, what: str) -> None:
    raw, reason = GARBAGE[what]
    bench.put_raw(raw)
    buried = bench.the_dead_letter()
    assert (buried.letter.reason, buried.message.original) == (reason, raw)
    assert bench.requests() == []


def test_events_between_garbage_are_delivered(bench: Bench) -> None:
    for number, (raw, _) in enumerate(GARBAGE.values()):
        bench.put_raw(raw)
        bench.put(identified(f"p{number}@example.com"))
    bench.ended()
    assert len(bench.members()) == len(bench.letters()) == len(GARBAGE)


# Headers as a client in another language, or a hasty one, might write them.
ODD_HEADERS: dict[str, dict[str, Any]] = {
    "only what is needed": {},
    "a time as text": {"signal": {"enqueued_at": "2024-05-01T12:00:00Z"}},
    "counts as text": {"signal": {"attempts": "two", "throttled": []}},
    "a trail of another shape": {"signal": {"trail": [[1], "x", {"a": 1}]}},
    "a time far ahead": {"signal": {"enqueued_at": 1e18}},
    "progress that is no object": {"signal": ["x"]},
    "retries as text": {"retries": "many"},
    "retries below zero": {"retries": -1},
    "a past expiry": {"expires": "2020-01-01T00:00:00+00:00"},
    "an expiry that is no time": {"expires": "soon"},
    "an ETA that is no time": {"eta": "soon"},
    "time limits of another shape": {"timelimit": "x"},
    "a time limit": {"timelimit": [0.001, 0.001]},
    "stamps of another shape": {"stamps": 5, "stamped_headers": "x"},
    "a group and a shadow": {"group": "g", "shadow": "other.name", "root_id": 5, "parent_id": []},
    "arguments for show that are none": {"argsrepr": {"a": 1}, "kwargsrepr": 5},
    "another language": {"lang": "js", "origin": None, "ignore_result": "no"},
}


@pytest.mark.parametrize("what", ODD_HEADERS)
def test_odd_headers_lose_no_event(bench: Bench, what: str) -> None:
    headers = {"task": "signal.deliver", "id": "m-3", **ODD_HEADERS[what]}
    bench.put_raw(altered(headers=headers))
    assert bench.member(JANE).vars == {"plan": "pro", "anonymous_id": "a1"}
    bench.ended()
    assert bench.letters() == []


@pytest.mark.parametrize(
    "parts",
    [
        {"properties": {"body_encoding": "base64"}},
        {
            "properties": {
                "body_encoding": "base64",
                "delivery_info": None,
                "delivery_tag": None,
                "priority": "high",
            }
        },
        {"content-encoding": None},
        {"properties": {}, "body": json.dumps([[EVENT], {}, {}])},
        {
            "properties": {},
            "body": json.dumps([[EVENT], {}, {"callbacks": "x", "chord": 5, "chain": [1]}]),
        },
    ],
    ids=["bare properties", "odd properties", "no encoding", "a plain body", "odd callbacks"],
)
def test_an_odd_envelope_loses_no_event(bench: Bench, parts: dict[str, Any]) -> None:
    bench.put_raw(altered(**parts))
    assert bench.member(JANE).vars == {"plan": "pro", "anonymous_id": "a1"}
    bench.ended()
    assert bench.letters() == []


@pytest.mark.parametrize("depth", [50, 99, 150, 400, 900, 990, 5000])
def test_event_nested_to_any_depth_is_delivered_or_a_dead_letter(bench: Bench, depth: int) -> None:
    body = json.dumps([[EVENT], {}, {}]).replace('"pro"', "[" * depth + "]" * depth)
    bench.put_raw(altered(properties={}, body=body))
    bench.ended()
    assert len(bench.members()) + len(bench.letters()) == 1


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "9" * 5000])
def test_number_beyond_python_or_json_is_delivered_or_a_dead_letter(
    bench: Bench, number: str
) -> None:
    body = json.dumps([[EVENT], {}, {}]).replace('"pro"', number)
    bench.put_raw(altered(properties={}, body=body))
    bench.ended()
    assert len(bench.members()) + len(bench.letters()) == 1


def test_a_message_of_celerys_first_protocol_is_delivered(bench: Bench) -> None:
    body = json.dumps(
        {"task": "signal.deliver", "id": "m-4", "args": [EVENT], "kwargs": {}, "retries": 0}
    )
    envelope = {
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
    }
    bench.put_raw(
        json.dumps({**envelope, "properties": {"delivery_info": {}, "delivery_tag": "x"}})
    )
    assert bench.member(JANE).vars == {"plan": "pro", "anonymous_id": "a1"}


@pytest.mark.parametrize("priority", [0, 3, 5, 9, 255])
def test_a_message_with_a_priority_is_delivered(bench: Bench, priority: int) -> None:
    client = Celery(broker=bench.server.url)
    client.send_task("signal.deliver", [EVENT], queue="mailgun.default", priority=priority)
    assert bench.member(JANE).vars == {"plan": "pro", "anonymous_id": "a1"}
    bench.ended()


# -- what is not shown -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["info", "debug"])
def test_worker_output_contains_no_personal_data_and_no_key(own: Bench, level: str) -> None:
    secrets = [
        "peter.pan",
        "neverland",
        "Pan-Hook",
        "tinkerbell",
        "198.51.100.9",
        KEY,
        "hidden-key",
    ]
    person = {
        **identified("peter.pan@neverland.example", name="Peter Pan-Hook", company="tinkerbell"),
        "context": {"ip": "198.51.100.9"},
    }
    address = person["traits"]["email"]
    own.sandbox.control.set_key("hidden-key")
    faults: list[dict[str, Any]] = [
        {"kind": "status", "status": 400, "message": f"'{address}' is no address"},
        {"kind": "status", "status": 401, "message": f"no access for {address}"},
        {
            "kind": "status",
            "status": 404,
            "message": f"Member {address} is nowhere",
            "method": "POST",
        },
        {"kind": "status", "status": 418, "message": f"<{address}>"},
        {"kind": "status", "status": 503, "message": f"{address} later"},
        {"kind": "reset"},
        {"kind": "magnificent"},
        {"kind": "other_member", "other_address": f"x.{address}"},
    ]
    with own.working(MAILGUN_API_KEY="hidden-key", LOG_LEVEL=level) as running:
        for number, fault in enumerate(faults):
            own.sandbox.control.add_fault(**fault, count=1, address=f"{number}.{address}")
            own.put({**person, "traits": {**person["traits"], "email": f"{number}.{address}"}})
        own.put_raw(sent(person, person), sent(address), sent({**person, "type": address}), address)
        own.put_raw(altered(headers={**HEADERS, "argsrepr": json.dumps(person), "signal": None}))
        own.put({**person, "traits": {**person["traits"], "email": f"{address} {address}"}})
        Celery(broker=own.server.url).send_task("signal.deliver", [person], queue=own.queue)
        own.ended()
        assert address in own.members()
    assert [secret for secret in secrets if secret.lower() in running.printed().lower()] == []


def test_a_shared_workers_output_has_no_traceback(bench: Bench, worker: RunningWorker) -> None:
    bench.put_raw(*(raw for raw, _ in GARBAGE.values()))
    bench.ended()
    assert "Traceback" not in worker.printed()
