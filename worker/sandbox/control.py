"""The control routes under /sandbox/: they inspect the sandbox and change how it behaves.

The routes need no key, so they are for this machine only. The server refuses requests from pages of
other origins and requests that use an unknown host name.
"""

import json
import time
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import ConfigDict, Field, ValidationError, validate_call

from worker.sandbox.faults import ActiveFault, Fault, Limit, Throttle
from worker.sandbox.lists import MailingList, unsubscribed
from worker.sandbox.member_fields import MailgunError, is_address, read_entries
from worker.sandbox.quirks import Quirks
from worker.sandbox.request_log import Record, Unsubscribed
from worker.sandbox.state import MAX_LATENCY_MS, SandboxState
from worker.sandbox.stored_member import StoredMember

# Switch → its values, of those switches that have a fixed set of them.
CHOICES = {
    name: get_args(field.annotation)
    for name, field in Quirks.model_fields.items()
    if get_origin(field.annotation) is Literal
}
SHOWN_MEMBERS = 100
SHOWN_REQUESTS = 30
MAX_RECORDS = 10_000

Json = dict[str, Any]
Control = Callable[..., Json]


class BadInput(Exception):
    """A control request that cannot be carried out; the text is a one-line reason."""


async def control(state: SandboxState, request: web.BaseRequest) -> web.Response:
    """Answer one control request.

    Returns:
        200 with JSON; 400 or 404 with `{"error": one line}`.
    """
    path, _, query = request.raw_path.partition("?")
    act = CONTROLS.get((request.method, path))
    if act is None:
        return _json(404, {"error": f"there is no {request.method} {path}"})
    try:
        return _json(200, act(state, **read_input(query, await request.read())))
    except ValidationError as error:
        return _json(400, {"error": one_line(error)})
    except (BadInput, MailgunError) as error:
        return _json(400, {"error": str(error)})


def read_input(query: str, body: bytes) -> Json:
    """Return the fields of a control request: its query's and its JSON body's.

    Raises:
        BadInput: If the body is not a JSON object.
    """
    try:
        content = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise BadInput("the body is not JSON") from None
    if not isinstance(content, dict):
        raise BadInput("the body is not a JSON object")
    return dict(parse_qsl(query)) | content


