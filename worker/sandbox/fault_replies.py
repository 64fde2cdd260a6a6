"""Replies of faults and of the rate limit, which Mailgun's rules do not produce. Pure."""

from dataclasses import replace
from http import HTTPStatus
from typing import Literal, assert_never

from worker.sandbox.api import MAGNIFICENT
from worker.sandbox.faults import Fault
from worker.sandbox.request import HTML, PLAIN, Reply, Request, json_reply
from worker.sandbox.retry_hints import HintKind, hint

OTHER_NAME = "Other Member"  # of the member in a reply about another one
ReplyFault = Literal["status", "html_502", "magnificent", "other_member"]


def throttled(status: int, kind: HintKind, seconds: float, *, now: float) -> Reply:
    """Return the reply to a request over the rate limit, which hints to wait for `seconds`.

    Mailgun docs: `{"message": "Too Many Requests"}`.
    """
    hinted = hint(kind, seconds, now=now)
    reply = json_reply(status, {"message": "Too Many Requests", **hinted.body})
    return replace(reply, headers=hinted.headers, wait_until=hinted.until)


def fault_reply(fault: Fault, kind: ReplyFault, *, now: float) -> Reply:
    """Return the reply that a fault of this kind sends in place of Mailgun's."""
    hinted = hint(fault.hint, fault.wait_seconds, now=now)
    match kind:
        case "status":
            reply = status_reply(fault, hinted.body)
        case "html_502":
            reply = BAD_GATEWAY
        case "magnificent":
            reply = MAGNIFICENT
        case "other_member":
            reply = about_another_member(fault.other_address)
        case _:
            assert_never(kind)
    headers = reply.headers | hinted.headers | fault.headers
    return replace(reply, headers=headers, wait_until=hinted.until)


def member_not_found(request: Request) -> Reply | None:
    """Return Mailgun's 404 for a missing member if the request reads one member.

    Any other request returns None.
    """
    match (request.method, *request.segments):
        case ("GET", "v3", "lists", mailing_list, "members", address) if address != "pages":
            return json_reply(
                404, {"message": f"Member {address} of mailing list {mailing_list} not found"}
            )
        case _:
            return None


def status_reply(fault: Fault, hint_fields: dict[str, int]) -> Reply:
    """Return a reply with the fault's status and its kind of body."""
    text = phrase(fault.status) if fault.message is None else fault.message
    match fault.body:
        case "json":
            return json_reply(fault.status, {"message": text, **hint_fields})
        case "plain":
            return Reply(fault.status, text.encode(), PLAIN)
        case "html":
            return Reply(fault.status, html_page(fault.status, text), HTML)
        case "empty":
            return Reply(fault.status, b"", PLAIN)
        case _:
            assert_never(fault.body)


def about_another_member(address: str) -> Reply:
    """Return a well-formed reply about a member other than the requested one."""
    member = {"address": address, "name": OTHER_NAME, "subscribed": True, "vars": {}}
    return json_reply(200, {"member": member, "message": "Mailing list member has been created"})


def phrase(status: int) -> str:
    """Return the standard phrase of a status, or `Status 599` if it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def html_page(status: int, text: str) -> bytes:
    """Return an HTML error page as a proxy makes it."""
    title = f"{status} {text}"
    return (
        f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\r\n"
    ).encode()


BAD_GATEWAY = Reply(502, html_page(502, "Bad Gateway"), HTML)
