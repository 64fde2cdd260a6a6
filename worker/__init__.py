"""signal-mailgun: Signal events from a queue become members of a Mailgun mailing list.

The rooms, from the outermost to the innermost. Each imports only what is named below it.

    cli/            one file a command; console.py prints
    app.py          the Celery application
    dashboard/      what is added to Flower: pages of the dead-letter and the delay queue
    consumer/       everything Celery and kombu: transport, batch consumer, tasks, housekeeping
    local/          what `signal-mailgun run` starts
    monitoring/     status, metrics, log, alerts by webhook
    ops/            preview, search for events, files of events, checks of Redis and Mailgun
    wiring.py       the composition root: from settings to objects
    delivery/       one batch of events, from message to decision
    queue/          where messages lie: producer, in flight, delay queue, dead letters
    members/        what is known of each member: ledger, leases, merge, pages of members
    gate/           the circuit breaker and the rate limiter
    mailgun/        the client of Mailgun's API, and what its answers mean
    settings.py     what the operator has set
    signal/         what Signal says: event, preset, patch
    environment/    where settings come from: environment, .env, files of keys
    redis_client/   clients for the Redis that REDIS_URL names
    greenlets.py    deliveries that take turns in one thread
    greenlet_pool.py
                    at most so many of them at once
    privacy.py      what operators may see in place of a person's data
    printable.py    what may be shown of any text
    web_origin.py   whose page a request comes from, for servers without a login

    sandbox/        a Mailgun to try it on; it stands alone

The way of an event:

    queue/producer             LPUSH of a Celery message
    consumer/atomic_fetch      fetched, and noted as in flight, in one step
    queue/intake, envelope     read as a message, a bundle as its events
    consumer/gathering         gathered with others that are there at the same moment
    consumer/batch_consumer    handed to a greenlet, with its batch
    signal/event, patch        mapped to what one member shall hold
    delivery/processor         handed on, and what was decided is carried out
    delivery/deliverer         members leased (members/ledger)
    delivery/batch_write       read, merged, written (member_requests, bulk_calls), released
    delivery/retry_policy      decided: done, delay queue, or dead-letter queue
    consumer/batch_consumer    acknowledged
"""

from worker.queue.producer import enqueue, enqueue_many
from worker.signal.event import MalformedEvent, SignalEvent

__all__ = ["MalformedEvent", "SignalEvent", "enqueue", "enqueue_many"]
