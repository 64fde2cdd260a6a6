"""`python -m worker` is the same as `signal-mailgun`."""

import sys


def main() -> None:
    """Run the command line. Ctrl-C while it is still being loaded ends it without a word."""
    try:
        from worker import cli  # noqa: PLC0415  this takes most of a command's start
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
