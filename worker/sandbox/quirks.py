"""Uncertain facts about Mailgun, each a switch.

No recorded answer of Mailgun settles them. A default is the likely fact, or the one that is worse
for this program.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Quirks(BaseModel):
    """How the sandbox plays the uncertain facts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # What the `vars` of an upsert do to the stored ones (likely: replaced). A PUT always replaces
    # them (Mailgun docs).
    vars_on_update: Literal["replaced", "merged"] = "replaced"

    # What an upsert without `subscribed` does to an unsubscribed member (likely: subscribes again).
    omitted_subscribed: Literal["subscribes", "kept"] = "subscribes"

    # What an upsert without `name` does to the stored name (unknown).
    omitted_name: Literal["cleared", "kept"] = "cleared"

    # What an upsert without `vars` does to the stored ones (unknown).
    omitted_vars: Literal["cleared", "kept"] = "cleared"

    # The same as `omitted_subscribed`, for an entry of a bulk request.
    bulk_omitted_subscribed: Literal["subscribes", "kept"] = "subscribes"

    # What one bad entry does to a bulk request: nothing is applied and the answer is 400, or only
    # that entry is skipped. The failure of a background job (over 100 entries) is reported nowhere.
    bulk_bad_member: Literal["refuses_all", "skipped"] = "refuses_all"

    # The answer to a bulk request of up to 100 entries: the list and a message (Mailgun docs), the
    # message alone, or a `task-id` as for more than 100; the entries are then applied later.
    bulk_answer: Literal["list", "message_only", "task_id"] = "list"

    # How addresses are read (likely: as by flanker, Mailgun's open-source parser). With "flanker",
    # `Jane <jane@example.com>` is jane@example.com, the last of several words counts, and a domain
    # in punycode is stored and answered in Unicode. With "as_given", an address is read as it is.
    addresses: Literal["flanker", "as_given"] = "flanker"

    # The status of the answer to a wrong key.
    bad_key_status: Literal[401, 403] = 401

    # How old a member or page is that a read shows (Mailgun docs: "eventually consistent"; unknown
    # how much). Changes made before this is set are shown at once.
    read_lag_seconds: float = Field(default=0, ge=0, le=3600)

    # The status of the answer to a client over the rate limit.
    throttled_status: Literal[429, 420] = 429
