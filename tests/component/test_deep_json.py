"""JSON as deep as Python lets it be, read in a thread of a worker or of Flower."""

import os
import subprocess
import sys

PROGRAM = """
import threading
import worker.app
from worker.queue.intake import parse_raw

def read():
    print(parse_raw('{"a":' * 100_000, str).refusal.reason)

thread = threading.Thread(target=read)
thread.start()
thread.join()
"""
STACK_KIB = 256  # of a thread, if the program asks for no more; musl gives 128, macOS 512


def test_json_nested_without_end_ends_no_thread_that_reads_it() -> None:
    given = {"MAILGUN_API_KEY": "key", "MAILGUN_LIST_ADDRESS": "list@example.com"}
    ended = subprocess.run(
        ["sh", "-c", f'ulimit -s {STACK_KIB} && exec "$@"', "sh", sys.executable, "-c", PROGRAM],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "unreadable_message\n", "")
