"""`signal-mailgun trigger KIND`: enqueue one sample event, to see a whole way through."""

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit
from uuid import uuid4

import typer

from worker.cli.console import CommandError, err, out
from worker.environment.addresses import LOOPBACK_HOSTS
from worker.local.samples import sample_of
from worker.ops.integrations import is_served
from worker.queue.producer import EventQueue, message_for
from worker.redis_client.client import connect
from worker.settings import Settings, load_settings
from worker.signal.event import MalformedEvent


class Kind(StrEnum):
    """The kinds of sample event, by the word on the command line."""

    PAGE = "page"
    SIGNUP = "signup"
    IDENTIFY = "identify"
    ORDER = "order"


# The sample of each kind.
SAMPLES = {
    Kind.PAGE: "sample-page",
    Kind.SIGNUP: "sample-signed-up",
    Kind.IDENTIFY: "sample-identified",
    Kind.ORDER: "sample-order",
}


def trigger(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"One of: {', '.join(Kind)}.")],
    *,
    email: Annotated[
        str | None, typer.Option(help="The member. Default on the sandbox: jane@example.com.")
    ] = None,
) -> None:
    """Enqueue one sample event, under an id of its own."""
    settings = load_settings()
    address = email or _default_address(settings)
    event_id = f"trigger-{uuid4().hex[:12]}"
    event = {**sample_of(SAMPLES[kind]), "messageId": event_id}
    event = {**event, "traits": {**event.get("traits", {}), "email": address}}
    store = connect(settings.redis_url)
    try:
        EventQueue(store, settings.queue).put([message_for(event)])
    except MalformedEvent as error:
        raise CommandError(str(error)) from None
    if not is_served(settings, store):
        err.print(
            f"no worker has ever served {settings.queue}: the event waits there until one does"
        )
    out.print(
        f"{event_id} enqueued on {settings.queue};",
        f"`signal-mailgun explain {event_id}` says how it ends",
    )


def _default_address(settings: Settings) -> str:
    """Return the sample's address.

    Raises:
        CommandError: Mailgun is not on this machine, so an invented member might be a real one.
    """
    host = urlsplit(settings.mailgun_api_base_url).hostname
    if host not in LOOPBACK_HOSTS:
        raise CommandError(
            f"the event would go to {host}; give an address of your own with --email"
        )
    return "jane@example.com"
