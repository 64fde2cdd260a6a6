"""Why events become dead letters, each reason with its likely cause and the fix."""

from enum import StrEnum


class DeadLetterReason(StrEnum):
    """Why an event became a dead letter."""

    UNREADABLE_MESSAGE = "unreadable_message"
    UNKNOWN_TASK = "unknown_task"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    TOO_LARGE = "too_large"
    TOO_MANY_EVENTS = "too_many_events"
    POISON_MESSAGE = "poison_message"
    MALFORMED_EVENT = "malformed_event"
    MALFORMED_EMAIL = "malformed_email"
    REJECTED = "rejected"
    UNAUTHORIZED = "unauthorized"
    LIST_NOT_FOUND = "list_not_found"
    UNEXPECTED_STATUS = "unexpected_status"
    WRONG_MEMBER = "wrong_member"
    UNREADABLE_MEMBER = "unreadable_member"
    RETRIES_EXHAUSTED = "retries_exhausted"
    BURIED = "buried"


# Likely cause and fix of each reason. The first three are from "Troubleshooting" on the page of the
# integration, which does not name the others.
ADVICE: dict[DeadLetterReason, tuple[str, str]] = {
    DeadLetterReason.UNAUTHORIZED: (
        "Wrong key, wrong username, or wrong region",
        "Confirm the key is the Private key, the Base URL matches the key's region (US vs EU).",
    ),
    DeadLetterReason.LIST_NOT_FOUND: (
        "List does not exist, or wrong Base URL",
        "Create the mailing list in Mailgun first; "
        "verify the Mailing List Address and region host.",
    ),
    DeadLetterReason.REJECTED: (
        "Missing or malformed email",
        "Ensure events carry $traits.email; anonymous events have no address to upsert.",
    ),
    DeadLetterReason.MALFORMED_EMAIL: (
        "The event's email cannot be an address",
        "Fix the source that sends it, then send the corrected event; "
        "this one will not get through.",
    ),
    DeadLetterReason.UNREADABLE_MESSAGE: (
        "What lay on the queue is not a Celery message with a list of arguments",
        "Fix what writes to the queue (docs/producers.md). "
        "`dead-letters export` gives the events that can be read, "
        "`dead-letters show ID --raw` the message byte for byte.",
    ),
    DeadLetterReason.UNKNOWN_TASK: (
        "The message is for a task that this program does not have",
        "Fix the producer: the task is signal.deliver, or signal.deliver_many for a list. "
        "The events are whole: "
        "`dead-letters export --reason unknown_task`, then `send` what it gave.",
    ),
    DeadLetterReason.UNSUPPORTED_ENCODING: (
        "The message is serialized, compressed or encoded in a way that this program does not read",
        "Fix the producer: JSON in UTF-8, plain or compressed with gzip, bzip2, lzma or zstd. "
        "Replay what is here once a worker can read it; "
        "`dead-letters show ID --raw` gives it byte for byte.",
    ),
    DeadLetterReason.TOO_LARGE: (
        "The message, or what it holds when decompressed, is larger than MESSAGE_MAX_BYTES; "
        "a worker would need up to 36 times as much memory",
        "Let the producer send fewer events a message. "
        "Or raise MESSAGE_MAX_BYTES, and the workers' memory with it, then replay.",
    ),
    DeadLetterReason.TOO_MANY_EVENTS: (
        "The bundle holds more events than MESSAGE_MAX_EVENTS",
        "Let the producer send smaller bundles. "
        "`dead-letters export` gives the events, and `send` puts them on the queue in bundles; "
        "or raise MESSAGE_MAX_EVENTS and replay.",
    ),
    DeadLetterReason.POISON_MESSAGE: (
        "Workers ended, or failed, each time while they had it; most likely it is what ended them",
        "Look at the workers' last log lines and their memory. "
        "Once the cause is understood, replay it and watch one worker.",
    ),
    DeadLetterReason.MALFORMED_EVENT: (
        "The message is not a Signal event",
        "Fix the producer: one JSON object with a `type`, as the task's only argument.",
    ),
    DeadLetterReason.UNEXPECTED_STATUS: (
        "Mailgun, or a proxy before it, sent an answer that its documentation does not describe",
        "Look at the status and the answer; check MAILGUN_API_BASE_URL, then replay.",
    ),
    DeadLetterReason.WRONG_MEMBER: (
        "Mailgun answered for another address than the event's, "
        "so it may take the one for the other",
        "Compare the address in the answer with the event's, and look at both members at Mailgun; "
        "then fix the source, or replay.",
    ),
    DeadLetterReason.UNREADABLE_MEMBER: (
        "Mailgun shows the member in a form that cannot be read: the answer says why",
        "Look at the member at Mailgun and correct it there, or delete it; then replay.",
    ),
    DeadLetterReason.RETRIES_EXHAUSTED: (
        "Mailgun was unavailable for longer than RETRY_MAX_AGE_HOURS or RETRY_MAX_ATTEMPTS allow",
        "Check Mailgun's status and the network, then replay.",
    ),
    DeadLetterReason.BURIED: (
        "An operator put the event aside while it waited for its next try",
        "Replay it once it may be delivered, or purge it.",
    ),
}
