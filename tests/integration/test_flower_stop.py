"""Flower ends when it is told to, whatever Python is just doing."""

from pathlib import Path

import pytest

from tests.integration.bench import printed_by
from tests.servers import RedisServer, free_port

# In a finalizer Python prints an exception of a signal's handler, and goes on.
STOPPED_IN_A_FINALIZER = """
import os, signal, sys
from celery.__main__ import main
from tornado.ioloop import IOLoop

class StopsTheProcess:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})

def stop():
    StopsTheProcess()

IOLoop.current().call_later(1, stop)
sys.argv = ["celery", "-A", "worker.app", "flower", "--address=127.0.0.1", "--port={port}"]
main()
"""


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_signal_ends_flower_also_while_an_object_is_freed(
    server: RedisServer, tmp_path: Path, signal: str
) -> None:
    program = STOPPED_IN_A_FINALIZER.format(signal=signal, port=free_port())
    settings = {"REDIS_URL": server.url, "FLOWER_BASIC_AUTH": "operator:secret"}
    ended = printed_by("-c", program, folder=tmp_path, **settings)
    assert (ended.status, "Traceback" in ended.err) == (0, False), ended.err
