"""Mailgun's mailing-list routes: a request becomes a reply.

Pure of the network and of faults, which are http.py's.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from typing import Any
from uuid import uuid4

from worker.sandbox.lists import (
    BAD_ADDRESS,
    MailgunError,
    MailingList,
    MemberFields,
    is_upsert,
    named_address,
    put_member,
    read_entries,
    read_entry,
    read_form,
    upserted_member,
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


def answer(world: SandboxState, call: Request, *, now: float) -> Reply:
    """Return Mailgun's reply and apply what the request changes.

    A wrong path is answered without a check of the key: `Mailgun Magnificent API` for a GET or
    HEAD, a 404 that is not JSON for any other method.
    """
    act = route(call)
    if act is None:
        return MAGNIFICENT if call.method in ("GET", "HEAD") else NO_SUCH_PATH
    if not world.authorizes(call.authorization):
        return forbidden(world)
    try:
        return act(world, call, now)
    except MailgunError as refused:
        return json_reply(refused.status, {"message": refused.message})


def route(call: Request) -> Act | None:
    """Return the function for this request, or None for a path that Mailgun does not have."""
    match (call.method, *call.segments):
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


def forbidden(world: SandboxState) -> Reply:
    """Return the reply to a wrong key, as plain text.

    With status 403 it has no `Www-Authenticate` header.
    """
    status = world.switches.bad_key_status
    return (
        FORBIDDEN if status == FORBIDDEN.status else replace(FORBIDDEN, status=status, headers={})
    )


def get_list(world: SandboxState, call: Request, _now: float) -> Reply:
    """Return the list, with the number of its members."""
    return json_reply(200, {"list": list_as_mailgun(_list_of(world, call))})


def get_page(world: SandboxState, call: Request, now: float) -> Reply:
    """Return one page of members, as old as `read_lag_seconds` tells."""
    path = call.path.partition("?")[0]
    shown = _list_of(world, call).as_of(now - world.switches.read_lag_seconds)
    return json_reply(200, page_of(shown, call.query, url=call.base_url + path))


def get_member(world: SandboxState, call: Request, now: float) -> Reply:
    """Return one member, as old as `read_lag_seconds` tells."""
    shown = _list_of(world, call).shown(
        _member_in(world, call), now - world.switches.read_lag_seconds
    )
    return json_reply(200, {"member": shown.as_mailgun()})


def post_member(world: SandboxState, call: Request, now: float) -> Reply:
    """Create a member, or with `upsert` update it.

    Both are answered with the same message: "Mailing list member has been created".
    """
    mailing_list = _list_of(world, call)
    said = _taken(world, read_form(call.fields, world.switches))
    held = mailing_list.find(said.address)
    if held and not is_upsert(call.fields):
        raise MailgunError(400, f"Address already exists '{said.address}'")
    member = upserted_member(held, said, world.switches, bulk=False, now=now)
    mailing_list.put(member)
    content = {"member": member.as_mailgun(), "message": "Mailing list member has been created"}
    return json_reply(200, content, touched=1)


def put_one(world: SandboxState, call: Request, now: float) -> Reply:
    """Update the fields that the form has, the address too.

    A request without a form (no Content-Type) changes nothing and is answered with 200.
    """
    mailing_list = _list_of(world, call)
    held = mailing_list.member(_member_in(world, call))
    if call.form is None:
        return _updated(held.as_mailgun(), touched=0)
    member = put_member(
        held, _taken(world, read_form(call.form, world.switches, address=held.address)), now=now
    )
    if member.address.lower() != held.address.lower():
        if mailing_list.find(member.address):
            raise MailgunError(400, f"Address already exists '{member.address}'")
        mailing_list.remove(held.address, now=now)
    mailing_list.put(member)
    return _updated(member.as_mailgun(), touched=1)


def delete_member(world: SandboxState, call: Request, now: float) -> Reply:
    """Remove a member from its list."""
    removed = _list_of(world, call).remove(_member_in(world, call), now=now)
    content = {
        "member": {"address": removed.address},
        "message": "Mailing list member has been deleted",
    }
    return json_reply(200, content, touched=1)


def post_members(world: SandboxState, call: Request, now: float) -> Reply:
    """Create or update many members with one request.

    Up to 100 entries are applied before the answer, unless the quirk `bulk_answer` is "task_id".
    More, up to 1000, are applied by a background job. The answer then has a `task-id`, but the
    sandbox has no route that shows the job.
    """
    mailing_list = _list_of(world, call)
    entries = read_entries(call.fields.get("members"))
    if len(entries) > MAX_BULK:
        raise MailgunError(400, f"'members' parameter has more than {MAX_BULK} entries")
    apply = partial(apply_entries, world, mailing_list, entries, upsert=is_upsert(call.fields))
    if len(entries) > MAX_SYNCHRONOUS_BULK or world.switches.bulk_answer == "task_id":
        accepted = json_reply(
            200, {"list": list_as_mailgun(mailing_list), **BULK_DONE, "task-id": uuid4().hex}
        )
        return replace(accepted, later=apply)
    touched = apply(now)
    match world.switches.bulk_answer:
        case "message_only":
            shown: dict[str, Any] = {}
        case "list_and_task_id":
            shown = {"list": list_as_mailgun(mailing_list), "task-id": uuid4().hex}
        case _:
            shown = {"list": list_as_mailgun(mailing_list)}
    return json_reply(200, {**shown, **BULK_DONE}, touched=touched)


def apply_entries(
    world: SandboxState,
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
    touched, each_so_many = 0, world.switches.bulk_leaves_out
    for number, said in enumerate(_readable(world, entries), 1):
        if each_so_many and number % each_so_many == 0:
            continue
        held = mailing_list.find(said.address)
        if held and not upsert:
            continue
        mailing_list.put(upserted_member(held, said, world.switches, bulk=True, now=now))
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


def _readable(world: SandboxState, entries: list[object]) -> list[MemberFields]:
    def read() -> Iterator[MemberFields]:
        for entry in entries:
            try:
                yield _taken(world, read_entry(entry, world.switches))
            except MailgunError:
                if world.switches.bulk_bad_member != "skipped":
                    raise

    return list(read())


def _taken(world: SandboxState, said: MemberFields) -> MemberFields:
    if said.address.lower() in world.refused:
        raise MailgunError(400, BAD_ADDRESS)
    return said


def _list_of(world: SandboxState, call: Request) -> MailingList:
    return world.mailing_list(call.segments[2])


def _member_in(world: SandboxState, call: Request) -> str:
    given = call.segments[4]
    return given if _list_of(world, call).find(given) else named_address(given, world.switches)


def _updated(member: dict[str, Any], *, touched: int) -> Reply:
    return json_reply(
        200, {"member": member, "message": "Mailing list member has been updated"}, touched=touched
    )


MEMBER_ROUTES: dict[str, Act] = {"GET": get_member, "PUT": put_one, "DELETE": delete_member}
