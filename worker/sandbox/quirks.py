"""What nobody recorded about Mailgun: each likely or unknown fact is a switch; the default is the worse one for us."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Quirks(BaseModel):
    """How the sandbox plays the facts that are not certain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vars_on_update: Literal["replaced", "merged"] = "replaced"
    """What an upsert's `vars` do to the held ones (likely: replaced). A PUT always replaces: that is documented."""

    omitted_subscribed: Literal["subscribes", "kept"] = "subscribes"
    """What an upsert without `subscribed` does to somebody who unsubscribed (likely: subscribes again)."""

    omitted_name: Literal["cleared", "kept"] = "cleared"
    """What an upsert without `name` does to the held name (unknown)."""

    omitted_vars: Literal["cleared", "kept"] = "cleared"
    """What an upsert without `vars` does to the held ones (unknown)."""

    bulk_omitted_subscribed: Literal["subscribes", "kept"] = "subscribes"
    """The same as `omitted_subscribed`, for an entry of a bulk call."""

    bulk_bad_member: Literal["refuses_all", "skipped"] = "refuses_all"
    """What one bad entry does to a bulk call: nothing is applied and the answer is 400, or that entry alone is passed
    over. In a background job (over 100 entries) nobody is told either way."""

    bulk_answer: Literal["list", "message_only", "task_id"] = "list"
    """What a bulk call of up to 100 entries is answered with: the list and a message (Mailgun docs), the message alone, or
    a `task-id` as if it were more than 100, the entries applied later."""

    addresses: Literal["flanker", "as_given"] = "flanker"
    """How addresses are read (likely: as Mailgun's open parser flanker does): `Jane <jane@example.com>` is
    jane@example.com, of several words the last one counts, and a domain in punycode is stored and answered in Unicode; or one
    address as it is given, and nothing else."""

    bad_key_status: Literal[401, 403] = 401
    """What a wrong key is answered with."""

    read_lag_seconds: float = Field(default=0, ge=0, le=3600)
    """How old what a read of a member or a page shows is (Mailgun docs: "eventually consistent"; unknown how much). Changes
    made before it is set are shown at once."""

    throttled_status: Literal[429, 420] = 429
    """What a client over the rate limit is answered with."""
