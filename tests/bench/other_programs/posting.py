"""One POST for each event: a consumer without merge, ledger or batches.

It raises what `requests` raises.
"""

import json
import os
import threading
from collections.abc import Mapping
from typing import Any

import requests

TIMEOUT_SECONDS = 15
CONNECTIONS = threading.local()


def post(event: Mapping[str, Any]) -> None:
    """Post the event's member to Mailgun. Each thread keeps one connection."""
    answer = _session().post(members_url(), data=form_of(event), timeout=TIMEOUT_SECONDS)
    answer.raise_for_status()


def members_url() -> str:
    return (
        f"{os.environ['MAILGUN_API_BASE_URL']}/v3/lists/{os.environ['MAILGUN_LIST_ADDRESS']}"
        "/members"
    )


def form_of(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the form of the member as this event alone knows it; `vars` is JSON."""
    name, member_vars = fields_set_by(event)
    named = {"name": name} if name else {}
    subscribed = "yes" if event["context"]["consent"]["canonical"]["marketing"] else "no"
    return {
        "address": event["traits"]["email"],
        **named,
        "vars": json.dumps(member_vars),
        "subscribed": subscribed,
        "upsert": "yes",
    }


def fields_set_by(event: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return the name and the variables that the event sets by the Default preset."""
    variables: dict[str, Any] = {"anonymous_id": event["anonymousId"]}
    traits, properties = event["traits"], event.get("properties", {})
    match event["type"]:
        case "identify":
            variables |= {
                key: traits[key] for key in ("first_name", "last_name", "plan", "company")
            }
        case "page":
            variables["last_page_url"] = properties["url"]
        case _:
            variables |= {
                f"last_order_{key}": properties[f"{key}"] for key in ("revenue", "currency")
            }
            variables["last_order_id"] = properties["order_id"]
    return traits.get("name"), variables


def _session() -> requests.Session:
    session: requests.Session | None = getattr(CONNECTIONS, "session", None)
    if session is None:
        session = CONNECTIONS.session = requests.Session()
        session.auth = ("api", os.environ["MAILGUN_API_KEY"])
        session.trust_env = False  # else each request looks for proxies and .netrc
    return session
