"""The sample events of `signal-mailgun run`: each kind and dialect of event, and each failure."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One event, and the fault that the sandbox plays for its member.

    Attributes:
        event: What is sent as an event.
        fault: The options of the sandbox's fault; empty if there is none.
    """

    event: Any
    fault: dict[str, Any] = field(default_factory=dict)


def _sample(id: str, type: str, fault: dict[str, Any] | None = None, /, **fields: Any) -> Sample:
    return Sample({"messageId": f"sample-{id}", "type": type, **fields}, fault or {})


def _person(mailbox: str, **traits: str) -> dict[str, str]:
    return {"email": f"{mailbox}@example.com", **traits}


def _status(status: int, **options: Any) -> dict[str, Any]:
    return {"kind": "status", "status": status, **options}


JANE = {
    "email": "Jane@Example.com",
    "name": "Jane Doe",
    "first_name": "Jane",
    "last_name": "Doe",
    "plan": "pro",
    "company": "Acme Ltd",
}
SHOP = "https://shop.example.com/"
HASHED = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
CONSENT_REFUSED = {"consent": {"canonical": {"marketing": False}}}
ORDER = {"order_id": "A-1001", "revenue": 129.9, "currency": "EUR"}
PURCHASE = {"transaction_id": "T-77", "value": 15, "currency": "USD"}
SIGNUP = {"event": "Signed Up", "properties": {"method": "google"}}
BAD_ADDRESS = "The 'address' parameter should be a valid email address"
NO_LIST = "Mailing list newsletter@mg.example.com not found"
WAIT_2_SECONDS = {"hint": "retry_after_seconds", "wait_seconds": 2}

SAMPLES: tuple[Sample, ...] = (
    # A person's session, in Signal's own words.
    _sample("identified", "identify", userId="user-123", anonymousId="a1b2c3", traits=JANE),
    _sample("signed-up", "track", anonymousId="b2", traits=_person("sam"), **SIGNUP),
    _sample("page", "page", traits=_person("pat"), properties={"url": f"{SHOP}pricing"}),
    _sample("order", "track", event="Order Completed", traits=_person("olive"), properties=ORDER),
    # The dialects, and consent given and refused.
    _sample(
        "purchase",
        "track",
        event="purchase",
        context={"traits": _person("gary")},
        properties=PURCHASE,
    ),
    _sample(
        "consent",
        "track",
        event="Identified",
        traits=_person("nora", firstName="Nora", lastName="No"),
        context=CONSENT_REFUSED,
    ),
    # Skipped: there is nothing to deliver, and no error.
    _sample("anonymous", "page", anonymousId="c3", properties={"url": SHOP}),
    _sample("hashed", "identify", traits={"email": HASHED}),
    _sample("unmapped", "track", event="Video Played", traits=_person("vera")),
    # Retried until it works.
    _sample(
        "throttled",
        "identify",
        _status(429, count=1, **WAIT_2_SECONDS),
        traits=_person("tom", name="Tom Told-to-wait"),
    ),
    _sample(
        "unavailable", "identify", _status(503, count=2), traits=_person("una", name="Una Vailable")
    ),
    _sample(
        "reset",
        "identify",
        {"kind": "reset", "count": 1},
        traits=_person("rita", name="Rita Reset"),
    ),
    _sample(
        "wrong-answer",
        "identify",
        {"kind": "magnificent", "count": 1},
        traits=_person("mag", name="Mag Nificent"),
    ),
    # Dead letters.
    _sample("no-address", "identify", traits={"email": "not an address"}),
    _sample("rejected", "identify", _status(400, message=BAD_ADDRESS), traits=_person("rex")),
    _sample(
        "unauthorized",
        "identify",
        _status(401, body="plain", message="Forbidden"),
        traits=_person("uri"),
    ),
    _sample("list-missing", "identify", _status(404, message=NO_LIST), traits=_person("lou")),
    _sample("odd-status", "identify", _status(418), traits=_person("ted")),
    Sample(["this is no event"]),
)


def sample_of(message_id: str) -> dict[str, Any]:
    """Return the sample event with this `messageId`.

    Raises:
        LookupError: There is none.
    """
    for sample in SAMPLES:
        if isinstance(sample.event, dict) and sample.event.get("messageId") == message_id:
            return dict(sample.event)
    raise LookupError(message_id)
