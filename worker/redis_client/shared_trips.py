"""Group commit for Redis: commands that callers have ready at once share a round trip.

A command never waits for others to come. While one round trip is under way, the commands of other
callers gather, and the next round trip carries them all, in the order in which they came. Each
command has its own reply or error. If a round trip fails, so do the commands that came meanwhile.
Callers are greenlets, or threads.
"""

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import redis

from worker.greenlets import Latch, pass_turn

if TYPE_CHECKING:
    from redis.commands.core import Script

    Command = tuple[str | int | float, ...]


# A script with more keys takes Redis so long that who shared its round trip would wait for it, and
# sharing one saves little then.
MOST_KEYS = 20
# What fails before anything is sent, because one of the commands cannot be.
NOT_SENDABLE = (redis.DataError, TypeError, ValueError)


class _Call:
    """The commands of one caller, and what Redis replied to them.

    Attributes:
        commands: The commands; more than one if they are a transaction.
        replies: Their replies, errors among them; None until they came.
        error: The error that the round trip ended with; None if it ended well.
        leads: Whether this caller makes the next round trip.
        ready: Set once there are replies, or an error, or this caller leads.
    """

    __slots__ = ("commands", "error", "leads", "ready", "replies")

    def __init__(self, commands: "Sequence[Command]") -> None:
        self.commands = commands
        self.replies: list[Any] | None = None
        self.error: BaseException | None = None
        self.leads = False
        self.ready = Latch()

    def result(self) -> list[Any]:
        """Return the replies, or raise the error that this call or one of its commands has.

        The call keeps neither, since an error holds its frames, and they hold the call.
        """
        error, self.error, replies, self.replies = self.error, None, self.replies or [], None
        error = error or next((each for each in replies if isinstance(each, Exception)), None)
        if error is not None:
            raise error
        return replies


class SharedTrips:
    """The round trips that the callers of this process share. One is under way at a time."""

    def __init__(self, client: "redis.Redis") -> None:
        """Send commands with `client`."""
        self._client = client
        self._waiting: list[_Call] = []
        self._is_under_way = False
        self._lock = Lock()

    def run(self, script: "Script", keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script, and return its reply. One with many keys has a round trip of its own.

        Raises:
            redis.RedisError: Redis did not answer, or refused.
        """
        if len(keys) > MOST_KEYS:
            return script(keys=keys, args=args)
        try:
            (reply,) = self._send([("EVALSHA", script.sha, len(keys), *keys, *args)])
        except redis.exceptions.NoScriptError:
            return script(keys=keys, args=args)
        return reply

    def transaction(self, commands: "Sequence[Command]") -> list[Any]:
        """Run commands that succeed or fail together, and return their replies.

        Raises:
            redis.RedisError: Redis did not answer, or refused.
        """
        *_, replies = self._send([("MULTI",), *commands, ("EXEC",)])
        for each in replies:
            if isinstance(each, Exception):
                raise each
        return list(replies)

    def _send(self, commands: "Sequence[Command]") -> list[Any]:
        call = _Call(commands)
        with self._lock:
            self._waiting.append(call)
            leads = call.leads = not self._is_under_way
            self._is_under_way = True
        if not leads:  # another caller may let this one lead meanwhile, and sets `ready` for it
            try:
                call.ready.wait()
            except BaseException:
                self._abandon(call)
                raise
        if call.leads:
            self._make_trip()
        return call.result()

    def _make_trip(self) -> None:
        """Send all commands that wait, and then let the next caller that waits send its own."""
        pass_turn()  # what other greenlets have ready, too, goes with this trip
        with self._lock:
            calls, self._waiting = self._waiting, []
        try:
            self._exchange(calls)
        except BaseException as error:  # noqa: BLE001  each caller of this trip raises it
            # Those that came meanwhile were not sent, and would only wait for the same failure.
            with self._lock:
                late, self._waiting, self._is_under_way = self._waiting, [], False
            self._fail([*calls, *late], error)
            return
        self._hand_over()
        for each in calls:
            each.ready.set()

    def _hand_over(self) -> None:
        with self._lock:
            following = self._waiting[0] if self._waiting else None
            self._is_under_way = following is not None
            if following:
                following.leads = True
                following.ready.set()

    def _fail(self, calls: Sequence[_Call], error: BaseException) -> None:
        """End calls with an error; if it ends the leader, the others get an outage."""
        outage = error if isinstance(error, Exception) else redis.ConnectionError("interrupted")
        for each in calls:
            each.error = error if each.leads else outage
            each.ready.set()

    def _abandon(self, call: _Call) -> None:
        """Take back a call that was interrupted while it waited."""
        with self._lock:
            waits = call in self._waiting
            if waits:
                self._waiting.remove(call)
        if waits and call.leads:
            self._hand_over()

    def _exchange(self, calls: Sequence[_Call]) -> None:
        try:
            self._exchange_together(calls)
        except NOT_SENDABLE as error:
            if len(calls) == 1:
                calls[0].error = error
                return
            for each in calls:
                self._exchange([each])

    def _exchange_together(self, calls: Sequence[_Call]) -> None:
        if len(calls) == 1 and len(calls[0].commands) == 1:  # a pipeline would cost more
            try:
                reply = self._client.execute_command(*calls[0].commands[0])  # type: ignore[no-untyped-call]
                calls[0].replies = [reply]
            except redis.ResponseError as error:
                calls[0].replies = [error]
            return
        with self._client.pipeline(transaction=False) as pipe:
            for call in calls:
                for command in call.commands:
                    pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            replies = iter(pipe.execute(raise_on_error=False))
        for call in calls:
            call.replies = [next(replies) for _ in call.commands]
