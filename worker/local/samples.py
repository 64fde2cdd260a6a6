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


def _event(message_id: str, **fields: Any) -> dict[str, Any]:
    return {"messageId": f"sample-{message_id}", **fields}


def _email(name: str) -> dict[str, str]:
    return {"email": f"{name}@example.com"}


SAMPLES: tuple[Sample, ...] = (
    # A person's session, in Signal's own words.
    Sample(
        _event(
            "identified",
            type="identify",
            userId="user-123",
            anonymousId="a1b2c3",
            traits={
                "email": "Jane@Example.com",
                "name": "Jane Doe",
                "first_name": "Jane",
                "last_name": "Doe",
                "plan": "pro",
                "company": "Acme Ltd",
            },
        )
    ),
    Sample(
        _event(
            "signed-up",
            type="track",
            event="Signed Up",
            anonymousId="b2",
            traits=_email("sam"),
            properties={"method": "google"},
        )
    ),
    Sample(
        _event(
            "page",
            type="page",
            traits=_email("pat"),
            properties={"url": "https://shop.example.com/pricing"},
        )
    ),
    Sample(
        _event(
            "order",
            type="track",
            event="Order Completed",
            traits=_email("olive"),
            properties={"order_id": "A-1001", "revenue": 129.9, "currency": "EUR"},
        )
    ),
    # The dialects, and consent given and refused.
    Sample(
        _event(
            "purchase",
            type="track",
            event="purchase",
            context={"traits": _email("gary")},
            properties={"transaction_id": "T-77", "value": 15, "currency": "USD"},
        )
    ),
    Sample(
        _event(
            "consent",
            type="track",
            event="Identified",
            traits={**_email("nora"), "firstName": "Nora", "lastName": "No"},
            context={"consent": {"canonical": {"marketing": False}}},
        )
    ),
    # Skipped: there is nothing to deliver, and no error.
    Sample(
        _event(
            "anonymous",
            type="page",
            anonymousId="c3",
            properties={"url": "https://shop.example.com/"},
        )
    ),
    Sample(
        _event(
            "hashed",
            type="identify",
            traits={"email": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        )
    ),
    Sample(_event("unmapped", type="track", event="Video Played", traits=_email("vera"))),
    # Retried until it works.
    Sample(
        _event("throttled", type="identify", traits={**_email("tom"), "name": "Tom Told-to-wait"}),
        {
            "kind": "status",
            "status": 429,
            "count": 1,
            "hint": "retry_after_seconds",
            "wait_seconds": 2,
        },
    ),
    Sample(
        _event("unavailable", type="identify", traits={**_email("una"), "name": "Una Vailable"}),
        {"kind": "status", "status": 503, "count": 2},
    ),
    Sample(
        _event("reset", type="identify", traits={**_email("rita"), "name": "Rita Reset"}),
        {"kind": "reset", "count": 1},
    ),
    Sample(
        _event("wrong-answer", type="identify", traits={**_email("mag"), "name": "Mag Nificent"}),
        {"kind": "magnificent", "count": 1},
    ),
    # Dead letters.
    Sample(_event("no-address", type="identify", traits={"email": "not an address"})),
    Sample(
        _event("rejected", type="identify", traits=_email("rex")),
        {
            "kind": "status",
            "status": 400,
            "message": "The 'address' parameter should be a valid email address",
        },
    ),
    Sample(
        _event("unauthorized", type="identify", traits=_email("uri")),
        {"kind": "status", "status": 401, "body": "plain", "message": "Forbidden"},
    ),
    Sample(
        _event("list-missing", type="identify", traits=_email("lou")),
        {
            "kind": "status",
            "status": 404,
            "message": "Mailing list newsletter@mg.example.com not found",
        },
    ),
    Sample(
        _event("odd-status", type="identify", traits=_email("ted")),
        {"kind": "status", "status": 418},
    ),
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
