"""`python -m tests.bench.contenders MODULE`: enqueues the events on stdin, one in JSON a line, the way MODULE does it."""

import importlib
import json
import sys

if __name__ == "__main__":
    contender = importlib.import_module(f"tests.bench.contenders.{sys.argv[1]}")
    contender.enqueue([json.loads(line) for line in sys.stdin])
