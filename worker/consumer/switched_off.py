"""Features of Celery that are switched off, and what operators do instead.

Each of them would lose events, or report something that did not happen.
"""

from click import ClickException

REVOKE = (
    "switched off: an event is never revoked. `signal-mailgun pause` stops deliveries, "
    "`signal-mailgun forget ADDRESS` erases a person's events, "
    "`signal-mailgun delayed purge` removes events that wait for their next try, "
    "`signal-mailgun dead-letters purge` dead letters"
)
PURGE = (
    "switched off: it would erase events. `signal-mailgun pause` stops deliveries, "
    "`signal-mailgun forget ADDRESS` erases a person's events, "
    "`signal-mailgun dead-letters purge` removes dead letters"
)
POOL = "switched off: set WORKER_CONCURRENCY and restart the worker, or start one more worker"
RESULTS = (
    "switched off: no results are stored. Use /api/task/async-apply/… and look for the event at "
    "/api/task/info/ID"
)
RATE_LIMIT = "switched off: set MAILGUN_RATE_LIMIT, which all workers share, and restart them"
TIME_LIMIT = (
    "switched off: MAILGUN_CONNECT_TIMEOUT_SECONDS and MAILGUN_READ_TIMEOUT_SECONDS limit each "
    "request; restart the workers after a change"
)

# The commands of Celery's remote control that are switched off, and what a worker answers.
COMMANDS = {
    "revoke": REVOKE,
    "revoke_by_stamped_headers": REVOKE,
    "terminate": REVOKE,
    "rate_limit": RATE_LIMIT,
    "time_limit": TIME_LIMIT,
    "pool_grow": POOL,
    "pool_shrink": POOL,
    "autoscale": POOL,
    "pool_restart": "switched off: shut the worker down, and let what supervises it start it again",
    "election": "switched off: the workers have nothing to elect",
}


class SwitchedOff(ClickException):
    """The error of a feature that is switched off; its text says what to do instead.

    Celery's command line prints the text and exits with status 1.
    """

    exit_code = 1
