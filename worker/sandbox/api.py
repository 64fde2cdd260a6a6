"""Mailgun's mailing-list routes: a request becomes a reply.

Pure of the network and of faults, which are http.py's.
"""

from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from typing import Any
from uuid import uuid4

from worker.sandbox.lists import MailingList, put_member, upserted_member
from worker.sandbox.member_fields import (
    BAD_ADDRESS,
    MailgunError,
    MemberFields,
    is_upsert,
    named_address,
    read_entries,
    read_entry,
    read_form,
)
from worker.sandbox.pages import page_of
from worker.sandbox.request import PLAIN, Reply, Request, json_reply
from worker.sandbox.state import SandboxState

MAX_SYNCHRONOUS_BULK = 100  # Mailgun docs: more than 100 entries are applied asynchronously
MAX_BULK = 1000  # Mailgun docs: up to 1000 per call

FORBIDDEN = Reply(401, b"Forbidden", PLAIN, {"Www-Authenticate": 'Basic realm="MG API"'})
MAGNIFICENT = Reply(200, b"Mailgun Magnificent API", PLAIN)
NO_SUCH_PATH = Reply(404, b"404 page not found", PLAIN)
BULK_DONE = {"message": "Mailing list has been updated"}

Act = Callable[[SandboxState, Request, float], Reply]


def answer(state: SandboxState, request: Request, *, now: float) -> Reply:
    """Return Mailgun's reply and apply what the request changes.

    A wrong path is answered without a check of the key: `Mailgun Magnificent API` for a GET or
    HEAD, a 404 that is not JSON for any other method.
    """
    act = route(request)
    if act is None:
        return MAGNIFICENT if request.method in ("GET", "HEAD") else NO_SUCH_PATH
    if not state.authorizes(request.authorization):
        return forbidden(state)
    try:
        return act(state, request, now)
    except MailgunError as refused:
        return json_reply(refused.status, {"message": refused.message})


def route(request: Request) -> Act | None:
    """Return the function for this request, or None for a path that Mailgun does not have."""
    match (request.method, *request.segments):
        case ("POST", "v3", "lists", _, "members"):
            return post_member
        case ("POST", "v3", "lists", _, "members.json"):
            return post_members
        case ("GET", "v3", "lists", _):
            return get_list
        case ("GET", "v3", "lists", _, "members", "pages"):
            return get_page
        case (method, "v3", "lists", _, "members", _):
            return MEMBER_ROUTES.get(method)
        case _:
            return None


def forbidden(state: SandboxState) -> Reply:
    """Return the reply to a wrong key, as plain text.

    With status 403 it has no `Www-Authenticate` header.
    """
    status = state.switches.bad_key_status
    return FORBIDDEN if status == 401 else replace(FORBIDDEN, status=status, headers={})


def get_list(state: SandboxState, request: Request, _now: float) -> Reply:
    """Return the list, with the number of its members."""
    return json_reply(200, {"list": list_as_mailgun(_list_of(state, request))})


def get_page(state: SandboxState, request: Request, now: float) -> Reply:
    """Return one page of members, as old as `read_lag_seconds` tells."""
    path = request.path.partition("?")[0]
    shown = _list_of(state, request).as_of(now - state.switches.read_lag_seconds)
    return json_reply(200, page_of(shown, request.query, url=request.base_url + path))


def get_member(state: SandboxState, request: Request, now: float) -> Reply:
    """Return one member, as old as `read_lag_seconds` tells."""
    shown = _list_of(state, request).shown(
        _member_in(state, request), now - state.switches.read_lag_seconds
    )
    return json_reply(200, {"member": shown.as_mailgun()})


def post_member(state: SandboxState, request: Request, now: float) -> Reply:
    """Create a member, or with `upsert` update it.

    Both are answered with the same message: "Mailing list member has been created".
    """
    mailing_list = _list_of(state, request)
    fields = _accept(state, read_form(request.fields, state.switches))
    current = mailing_list.find(fields.address)
    if current and not is_upsert(request.fields):
        raise MailgunError(400, f"Address already exists '{fields.address}'")
    member = upserted_member(current, fields, state.switches, bulk=False, now=now)
    mailing_list.put(member)
    return _done("created", member.as_mailgun())


