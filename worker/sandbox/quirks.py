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

    # The answer to a bulk request of up to 100 entries: the list and a message (Mailgun docs), a
    # `task-id` besides (as Mailgun's own clients show it), or the message alone. With "task_id" the
    # answer has a `task-id`, and a background job applies the entries, as for more than 100.
    bulk_answer: Literal["list", "list_and_task_id", "message_only", "task_id"] = "list"

    # How long after its answer a background job is applied (unknown).
    bulk_job_seconds: float = Field(default=0.2, ge=0, le=3600)

    # Every so many entries of a bulk request, one is left out without a word; 0: none.
    bulk_leaves_out: int = Field(default=0, ge=0, le=1000)

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
