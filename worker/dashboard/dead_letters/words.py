"""How the Dead letters pages name things, and what may be done there."""

import re

from worker.dashboard.pages.query import ListShape
from worker.dashboard.pages.words import Act, Words

WORDS = Words(
    tab="Dead letters",
    route="dead_letters",
    path="/dead-letters",
    one="dead letter",
    many="dead letters",
    short="letter",
    about="Events that cannot be delivered. They stay until they are replayed or purged.",
    json="dead_letters",
    since="Since",
    until="Until",
    try_now="A replay now",
    taken="had been replayed or purged by others",
    gone="This letter is no longer here: it was replayed, purged, or removed by a limit. "
    "If many older ones were, it may be further on: look for it in the list.",
    whole="signal-mailgun dead-letters show ID --raw",
)
SHAPE = ListShape(
    sorts=("id", "kind", "member", "reason", "status", "attempts", "answer"),
    orders=("newest", "oldest"),
    place=re.compile(r"[1-9][0-9]{0,8}"),
)
REPLAY = Act("replay", "replay", "Replay", "replaying", "replayed", "primary", is_try=True)
PURGE = Act(
    "purge",
    "purge",
    "Purge",
    "purging",
    "purged",
    "danger",
    is_permanent=True,
    note="A purge is permanent. `signal-mailgun dead-letters export` keeps the events.",
)
