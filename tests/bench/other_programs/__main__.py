"""The producer of a competitor: `python -m tests.bench.other_programs MODULE`.

It enqueues the events on stdin, one JSON object a line, with the function of MODULE.
"""

import importlib
import json
import sys

if __name__ == "__main__":
    competitor = importlib.import_module(f"tests.bench.other_programs.{sys.argv[1]}")
    competitor.enqueue([json.loads(line) for line in sys.stdin])
