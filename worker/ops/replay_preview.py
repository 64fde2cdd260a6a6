"""Preview of what a dead letter or a delayed event would become, by the ledger.

Mailgun itself is not read.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker.delivery.event_delivery import order_of
from worker.members.entry import look_up
from worker.members.ledger import Ledger
from worker.ops.event_file import FileEntry
from worker.ops.preview import MemberContext, event_preview
from worker.queue.message import Message
from worker.redis_client.client import connect
from worker.settings import Settings
from worker.signal.patch import Patch
from worker.signal.preset import Preset, load_preset
from worker.wiring import gate_for, ledger_for


@dataclass(frozen=True)
class ReplayPreview:
    """A preview of replays and retries under these settings, without any effect."""

    settings: Settings
    preset: Preset
    ledger: Ledger

    def request(self, message: Message, number: int = 1) -> dict[str, Any]:
        """Return the request that the message's event would become now, as `event_preview` does.

        `number` is its number in the list of those that are shown.
        """

        def context_of(patch: Patch) -> MemberContext:
            entry = look_up(self.ledger, patch.address)
            if entry is None:
                return MemberContext()
            current = entry.copy.member if entry.copy else None
            return MemberContext(entry.record, current, order_of(patch, message))

        if message.original is not None:
            return {"line": number, "dead_letter": "the message could not be read"}
        event = message.arguments[0] if message.args else None
        return event_preview(FileEntry(number, event), self.settings, self.preset, context_of)

    def effect(self, message: Message) -> "ReplayEffect | None":
        """Return what would become of the event; None if it is nested too deep to tell."""
        try:
            return effect_of(self.request(message))[0]
        except RecursionError:
            return None


class ReplayEffect(StrEnum):
    """What would become of a replayed event, as far as the ledger tells."""

    SENT = "sent to Mailgun"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    FAILS = "a dead letter again"


def effect_of(shown: dict[str, Any]) -> tuple[ReplayEffect, str]:
    """Return the effect of a replay, and why, from what `ReplayPreview.request` returned.

    The reason may quote the event. It is empty if a request would be sent.
    """
    if "request" in shown:
        return ReplayEffect.SENT, ""
    if "superseded" in shown:
        return ReplayEffect.SUPERSEDED, shown["superseded"]
    if "skipped" in shown:
        return ReplayEffect.SKIPPED, shown["skipped"]
    return ReplayEffect.FAILS, shown.get("dead_letter") or shown.get("bad_line", "")


def replay_preview_for(settings: Settings) -> ReplayPreview:
    """Return a preview of replays under `settings`. Raises `PresetError`."""
    ledger = ledger_for(settings, gate_for(settings, connect(settings.redis_url)))
    return ReplayPreview(settings, load_preset(settings.mailgun_preset), ledger)
