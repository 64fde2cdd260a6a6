"""Poison messages: messages that are too large or came back too often are buried unread.

The script that fetches messages buries them in Redis, since a worker that reads one may not survive
it. Each is a dead letter whose `signal` header holds the whole message as text, `original_text`.
"""

import json
from dataclasses import asdict
from functools import lru_cache

from worker.queue.codec import celery_message
from worker.queue.dead_letter import dead_letter
from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.message import Limits, Message
from worker.redis_client.lua import script

LIBRARY = script("worker.queue", "poison")
# After so many returns a message is fetched alone: if it ends its worker, no other message is in
# hand.
ALONE_AFTER = 2
LOOK_AGAIN_SECONDS = 0.2


@lru_cache(maxsize=1)
def limits_for_script(limits: Limits, integration: str, dead_letter_queue: str) -> str:
    """Return the limits as JSON for the script, with a dead letter for each reason.

    Args:
        limits: The limits.
        integration: The integration.
        dead_letter_queue: The name of the dead-letter queue.
    """
    answers = {
        DeadLetterReason.TOO_LARGE: f"put aside unread: MESSAGE_MAX_BYTES is {limits.bytes}, "
        "and the message has more",
        DeadLetterReason.POISON_MESSAGE: f"put aside unread: {limits.returns} times "
        "a worker ended, or failed, while it had it",
    }
    letters = {str(each): _template(each, integration, dead_letter_queue) for each in answers}
    data = {
        "bytes": limits.bytes,
        "returns": limits.returns,
        "alone": ALONE_AFTER,
        "look_again": LOOK_AGAIN_SECONDS,
        "answers": answers,
        "letters": letters,
    }
    return json.dumps(data, separators=(",", ":"))


def _template(reason: DeadLetterReason, integration: str, queue: str) -> dict[str, object]:
    message = Message(id="", args=(), kind=reason.replace("_", " "))
    letter = dead_letter(
        reason, message, status=None, answer="", died_at=0.0, integration=integration
    )
    return celery_message(message, queue, dead_letter=asdict(letter))
