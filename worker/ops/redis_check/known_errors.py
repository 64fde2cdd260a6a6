"""What is known of Redis's errors: what each text means, and the fix."""

from worker.ops.redis_check.name_lookup import Speaks

OLDEST_VERSION = (6, 2)
VERSION = ".".join(map(str, OLDEST_VERSION))
USE_NEWER = f"Use Redis {VERSION} or newer, or Valkey."
RIGHTS_DOC = "docs/redis-rights.md"
ONE_SERVER = (
    "Use one Redis, with replicas and Sentinel if it must not fail: "
    "events move between keys in one step."
)
TO_PRIMARY = "Set REDIS_URL to its primary, or to sentinel://…, which finds it."

# (pattern of the error's text, what is found, the fix, whether it passes); the first match counts.
KNOWN_ERRORS = (
    (
        r"^NOAUTH",
        "wants a password, and REDIS_URL has none",
        "Put user and password in REDIS_URL.",
        False,
    ),
    (
        r"without any password configured|no password is set",
        "has no password, but REDIS_URL gives one",
        "Remove it from REDIS_URL, or make sure that this is the right server.",
        False,
    ),
    (r"^LOADING", "is still loading its data set", "Wait: workers go on by themselves.", True),
    (r"MASTERDOWN", "is a replica that has lost its primary", TO_PRIMARY, True),
    (r"READONLY|read only replica", "is a read-only replica", TO_PRIMARY, True),
    (
        r"OOM |used memory > ",
        "has no memory left (maxmemory), and refuses writes",
        "Raise maxmemory, or let workers empty the queue.",
        True,
    ),
    (
        r"MISCONF",
        "cannot write to its disk, and refuses writes until it can",
        "Free space on its disk or correct its rights there; its log names the error.",
        True,
    ),
    (
        r"NOREPLICAS",
        "has fewer replicas in step than min-replicas-to-write asks for, and refuses writes",
        "Bring its replicas back, or lower min-replicas-to-write.",
        True,
    ),
    (
        r"^DENIED",
        "is in protected mode, and answers its own machine only",
        "Give it a password (requirepass or ACL) and put it in REDIS_URL.",
        False,
    ),
    (
        r"max number of clients|max \+ cluster connections",
        "has no connection left (maxclients)",
        "Raise its maxclients, or end what holds connections.",
        True,
    ),
    (
        r"^(CLUSTERDOWN|CROSSSLOT|MOVED|ASK|TRYAGAIN)\b|cluster mode|cluster node"
        r"|hash to the same slot|non local key",
        "is a Redis Cluster",
        ONE_SERVER,
        False,
    ),
    (
        r"^BUSY\b",
        "is busy with a script that does not end",
        "Wait, or end it with SCRIPT KILL.",
        True,
    ),
)
NOT_SENTINEL_FIX = "Write redis://HOST:PORT/DB in REDIS_URL, or the Sentinels' port."
# Errors that Redis sends on its own, before any command.
UNASKED_ERRORS = tuple(each for each in KNOWN_ERRORS if "DENIED" in each[0] or "clients" in each[0])
FORBIDDEN = r"NOPERM|ACL failure|can't (run this command|access at least one)"
UNAVAILABLE = r"(?i)unknown (sub)?command|not (allowed|supported|permitted)\b|unsupported|disabled"
# What the address speaks → (what is found, the fix, whether it passes).
AT_ADDRESS = {
    Speaks.UNRESOLVED: (
        "does not answer: its host name does not resolve",
        "Correct the host in REDIS_URL, or its DNS entry.",
        True,
    ),
    Speaks.REFUSED: (
        "does not answer: the connection is refused",
        "Start Redis there, or set REDIS_URL to where it runs.",
        True,
    ),
    Speaks.UNREACHABLE: (
        "does not answer: no route, or time-out",
        "Check firewall and network, or set REDIS_URL to where Redis runs.",
        True,
    ),
    Speaks.SILENT: (
        "accepts connections, but does not answer",
        "Restart what listens there, or set REDIS_URL to where Redis runs.",
        True,
    ),
    Speaks.CLOSED: (
        "closes each connection without a word",
        "Start the Redis behind it if it is a load balancer, or set REDIS_URL to where Redis runs.",
        True,
    ),
    Speaks.HTTP: ("is an HTTP server, not Redis", "Set REDIS_URL to where Redis runs.", False),
    Speaks.OTHER: (
        "is not Redis: it speaks another protocol",
        "Set REDIS_URL to where Redis runs.",
        False,
    ),
}
UNSTEADY = (
    "answers, but ended a connection or took too long",
    "Look at its load, its log, and at proxies in between.",
    True,
)
ASKED_PLAIN = {
    Speaks.TLS: ("speaks TLS, which redis:// does not", "Write rediss:// in REDIS_URL.", False),
    Speaks.REDIS: UNSTEADY,
}
ASKED_TLS = {
    # If Redis wants a client certificate, the connection of a client without one mostly ends before
    # the client can read why.
    Speaks.TLS: (
        UNSTEADY[0],
        "Name a client certificate if it wants one: ?ssl_certfile=FILE&ssl_keyfile=FILE "
        "in REDIS_URL; if not: look at its load, its log, and at proxies in between.",
        True,
    ),
    Speaks.REDIS: (
        "speaks no TLS, which rediss:// needs",
        "Write redis:// in REDIS_URL, or Redis's TLS port.",
        False,
    ),
}
CERTIFICATE = {
    10: ("has expired", "Renew it."),
    62: ("is for another host name", "Write the host in REDIS_URL as the certificate names it."),
    64: ("is for another address", "Write the host in REDIS_URL as the certificate names it."),
}
