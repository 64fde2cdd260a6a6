"""What no worker takes: a message that is too large, and one that came back too often from workers that did not end it.

Such a message is put aside in Redis, by the script that takes messages: a worker that read it might not live to say so. It is a
dead letter whose `signal` header holds the whole message as a text, `original_text`.
"""

import json
from dataclasses import asdict
from functools import lru_cache

from worker.queue.dead_letter_reasons import DeadLetterReason
from worker.queue.dead_letters import dead_letter
from worker.queue.message import Limits, Message, envelope
from worker.redis_client.lua import script

LIBRARY = script("worker.queue", "poison")
# Returns from which a message is taken alone, so that the one that ends workers does so without the others.
ALONE_AFTER = 2
LOOK_AGAIN_SECONDS = 0.2


@lru_cache(maxsize=1)
def limits_for_script(limits: Limits, integration: str, dead_letter_queue: str) -> str:
    """Return the limits as the script takes them, with the dead letter that each reason makes."""
    answers = {
        DeadLetterReason.TOO_LARGE: f"put aside unread: MESSAGE_MAX_BYTES is {limits.bytes}, and the message has more",
        DeadLetterReason.POISON_MESSAGE: f"put aside unread: {limits.returns} times a worker ended, or failed, while it had it",
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
    return envelope(message, queue, dead_letter=asdict(letter))
