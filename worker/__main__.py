"""`python -m worker` is the same as `signal-mailgun`."""

from worker.operate.cli import main

if __name__ == "__main__":
    main()
