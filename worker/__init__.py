"""signal-mailgun: Signal events from a queue become members of a Mailgun mailing list.

The way of an event, and where each step lives:

    signal/     what Signal says: event, preset, patch            pure
    mailgun/    what Mailgun is told, and answers                 member, page and outcome pure; the client asks
    delivery/   getting it there: merge, ledger, flow (hold and pace), attempt, decision, parking, waiting, dead letters;
                census and opt_outs: the ledger filled from Mailgun's member pages
    broker.py   how a worker takes messages from Redis so that none can be lost on the way
    load.py      what a worker has in hand beside what its channel took: it leaves so much less room
    takings.py, delivery/repeats.py
                what Redis did not answer, done again; reconnect.py: no connection is trusted beside a dead one
    housekeeping.py rounds of what a worker does besides, one at a time
    shutdown.py the end of a worker while Redis is away
    worker_process.py, remote_control.py, broadcasts.py, switched_off.py
                Celery's worker and its remote control as they are here: its options and exit status, its commands, which
                messages are commands, what is switched off and what to do instead
    app.py      the Celery application; tasks.py its tasks: what was handled, told in Celery's terms
    settings.py what the operator has set; assembly.py puts the parts together from it; store.py connects to Redis
    redis_address.py what REDIS_URL says, with redis_options.py; redis_tls.py looks at its files, sentinels.py asks for
                the master
    privacy.py  what operators may see in place of a person's data; printable.py what may be shown of any text
    web_origin.py  whose page a request comes from, for servers without a login
    variables.py which names in the environment are misspelt settings
    producer.py the other end: putting events on the queue, one a message or bundled
    plain.py    what a producer has in hand as an event's JSON text
    operate/    running it: command line, logs, everything on one machine
    sandbox/    a Mailgun to try it on

Imports point inwards: no pure module imports an effect, `mailgun` knows nothing of Celery, `delivery` nothing of the
command line.
"""

from worker.producer import enqueue, enqueue_many
from worker.signal.event import MalformedEvent, SignalEvent

__all__ = ["MalformedEvent", "SignalEvent", "enqueue", "enqueue_many"]
