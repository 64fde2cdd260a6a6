"""The producer of a contender: `python -m tests.bench.contenders MODULE`.

It enqueues the events on stdin, one JSON object a line, with the function of MODULE.
"""

import importlib
import json
import sys

if __name__ == "__main__":
    contender = importlib.import_module(f"tests.bench.contenders.{sys.argv[1]}")
    contender.enqueue([json.loads(line) for line in sys.stdin])
