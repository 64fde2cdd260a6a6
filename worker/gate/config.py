"""What the scripts of hold and pace go by: the numbers that never change, and those that the settings say."""

import json
from dataclasses import dataclass

UNAVAILABLE_MEMBERS = 10  # without a usable answer since the last success, over all workers, that hold the integration
UNAVAILABLE_AGAIN = 3  # the same where the list could be read and no write has succeeded since
REFUSED_AGAIN = 2  # members refused that begin an incident then
LONGEST_UNAVAILABLE_SECONDS = 60.0  # so that recovery is noticed within a minute
LONGEST_RELAPSE_SECONDS = (
    300.0  # where the list can be read but members cannot be written: each try costs attempts
)
LONGEST_PROBE_SECONDS = 3600.0  # the same of an incident: each try costs dead letters
BELIEVED_SECONDS = 3600.0  # how long a hint is taken at its word before the list is read
UNTIL_LIFTED_SECONDS = 3600.0  # stands for "nobody knows how long"
LOOK_AGAIN_SECONDS = 0.5  # where a hold is to be ended by a look that is due
LONGEST_TICK_SECONDS = (
    5.0  # between two ticks of the integration's clock: for longer no worker was there
)
PACE_LIVES_SECONDS = 3600
FIRST_RATE = 2.0  # requests a second after a hold
BACK_WITHIN_SECONDS = (
    40.0  # after a lesson, the pace is back at what Mailgun was seen to let through
)
SLOWEST_RATE = 0.2  # requests a second: what is learned from a 429 never stops the flow
FASTEST_RATE = 5000.0  # requests a second: a learned rate that has grown beyond is forgotten
MOST_MARKS = 100  # members whose failures are told apart, or as many as a threshold needs


@dataclass(frozen=True)
class GateConfig:
    """What the scripts need to know of the settings; seconds, except where the name says otherwise."""

    base: float  # RETRY_BASE_SECONDS: the first hold where Mailgun gives no hint
    max_delay: float  # RETRY_MAX_DELAY_SECONDS: the longest such hold
    rate_limit: float  # MAILGUN_RATE_LIMIT: requests a minute, all workers together; 0: only what is learned
    incident_threshold: int  # INCIDENT_THRESHOLD: members refused in a row; 0: no incidents
    rejected_threshold: int  # INCIDENT_REJECTED_THRESHOLD: the same of refusals by 400
    incident_probe: float  # INCIDENT_PROBE_SECONDS
    look_lease: float  # after which a read of the list counts as lost
    event_cost: float = (
        1.0  # requests that an event is charged with when it is taken; less where events share them
    )

    def encoded(self, chance: float = 0.5) -> str:
        """The rules as the scripts read them; `chance` is a random number in [0, 1)."""
        constants = {
            "unavailable_members": UNAVAILABLE_MEMBERS,
            "unavailable_again": UNAVAILABLE_AGAIN,
            "refused_again": REFUSED_AGAIN,
            "longest_unavailable": LONGEST_UNAVAILABLE_SECONDS,
            "longest_relapse": LONGEST_RELAPSE_SECONDS,
            "longest_probe": LONGEST_PROBE_SECONDS,
            "believed": BELIEVED_SECONDS,
            "until_lifted": UNTIL_LIFTED_SECONDS,
            "look_again": LOOK_AGAIN_SECONDS,
            "longest_tick": LONGEST_TICK_SECONDS,
            "pace_lives": PACE_LIVES_SECONDS,
            "first_rate": FIRST_RATE,
            "back_within": BACK_WITHIN_SECONDS,
            "slowest_rate": SLOWEST_RATE,
            "fastest_rate": FASTEST_RATE,
            "most_marks": max(MOST_MARKS, self.incident_threshold, self.rejected_threshold),
        }
        return json.dumps({**vars(self), **constants, "chance": chance})
