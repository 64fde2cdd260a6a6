"""The likely cause of a hold and what an operator can do, in words."""

from worker.gate.holds import HoldState
from worker.monitoring.hold_log import reason_in
from worker.queue.dead_letter_reasons import ADVICE

HOLDS = {
    "paused": ("An operator has paused the integration", "`signal-mailgun resume` ends the pause."),
    "throttled": (
        "Mailgun asks to wait (429)",
        "Workers go on by themselves; `signal-mailgun resume --now` ends the wait.",
    ),
    "unavailable": (
        "Mailgun gives many members no answer, or a 5xx",
        "Check Mailgun's status and the network. "
        "Workers go on by themselves once the list can be read.",
    ),
}


def advice_on(hold: HoldState) -> tuple[str, str] | None:
    """Return the likely cause and the fix of a hold; None if the integration is not on hold."""
    if hold.kind is None:
        return None
    if hold.kind == "incident":
        return ADVICE[reason_in(hold.why)]
    return HOLDS.get(hold.kind, (hold.why, "`signal-mailgun status` shows more."))
