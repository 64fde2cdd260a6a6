"""`signal-mailgun pause` and `resume`: put the integration on hold by hand, and end the hold."""

from typing import Annotated

import typer

from worker.cli.console import out
from worker.cli.integration import store_of
from worker.settings import load_settings
from worker.wiring import gate_for


def pause() -> None:
    """Keep workers from taking new events.

    Events stay on the queue, in order, until `resume`.
    """
    settings = load_settings()
    done = gate_for(settings, store_of(settings)).pause()
    out.print(f"{settings.queue} is paused" if done else f"{settings.queue} was paused already")


def resume(
    *,
    now: Annotated[
        bool, typer.Option("--now", help="Also end a wait that Mailgun asked for.")
    ] = False,
) -> None:
    """End a pause, an incident or another hold.

    A wait that Mailgun asked for goes on unless --now is given.
    """
    settings = load_settings()
    gate = gate_for(settings, store_of(settings))
    lifted = gate.resume(at_once=now)
    state = gate.state()
    waits = f"; still on hold: {state.why}" if state.kind else ""
    lifts = "; `resume --now` lifts it" if state.kind == "throttled" else ""
    out.print(
        (f"{settings.queue} resumes" if lifted else f"{settings.queue} was not paused")
        + waits
        + lifts
    )
