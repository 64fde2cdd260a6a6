"""The holds of an integration, read from the hash that the gate's scripts keep."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HoldState:
    """The state of the hold, and the allowed rate. Times are epoch seconds by Redis's clock.

    Attributes:
        kind: paused, incident, throttled or unavailable; None: the integration is not on hold.
        why: Why the integration is on hold.
        since: When the hold began.
        until: When the hold ends; None: it lasts until it is lifted, or there is none.
        rate: Requests a second allowed now; None: they are not limited.
        members: The number of members that failures since the last success are about.
        next_look: When the next incident check is due; None: no check is planned.
    """

    kind: str | None
    why: str
    since: float | None
    until: float | None
    rate: float | None
    members: int = 0
    next_look: float | None = None


def standing_holds(
    fields: dict[str, str], wait: float, rate: float | None, now: float
) -> list[HoldState]:
    """Return every hold that the fields describe, first the one that operators see.

    Args:
        fields: The hash `Keys.hold`.
        wait: Seconds for which no event may be fetched.
        rate: Requests a second allowed now; None: they are not limited.
        now: The current time by Redis's clock, epoch seconds.
    """
    found = []
    if "paused" in fields:
        why, since = "an operator paused it", float(fields["paused"])
        found.append(HoldState("paused", why, since, None, rate))
    if fields.get("kind") == "incident":
        found.append(_checked_hold(fields, None, rate))
    if float(fields.get("not_before", 0)) > now:
        found.append(_throttled_hold(fields, rate))
    if fields.get("kind") == "unavailable":
        found.append(_checked_hold(fields, now + wait, rate))
    return found


def _checked_hold(fields: dict[str, str], until: float | None, rate: float | None) -> HoldState:
    """Return the hold that an incident check ends."""
    since, look_at = float(fields["since"]), float(fields["look_at"])
    return HoldState(fields["kind"], fields["why"], since, until, rate, next_look=look_at)


def _throttled_hold(fields: dict[str, str], rate: float | None) -> HoldState:
    until, read_at = float(fields["not_before"]), float(fields["read_at"])
    next_look = read_at if read_at < until else None
    why, since = fields["throttled_why"], float(fields["throttled_since"])
    return HoldState("throttled", why, since, until, rate, next_look=next_look)