def one_line(error: ValidationError) -> str:
    """Return the first validation error as one line, led by the field's name."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


def get_state(state: SandboxState, /, *, list: str | None = None) -> Json:
    """Return all that the page shows."""
    mailing_list = _list_named(state, list) if state.lists else None
    return {
        "now": time.time(),
        "started_at": state.started_at,
        "lists": [_list_as_json(each) for each in state.lists.values()],
        "list": None if mailing_list is None else mailing_list.address,
        "members": []
        if mailing_list is None
        else [_flat(member) for member in mailing_list.newest(SHOWN_MEMBERS)],
        "requests": [_summary(record) for record in state.log.newest(SHOWN_REQUESTS)],
        "events": [_flat(event) for event in [*state.log.events][-SHOWN_REQUESTS:]],
        "totals": state.log.totals(),
        "faults": [_fault_as_json(each) for each in state.faults.active],
        "refused": sorted(state.refused),
        "limit": state.throttle.limit.model_dump(),
        "switches": state.switches.model_dump(),
        "choices": CHOICES,
        "latency_ms": state.latency_ms,
    }


def get_members(state: SandboxState, /, *, list: str | None = None) -> Json:
    """Return all members of a list, oldest change first."""
    mailing_list = _list_named(state, list)
    return {"list": mailing_list.address, "members": [_flat(member) for member in mailing_list]}


def get_requests(
    state: SandboxState,
    /,
    *,
    since: Annotated[int, Field(ge=0)] = 0,
    limit: Annotated[int, Field(ge=1, le=MAX_RECORDS)] = 1000,
) -> Json:
    """Return logged requests, oldest first, and the last number given out."""
    records = state.log.since(since, limit)
    return {"requests": [_flat(record) for record in records], "last": state.log.last_seq}


def get_request(state: SandboxState, /, *, seq: Annotated[int, Field(ge=1)]) -> Json:
    """Return one logged request with its form and the beginning of its answer."""
    record = state.log.numbered(seq)
    if record is None:
        raise BadInput(f"request {seq} is not in the log any more")
    return _flat(record) | {"answer": record.answer.decode("utf-8", "replace")}


def get_events(state: SandboxState, /) -> Json:
    """Return the clicks on the unsubscribe link, oldest first."""
    return {"events": [_flat(event) for event in state.log.events]}


def post_fault(state: SandboxState, /, **given: Any) -> Json:
    """Add a fault and return it with its id."""
    return _fault_as_json(state.faults.add(Fault(**given)))


def delete_faults(state: SandboxState, /, *, id: int | None = None) -> Json:
    """Remove one fault, or all."""
    state.faults.clear(id)
    return {}


def post_refusals(state: SandboxState, /, *, addresses: tuple[str, ...]) -> Json:
    """Add addresses that Mailgun refuses as invalid."""
    state.refuse(addresses)
    return {"refused": sorted(state.refused)}


def delete_refusals(state: SandboxState, /) -> Json:
    """Accept the refused addresses again."""
    state.refused.clear()
    return {}


def post_limit(state: SandboxState, /, **given: Any) -> Json:
    """Set the rate limit and begin a new window."""
    state.throttle = Throttle(Limit(**given))
    return state.throttle.limit.model_dump()


def post_switches(state: SandboxState, /, **given: Any) -> Json:
    """Set the named switches and keep the others."""
    state.use_switches(Quirks(**(state.switches.model_dump() | given)))
    return state.switches.model_dump()


def post_latency(
    state: SandboxState, /, *, ms: Annotated[int, Field(ge=0, le=MAX_LATENCY_MS)]
) -> Json:
    """Set the delay of all replies."""
    state.latency_ms = ms
    return {"ms": ms}


def post_key(state: SandboxState, /, *, key: str) -> Json:
    """Replace all API keys by this one."""
    state.use_keys(key)
    return {}


def post_list(state: SandboxState, /, *, address: str) -> Json:
    """Add a mailing list; a list that exists keeps its members."""
    if not is_address(address):
        raise BadInput(f"{address!r} is not an e-mail address")
    state.add_list(address, now=time.time())
    return {"address": address}


def delete_list(state: SandboxState, /, *, address: str) -> Json:
    """Remove a mailing list and its members."""
    state.remove_list(address)
    return {}


def post_unsubscribe(state: SandboxState, /, *, address: str, list: str | None = None) -> Json:
    """Set `subscribed` to false, as Mailgun does when a recipient clicks the unsubscribe link.

    The click is logged as an event, not as a request.
    """
    now, mailing_list = time.time(), _list_named(state, list)
    member = unsubscribed(mailing_list.member(address), now=now)
    mailing_list.put(member)
    state.log.events.append(Unsubscribed(now, mailing_list.address, member.address))
    return _flat(member)


def post_reset(state: SandboxState, /) -> Json:
    """Restore the state in which the sandbox started."""
    state.reset(now=time.time())
    return {}


ROUTES: dict[tuple[str, str], Control] = {
    ("GET", "/sandbox/state"): get_state,
    ("GET", "/sandbox/members"): get_members,
    ("GET", "/sandbox/requests"): get_requests,
    ("GET", "/sandbox/request"): get_request,
    ("GET", "/sandbox/events"): get_events,
    ("POST", "/sandbox/faults"): post_fault,
    ("DELETE", "/sandbox/faults"): delete_faults,
    ("POST", "/sandbox/refusals"): post_refusals,
    ("DELETE", "/sandbox/refusals"): delete_refusals,
    ("POST", "/sandbox/limit"): post_limit,
    ("POST", "/sandbox/switches"): post_switches,
    ("POST", "/sandbox/latency"): post_latency,
    ("POST", "/sandbox/key"): post_key,
    ("POST", "/sandbox/lists"): post_list,
    ("DELETE", "/sandbox/lists"): delete_list,
    ("POST", "/sandbox/unsubscribe"): post_unsubscribe,
    ("POST", "/sandbox/reset"): post_reset,
}
# A field that a route does not take, or one of another type, is refused.
CONTROLS = {
    route: validate_call(config=ConfigDict(arbitrary_types_allowed=True))(act)
    for route, act in ROUTES.items()
}


def _list_named(state: SandboxState, address: str | None) -> MailingList:
    """Return the list with this address; None stands for the first list."""
    if address is not None:
        return state.mailing_list(address)
    try:
        return next(iter(state.lists.values()))
    except StopIteration:
        raise BadInput("the sandbox holds no list") from None


def _list_as_json(mailing_list: MailingList) -> Json:
    return {
        "address": mailing_list.address,
        "members": len(mailing_list),
        "subscribed": mailing_list.subscribed_count(),
    }


def _fault_as_json(active: ActiveFault) -> Json:
    return {"id": active.id, "met": active.met, "left": active.left} | active.fault.model_dump()


def _summary(record: Record) -> Json:
    shown = {name: value for name, value in _flat(record).items() if name != "form"}
    return shown | {
        "entries": _entry_count(record.form["members"]) if "members" in record.form else None
    }


@lru_cache(maxsize=2 * SHOWN_REQUESTS)  # the page requests the same records every second
def _entry_count(members: str) -> int | None:
    try:
        return len(read_entries(members))
    except MailgunError:
        return None


def _flat(value: StoredMember | Record | Unsubscribed) -> Json:
    """Return the fields of `value`; of a request, the answer is left out, as it may be long."""
    names = (field.name for field in fields(value))
    return {name: getattr(value, name) for name in names if name != "answer"}


def _json(status: int, content: Json) -> web.Response:
    return web.json_response(content, status=status)
