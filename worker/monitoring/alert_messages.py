"""An alert as a message for the webhook: `text` for people, and fields for programs. Pure.

Slack, and what understands its webhooks, shows `text` and ignores the fields.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from worker.gate.holds import HoldState
from worker.monitoring.alerts import PILE_SECONDS, Alert
from worker.monitoring.hold_advice import advice_on
from worker.privacy import redacted
from worker.queue.dead_letter_reasons import ADVICE, DeadLetterReason

BEGAN = {
    "incident": "INCIDENT: Mailgun refuses every event, the integration is on hold",
    "paused": "an operator has paused the integration, it is on hold",
    "throttled": "Mailgun asks to wait, the integration is on hold",
    "unavailable": "Mailgun is unavailable, the integration is on hold",
}
ENDED = {
    "incident": "the incident is over",
    "paused": "the pause is over",
    "throttled": "Mailgun no longer asks to wait",
    "unavailable": "Mailgun is available again",
}
# Slack reads these signs as markup, and `<!channel>` as a call of everyone.
MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def message(integration: str, alert: Alert) -> dict[str, Any]:
    """Return the JSON object of an alert. It holds no personal data.

    Args:
        integration: The name of the integration.
        alert: The alert.
    """
    cause, fix = _advice(alert)
    return {
        "text": f"signal-mailgun, {integration}: {_text(alert, cause, fix)}".translate(MARKUP),
        "event": alert.event,
        "integration": integration,
        "kind": alert.kind,
        "since": _time(alert.since),
        "ended": None if alert.ended is None else _time(alert.ended),
        "why": redacted(alert.why),
        "cause": cause,
        "fix": fix,
        "counts": {
            "queued": alert.queued,
            "delayed": alert.delayed,
            "dead_letters": sum(alert.letters.values()),
            "new_dead_letters": sum(alert.new.values()),
        },
        "dead_letters": alert.letters,
        "new_dead_letters": alert.new,
    }


def sample_alert(now: float) -> Alert:
    """Return the alert with which an operator tests the webhook, at `now`, epoch seconds."""
    return Alert(event="test", kind="test", since=now)


def _advice(alert: Alert) -> tuple[str, str]:
    """Return the likely cause and the fix; both are empty if nothing is to be done."""
    match alert.event:
        case "hold_began":
            return advice_on(HoldState(alert.kind, alert.why, None, None, None)) or ("", "")
        case "dead_letters_began":
            most = max(alert.new, key=lambda reason: alert.new[reason], default="")
            return ADVICE[DeadLetterReason(most)] if most in set(DeadLetterReason) else ("", "")
        case _:
            return "", ""


def _text(alert: Alert, cause: str, fix: str) -> str:
    match alert.event:
        case "hold_began":
            head = f"{BEGAN.get(alert.kind, alert.kind)} since {_time(alert.since)}"
            # A pause and a 429 have no cause beyond the head.
            shown = cause if alert.kind in {"incident", "unavailable"} else ""
            answer = "" if alert.kind == "paused" else f"Answer: {redacted(alert.why)}"
            return _sentences(head, answer, *_advised(shown, fix), _counts(alert))
        case "hold_ended":
            still = f"; still on hold: {alert.still}" if alert.still else ""
            head = f"{ENDED.get(alert.kind, alert.kind)}, after {_lasted(alert)}{still}"
            replay = _replay(alert) if alert.kind == "incident" else ""
            return _sentences(head, _counts(alert), replay)
        case "dead_letters_began":
            minutes = round(PILE_SECONDS / 60)
            head = (
                f"dead letters pile up: {sum(alert.new.values())} in {minutes} minutes "
                f"({_by_reason(alert.new)})"
            )
            look = "`signal-mailgun dead-letters list` shows them"
            return _sentences(head, *_advised(cause, fix), look, _counts(alert))
        case "dead_letters_ended":
            head = f"dead letters no longer pile up, after {_lasted(alert)}"
            return _sentences(head, _counts(alert), _replay(alert))
        case "test":
            return "this is a test of ALERT_WEBHOOK_URL, sent by `signal-mailgun check --alert`."


def _advised(cause: str, fix: str) -> tuple[str, str]:
    return f"Likely cause: {cause}" if cause else "", f"Fix: {fix}" if cause else fix


def _sentences(*parts: str) -> str:
    return ". ".join(part.rstrip(".") for part in parts if part) + "."


def _counts(alert: Alert) -> str:
    letters = _by_reason(alert.letters)
    return (
        f"Now queued: {alert.queued}, delayed: {alert.delayed}, "
        f"dead letters: {sum(alert.letters.values())}{f' ({letters})' if letters else ''}"
    )


def _replay(alert: Alert) -> str:
    return "`signal-mailgun dead-letters replay` replays the dead letters" if alert.letters else ""


def _by_reason(counts: Mapping[str, int]) -> str:
    ordered = Counter(counts).most_common()
    return ", ".join(f"{reason} {count}" for reason, count in ordered if count)


def _lasted(alert: Alert) -> str:
    seconds = max(0.0, (alert.ended or alert.since) - alert.since)
    for length, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{round(seconds / length)} {unit}"
    return f"{round(seconds)} seconds"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
