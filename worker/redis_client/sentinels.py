"""Sentinels that are asked for the master in turn, beginning with the one that answered last."""

import ssl
from typing import Any, cast

import redis
from redis.exceptions import NoPermissionError
from redis.sentinel import MasterNotFoundError, Sentinel


class SentinelsRefusedLogin(MasterNotFoundError):
    """An error: the sentinels refused the login."""


class AskedSentinels(Sentinel):
    """Sentinels that many threads may ask at once.

    The class of redis-py reorders the list while other threads iterate over it, so a thread may
    skip the only sentinel alive. Its error says neither whether a sentinel answered nor what it
    answered.
    """

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the host and port of the master `service_name`.

        Raises:
            MasterNotFoundError: No sentinel named a master that is up; the text is one line with
                the fix.
            redis.ResponseError: A Redis that is no sentinel answered.
        """
        failures: list[redis.RedisError] = []
        known: set[str] = set()
        for sentinel in list(self.sentinels):
            try:
                masters = cast("dict[str, Any]", sentinel.sentinel_masters())
            except redis.RedisError as error:
                failures.append(error)
                continue
            known |= masters.keys()
            state = masters.get(service_name)
            if state and self.check_master_state(state, service_name):  # type: ignore[no-untyped-call]
                self._ask_first(sentinel)
                return state["ip"], state["port"]
        raise _refusal(service_name, known, failures, answered=len(failures) < len(self.sentinels))

    def _ask_first(self, sentinel: Any) -> None:
        if self.sentinels[0] is not sentinel:
            self.sentinels = [sentinel, *(each for each in self.sentinels if each is not sentinel)]


def _refusal(
    name: str, known: set[str], failures: list[redis.RedisError], *, answered: bool
) -> redis.RedisError:
    if name in known:
        return MasterNotFoundError(
            f"the sentinels say that the master {name} is down; wait for the failover"
        )
    if answered:
        names = ", ".join(sorted(known)) or "none"
        return MasterNotFoundError(
            f"the sentinels know no master {name}; set master_name in REDIS_URL to one of: {names}"
        )
    if any(isinstance(each, redis.AuthenticationError | NoPermissionError) for each in failures):
        return SentinelsRefusedLogin(
            "the sentinels refused the login; "
            "check sentinel_username and sentinel_password in REDIS_URL"
        )
    if said := next((each for each in failures if isinstance(each, redis.ResponseError)), None):
        return said  # from a Redis that is no sentinel
    silent = MasterNotFoundError("no sentinel answers; start them or correct REDIS_URL")
    silent.__cause__ = max(failures, key=_is_of_tls)
    return silent


def _is_of_tls(error: BaseException | None) -> bool:
    """Return True for a TLS failure, which says more than a sentinel that is gone."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None
