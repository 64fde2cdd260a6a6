"""The benchmark: this program's speed beside others', in one run on one machine, as tables.

`python -m tests.bench` runs it.

    options.py          the options of a run
    people.py           the people on the list and the events about them, the same in every run
    traffic.py          the kinds of traffic: whom events are about, and what changes
    competitors.py      the competitors, and how each is started
    other_programs/     the other programs, in an environment of their own
    staging.py          events as each competitor's own producer leaves them on Redis
    environment.py      the server, the sandbox and the list that all competitors use
    processes.py        a competitor's processes: start, measurement, end
    machine.py          the machine and the versions of a run
    proc.py             CPU time and memory of processes (Linux)
    feeding.py          puts staged events in front of a competitor
    running.py          a competitor whose workers run: feed, warm up, measure
    storage_times.py    when each event was stored, by the sandbox's log
    list_check.py       whether the members are right at the end
    workload.py         the events that a competitor gets, by scenario
    throughput.py       a competitor without a rate limit
    limited.py          competitors under Mailgun's rate limit, several side by side
    ceiling.py          the sandbox's own maximum
    soak.py             a long run through one worker: its memory must stay flat
    figures.py          the values of a row, and their arithmetic (pure)
    table.py            the rows as tables (pure)
"""
