"""`signal-mailgun pause` and `resume`: hold the integration by hand, and let it go."""

from typing import Annotated

import typer

from worker.cli.console import out
from worker.cli.integration import store_of
from worker.settings import load_settings
from worker.wiring import gate_for


def pause() -> None:
    """Take no new events from the queue until `resume`; they stay there, in order."""
    settings = load_settings()
    done = gate_for(settings, store_of(settings)).pause()
    out.print(f"{settings.queue} is paused" if done else f"{settings.queue} was paused already")


def resume(
    *,
    now: Annotated[
        bool, typer.Option("--now", help="lift what Mailgun asked to wait, too")
    ] = False,
) -> None:
    """Lift a pause, an incident or a hold for unavailability; what Mailgun asked to wait stands, unless --now."""
    settings = load_settings()
    gate = gate_for(settings, store_of(settings))
    lifted = gate.resume(at_once=now)
    state = gate.state()
    waits = f"; still held: {state.why}" if state.kind else ""
    lifts = "; `resume --now` lifts it" if state.kind == "throttled" else ""
    out.print(
        (f"{settings.queue} resumes" if lifted else f"{settings.queue} was not paused")
        + waits
        + lifts
    )
