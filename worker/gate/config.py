"""Parameters of the circuit breaker and the token bucket: constants, and what the settings say.

The Lua scripts in this folder get all of them as one JSON object.
"""

import json
from dataclasses import asdict, dataclass
from functools import cached_property

# Members without a usable answer since the last success, over all workers, that begin a hold.
UNAVAILABLE_MEMBERS = 10
# The same, if incident checks have ended more holds than writes have succeeded since.
UNAVAILABLE_AGAIN = 3
# Members refused that begin an incident in that case.
REFUSED_AGAIN = 2
LONGEST_UNAVAILABLE_SECONDS = 60.0  # so that recovery is noticed within a minute
# If the list can be read but members cannot be written: each try costs attempts.
LONGEST_RELAPSE_SECONDS = 300.0
LONGEST_PROBE_SECONDS = 3600.0  # the same of an incident: each try costs dead letters
BELIEVED_SECONDS = 3600.0  # how long a hint is believed before the list is read
UNTIL_LIFTED_SECONDS = 3600.0  # stands for a hold without a known end
LOOK_AGAIN_SECONDS = 0.5  # until the next try, if an incident check is due
# Between two ticks of the integration's clock: after a longer gap, no worker was there.
LONGEST_TICK_SECONDS = 5.0
PACE_LIVES_SECONDS = 3600
FIRST_RATE = 2.0  # requests a second after a hold, at least
# After a 429 taught a limit, the rate is back at what Mailgun let through within this time.
BACK_WITHIN_SECONDS = 40.0
# Limits of Mailgun's that are documented count the requests of a minute.
WINDOW_SECONDS = 60.0
# Seconds for which no request passes, after which a window has turned and not a bucket was filled.
SILENCE_SECONDS = 5.0
USUAL_LIMIT = 300  # requests in a window
CAREFUL_REQUESTS = 8  # under way at once near that limit
CAREFUL_SECONDS = 5.0  # without an answer, after which that care ends
CAREFUL_WAIT_SECONDS = 0.05  # until the next try, if so many are under way
SLOWEST_RATE = 0.2  # requests a second: a rate learned from 429s never falls below
FASTEST_RATE = 5000.0  # requests a second: a learned rate that has grown beyond is forgotten
MOST_MARKS = 100  # members whose failures are told apart, or as many as a threshold needs


@dataclass(frozen=True)
class GateConfig:
    """The settings that the scripts need.

    Attributes:
        base: RETRY_BASE_SECONDS: seconds that the first hold lasts if Mailgun sends no hint.
        max_delay: RETRY_MAX_DELAY_SECONDS: the longest such hold.
        rate_limit: MAILGUN_RATE_LIMIT: requests a minute of all workers together; 0: only the
            learned rate limits them.
        incident_threshold: INCIDENT_THRESHOLD: members refused since the last success, other than
            by 400, that begin an incident; 0: they begin none.
        rejected_threshold: INCIDENT_REJECTED_THRESHOLD: the same for members refused by 400, and
            for members that Mailgun shows in a form that cannot be read.
        incident_probe: INCIDENT_PROBE_SECONDS.
        look_lease: Seconds after which an incident check without a report counts as lost.
        event_cost: Requests that an event is charged with when it is fetched; less than 1 if
            events share requests.
    """

    base: float
    max_delay: float
    rate_limit: float
    incident_threshold: int
    rejected_threshold: int
    incident_probe: float
    look_lease: float
    event_cost: float

    def to_json(self, jitter: float = 0.5) -> str:
        """Return these settings and the constants as JSON for the scripts.

        Args:
            jitter: A random number in [0, 1).
        """
        return f'{self._opened}, "jitter": {jitter}}}'

    @cached_property
    def _opened(self) -> str:
        """The JSON without its last brace: it goes with every script, and only `jitter` differs."""
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
            "window": WINDOW_SECONDS,
            "silence": SILENCE_SECONDS,
            "usual_limit": USUAL_LIMIT,
            "careful_requests": CAREFUL_REQUESTS,
            "careful_seconds": CAREFUL_SECONDS,
            "careful_wait": CAREFUL_WAIT_SECONDS,
            "slowest_rate": SLOWEST_RATE,
            "fastest_rate": FASTEST_RATE,
            "most_marks": max(MOST_MARKS, self.incident_threshold, self.rejected_threshold),
        }
        return json.dumps({**asdict(self), **constants})[:-1]