def put_one(state: SandboxState, request: Request, now: float) -> Reply:
    """Update the fields that the form has, the address too.

    A request without a form (no Content-Type) changes nothing and is answered with 200.
    """
    mailing_list = _list_of(state, request)
    current = mailing_list.member(_member_in(state, request))
    if request.form is None:
        return _done("updated", current.as_mailgun(), touched=0)
    form = read_form(request.form, state.switches, address=current.address)
    member = put_member(current, _accept(state, form), now=now)
    if member.address.lower() != current.address.lower():
        if mailing_list.find(member.address):
            raise MailgunError(400, f"Address already exists '{member.address}'")
        mailing_list.remove(current.address, now=now)
    mailing_list.put(member)
    return _done("updated", member.as_mailgun())


def delete_member(state: SandboxState, request: Request, now: float) -> Reply:
    """Remove a member from its list."""
    removed = _list_of(state, request).remove(_member_in(state, request), now=now)
    return _done("deleted", {"address": removed.address})


def post_members(state: SandboxState, request: Request, now: float) -> Reply:
    """Create or update many members with one request.

    Up to 100 entries are applied before the answer, unless the quirk `bulk_answer` is "task_id".
    More, up to 1000, are applied by a background job. The answer then has a `task-id`, but the
    sandbox has no route that shows the job.
    """
    mailing_list = _list_of(state, request)
    entries = read_entries(request.fields.get("members"))
    if len(entries) > MAX_BULK:
        raise MailgunError(400, f"'members' parameter has more than {MAX_BULK} entries")
    apply = partial(apply_entries, state, mailing_list, entries, upsert=is_upsert(request.fields))
    if len(entries) > MAX_SYNCHRONOUS_BULK or state.switches.bulk_answer == "task_id":
        accepted = json_reply(
            200, {"list": list_as_mailgun(mailing_list), **BULK_DONE, "task-id": uuid4().hex}
        )
        return replace(accepted, later=apply)
    touched = apply(now)
    if state.switches.bulk_answer == "message_only":
        return json_reply(200, BULK_DONE, touched=touched)
    shown: dict[str, Any] = {"list": list_as_mailgun(mailing_list)}
    if state.switches.bulk_answer == "list_and_task_id":
        shown["task-id"] = uuid4().hex
    return json_reply(200, {**shown, **BULK_DONE}, touched=touched)


def apply_entries(
    state: SandboxState,
    mailing_list: MailingList,
    entries: list[object],
    now: float,
    *,
    upsert: bool,
) -> int:
    """Apply the entries of a bulk request and return the number of members changed.

    Without `upsert`, members that exist are skipped (Mailgun docs). Entries are left out as the
    quirk `bulk_leaves_out` tells.
    """
    touched, each_so_many = 0, state.switches.bulk_leaves_out
    for number, fields in enumerate(_readable(state, entries), 1):
        if each_so_many and number % each_so_many == 0:
            continue
        current = mailing_list.find(fields.address)
        if current and not upsert:
            continue
        mailing_list.put(upserted_member(current, fields, state.switches, bulk=True, now=now))
        touched += 1
    return touched


def list_as_mailgun(mailing_list: MailingList) -> dict[str, Any]:
    """Return the list as Mailgun shows it."""
    return {
        "access_level": "readonly",
        "address": mailing_list.address,
        "created_at": formatdate(mailing_list.created_at, usegmt=True),
        "description": "",
        "members_count": len(mailing_list),
        "name": "",
        "reply_preference": "list",
    }


def _readable(state: SandboxState, entries: list[object]) -> list[MemberFields]:
    readable = []
    for entry in entries:
        try:
            readable.append(_accept(state, read_entry(entry, state.switches)))
        except MailgunError:
            if state.switches.bulk_bad_member != "skipped":
                raise
    return readable


def _accept(state: SandboxState, fields: MemberFields) -> MemberFields:
    if fields.address.lower() in state.refused:
        raise MailgunError(400, BAD_ADDRESS)
    return fields


def _list_of(state: SandboxState, request: Request) -> MailingList:
    return state.mailing_list(request.segments[2])


def _member_in(state: SandboxState, request: Request) -> str:
    given = request.segments[4]
    return given if _list_of(state, request).find(given) else named_address(given, state.switches)


def _done(what: str, member: dict[str, Any], *, touched: int = 1) -> Reply:
    content = {"member": member, "message": f"Mailing list member has been {what}"}
    return json_reply(200, content, touched=touched)


MEMBER_ROUTES: dict[str, Act] = {"GET": get_member, "PUT": put_one, "DELETE": delete_member}
