"""Flower ends when it is told to, whatever Python is just doing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.bench import clean_environment
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
    environment = clean_environment(REDIS_URL=server.url, FLOWER_BASIC_AUTH="operator:secret")
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
