"""How the Retries pages name things, and what may be done there."""

from worker.dashboard.pages.query import ListShape
from worker.dashboard.pages.words import Act, Words
from worker.ops.delayed_pages import KEY

WORDS = Words(
    tab="Retries",
    route="retries",
    path="/retries",
    one="delayed event",
    many="delayed events",
    short="event",
    about="Events that wait for their next try, the next due first. "
    "An event that a worker takes at that moment is left to the worker.",
    json="delayed",
    since="Enqueued since",
    until="Enqueued until",
    try_now="A try now",
    taken="had been taken by a worker or another command",
    gone="This event is no longer delayed: it was tried, buried or purged. "
    "`signal-mailgun explain ID` says where it is.",
    whole="signal-mailgun delayed show ID",
)
SHAPE = ListShape(
    sorts=("id", "kind", "member", "reason", "status", "attempts", "since"),
    orders=("due",),
    place=KEY,
)
RETRY = Act(
    "retry", "retry", "Retry", "retrying", "put on the queue", "primary", " now", is_try=True
)
BURY = Act(
    "bury",
    "burial",
    "Bury",
    "burying",
    "buried",
    "secondary",
    note="Buried events are dead letters with the reason `buried`; a replay brings them back.",
)
PURGE = Act(
    "purge",
    "purge",
    "Purge",
    "purging",
    "purged",
    "danger",
    is_permanent=True,
    note="A purge is permanent. To keep the events, bury them instead. "
    "To erase a person wherever there is anything of them, use `signal-mailgun forget EMAIL`.",
)
