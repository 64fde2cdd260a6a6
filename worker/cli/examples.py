"""Examples of each command, which its `--help` shows. A test parses every one of them."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": ("run", "run --once"),
    "worker": ("worker", "worker --concurrency 8 --task-events"),
    "flower": ("flower", "flower --port 5556 --basic-auth=USER:PASSWORD"),
    "send": ("send events.ndjson", "zcat events.gz | signal-mailgun send -"),
    "trigger": ("trigger page", "trigger identify --email jane@example.com"),
    "preview": ("preview events.ndjson", "preview --json - < events.ndjson"),
    "check": ("check", "check --probe", "check --alert"),
    "status": ("status", "status --watch --interval 5", "status --all"),
    "sync": ("sync",),
    "explain": ("explain m-1", "explain jane@example.com --json"),
    "tail": ("tail", "tail --last 100 --no-follow --json"),
    "forget": ("forget jane@example.com",),
    "pause": ("pause",),
    "resume": ("resume", "resume --now"),
    "sandbox": ("sandbox", "sandbox --port 0"),
    "dead-letters list": ("dead-letters list --reason rejected --since 2h",),
    "dead-letters show": ("dead-letters show m-1", "dead-letters show m-1 --raw > message"),
    "dead-letters export": ("dead-letters export --kind identify > events.ndjson",),
    "dead-letters replay": (
        "dead-letters replay --reason unauthorized --dry-run",
        "dead-letters replay --reason unauthorized --rate 50",
    ),
    "dead-letters purge": (
        "dead-letters purge --until 30d --dry-run",
        "dead-letters purge --id m-1 --yes",
    ),
    "delayed list": ("delayed list --reason unavailable",),
    "delayed show": ("delayed show m-1",),
    "delayed retry": ("delayed retry --status 503 --rate 50", "delayed retry --id m-1 --yes"),
    "delayed bury": ("delayed bury --kind identify --since 2h",),
    "delayed purge": ("delayed purge --id m-1 --yes",),
}


def epilog(path: str) -> str:
    """Return the text below the options of the command at `path`, such as `delayed list`."""
    lines = (
        each if "signal-mailgun" in each else f"signal-mailgun {each}"
        for each in EXAMPLES.get(path, ())
    )
    # The backspace keeps the lines as they are.
    return "\n  ".join(("\b\nExamples:", *lines))
