"""The example of the integration's page as printed: an event, and the request that it becomes."""

from typing import Any

EVENT: dict[str, Any] = {
    "type": "identify",
    "userId": "user-123",
    "anonymousId": "a1b2c3",
    "traits": {
        "email": "Jane@Example.com",
        "name": "Jane Doe",
        "first_name": "Jane",
        "last_name": "Doe",
        "plan": "pro",
        "company": "Acme Ltd",
    },
}
LINE = "POST https://api.mailgun.net/v3/lists/newsletter@mg.example.com/members"
FIELDS = """\
address=jane@example.com
name=Jane Doe
subscribed=true
upsert=true
vars={"first_name":"Jane","last_name":"Doe","plan":"pro","company":"Acme Ltd","anonymous_id":"a1b2c3"}"""
