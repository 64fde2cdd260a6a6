"""`python -m tests.wrong_clock SECONDS ARGUMENTS`: `signal-mailgun` with a wrong clock.

Modules that were loaded before have it, too.
"""

import sys
import time

from worker.cli import main


def set_clock(off: float) -> None:
    """Let `time.time` be off by so many seconds, under every name that it has."""
    right = time.time

    def wrong() -> float:
        return right() + off

    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            if value is right:
                setattr(module, name, wrong)


if __name__ == "__main__":
    set_clock(float(sys.argv[1]))
    sys.argv = ["signal-mailgun", *sys.argv[2:]]
    main()
