"""HTTP input and output: requests from the network, replies and faults to it."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never
from urllib.parse import unquote_plus

from aiohttp import web
from aiohttp.http import HttpProcessingError
from yarl import query_to_pairs

from worker.sandbox.api import answer
from worker.sandbox.fault_replies import fault_reply, member_not_found, throttled
from worker.sandbox.faults import Fault
from worker.sandbox.member_fields import MailgunError
from worker.sandbox.request import Reply, Request
from worker.sandbox.request_log import Record, RequestLog
from worker.sandbox.state import SandboxState

MEGABYTE = b"x" * 1_000_000
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: closing sends RST
FIRST_FINAL_STATUS = 200


async def respond(state: SandboxState, request: web.BaseRequest) -> web.StreamResponse:
    """Answer one request to Mailgun's API.

    The limit is applied first, then the faults, then Mailgun's rules.
    """
    at, call = time.time(), await read_call(request)
    exchange = Exchange(state, request, call, state.log, state.log.open(call, at=at))
    if state.latency_ms:
        await asyncio.sleep(state.latency_ms / 1000)
    now = time.time()
    wait = state.throttle.wait(now)
    if wait is not None:
        hint = state.throttle.limit.hint
        return exchange.reply(throttled(state.switches.throttled_status, hint, wait, now=now))
    fault = state.faults.draw(call)
    if fault is None:
        return exchange.reply(exchange.commit())
    exchange.log.meet(exchange.record, fault.kind)
    return await apply_fault(fault, exchange)


async def apply_fault(fault: Fault, exchange: "Exchange") -> web.StreamResponse:
    """Carry out a fault."""
    match fault.kind:
        case "status" | "html_502" | "magnificent" | "other_member":
            return exchange.reply(fault_reply(fault, fault.kind, now=time.time()))
        case "member_not_found":
            return exchange.reply(member_not_found(exchange.call) or exchange.commit())
        case "status_after_commit":
            exchange.commit()
            return exchange.reply(fault_reply(fault, "status", now=time.time()))
        case "latency":
            await asyncio.sleep(fault.ms / 1000)
            return exchange.reply(exchange.commit())
        case "reset":
            return exchange.reset()
        case "hang":
            return await exchange.hang(fault.seconds)
        case "hang_after_commit":
            exchange.commit()
            return await exchange.hang(fault.seconds)
        case "truncated":
            return await exchange.truncate(exchange.commit())
        case "huge":
            return await exchange.pad(exchange.commit(), fault.megabytes)
        case _:
            assert_never(fault.kind)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and the ways in which it can end.

    It keeps the log in which it was opened, because a reset replaces the log.
    """

    state: SandboxState
    request: web.BaseRequest
    call: Request
    log: RequestLog
    record: Record

    def commit(self) -> Reply:
        """Apply what the request changes and return Mailgun's true answer."""
        now = time.time()
        reply = answer(self.state, self.call, now=now)
        if reply.touched:
            self.log.commit(self.record, reply.touched, at=now)
        if reply.later:
            asyncio.get_running_loop().call_later(
                self.state.switches.bulk_job_seconds, self._run, reply.later
            )
        return reply

    def reply(self, reply: Reply) -> web.Response:
        """Answer with this reply.

        A client waits on after a status below 200, so that such a reply closes the connection.
        """
        self._close(reply.status, reply.wait_until, reply.body)
        response = web.Response(status=reply.status, body=reply.body, headers=_headers(reply))
        if reply.status < FIRST_FINAL_STATUS:
            response.force_close()
        return response

    def reset(self) -> web.Response:
        """Send a TCP reset in place of an answer."""
        self._close("reset")
        transport = self.request.transport
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE
            )
            transport.abort()
        return web.Response()

    async def hang(self, seconds: float) -> web.Response:
        """Send no answer for `seconds`, then close the connection."""
        self._close("hang")
        await asyncio.sleep(seconds)
        self._hang_up()
        return web.Response()

    async def truncate(self, reply: Reply) -> web.StreamResponse:
        """Send half of the answer's body, then close the connection."""
        self._close(reply.status, answer=reply.body[: len(reply.body) // 2])
        response = web.StreamResponse(status=reply.status, headers=_headers(reply))
        response.content_length = len(reply.body)
        await response.prepare(self.request)
        await response.write(reply.body[: len(reply.body) // 2])
        self._hang_up()
        return response

    async def pad(self, reply: Reply, megabytes: int) -> web.StreamResponse:
        """Send the answer with `megabytes` of padding in its JSON, as long as the client reads."""
        self._close(reply.status, answer=reply.body)
        response = web.StreamResponse(status=reply.status, headers=_headers(reply))
        await response.prepare(self.request)
        await response.write(reply.body.removesuffix(b"}") + b', "padding": "')
        for _ in range(megabytes):
            await response.write(MEGABYTE)
        await response.write(b'"}')
        return response

    def _close(
        self, status: int | str, wait_until: float | None = None, answer: bytes = b""
    ) -> None:
        self.log.close(self.record, status, at=time.time(), wait_until=wait_until, answer=answer)

    def _hang_up(self) -> None:
        if self.request.transport is not None:
            self.request.transport.close()

    def _run(self, job: Callable[[float], int]) -> None:
        now = time.time()
        try:
            touched = job(now)
        except MailgunError:  # a bad entry stops the job; Mailgun reports that nowhere, either
            return
        self.log.commit(self.record, touched, at=now)


async def read_call(request: web.BaseRequest) -> Request:
    """Return the request as Mailgun reads it."""
    path, _, query = request.raw_path.partition("?")
    return Request(
        method=request.method,
        path=request.raw_path,
        segments=tuple(unquote_plus(path).split("/")[1:]),
        query=dict(query_to_pairs(query)),
        form=await read_form(request),
        authorization=request.headers.get("Authorization"),
        base_url=f"{request.scheme}://{request.host}",
    )


async def read_form(request: web.BaseRequest) -> dict[str, str] | None:
    """Return the form fields, or None if the request has no form.

    Mailgun accepts urlencoded and multipart forms, and no JSON.
    """
    content_type = request.headers.get("Content-Type", "").lower()
    if content_type.startswith("application/x-www-form-urlencoded"):
        body = await request.read()
        return dict(query_to_pairs(body.decode(errors="replace")))
    if content_type.startswith("multipart/form-data"):
        return await read_multipart(request)
    await request.read()
    return None


async def read_multipart(request: web.BaseRequest) -> dict[str, str]:
    """Return the text fields of a multipart form, none if the form is malformed."""
    try:
        return {
            name: value for name, value in (await request.post()).items() if isinstance(value, str)
        }
    except (ValueError, HttpProcessingError):
        return {}


def _headers(reply: Reply) -> dict[str, str]:
    return {"Content-Type": reply.content_type, **reply.headers}
