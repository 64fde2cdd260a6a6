"""`python -m worker` is the same as `signal-mailgun`."""

import sys


def main() -> None:
    """Run the command line.

    If Ctrl-C is pressed before that can be handled, it exits with status 130 and prints nothing.
    """
    try:
        from worker import cli  # noqa: PLC0415  this takes half of a command's start
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
