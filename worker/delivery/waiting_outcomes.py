"""Outcomes of patches that are not delivered yet, though Mailgun refused nothing: they wait."""

from worker.mailgun.outcome import Outcome, OutcomeKind

# When an event whose call left a doubt is tried again; its member is locked until about then.
UNPROVED_SECONDS = 30.0


def on_hold_outcome(seconds: float) -> Outcome:
    """Return the outcome for an integration on hold: no request may be sent for `seconds`."""
    return Outcome(OutcomeKind.ON_HOLD, None, f"the integration is on hold for {seconds:.0f} s")


def locked_outcome() -> Outcome:
    """Return the outcome for a member that another delivery has locked."""
    return Outcome(OutcomeKind.LOCKED, None, "another event of the same member is under way")


def doubtful_outcome(seconds: float) -> Outcome:
    """Return the outcome for a reading that contradicts what Mailgun confirmed lately.

    Args:
        seconds: The seconds after which the member is to be read again.
    """
    return Outcome(
        OutcomeKind.DOUBTFUL, None, "Mailgun contradicts what it confirmed lately", again_in=seconds
    )


def unproved_outcome() -> Outcome:
    """Return the outcome for a member of a call that Mailgun accepted and may carry out later."""
    return Outcome(
        OutcomeKind.DOUBTFUL,
        None,
        "Mailgun accepted the call, but does not show its members yet",
        unsettled=True,
        again_in=UNPROVED_SECONDS,
    )
