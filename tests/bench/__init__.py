"""The benchmark: this program's speed beside others', in one run on one machine, as one table.

`python -m tests.bench` runs it.

    options.py      the options of a run
    people.py       the people on the list and the events about them, the same in every run
    lineup.py       the contenders, and how each is started
    contenders/     the other programs, in an environment of their own
    staging.py      events as each contender's own producer leaves them on Redis
    ground.py       the server, the sandbox and the list that all contenders use
    crew.py         a contender's processes: start, observation, end
    machine.py      the machine and the versions of a run
    proc.py         CPU time and memory of processes (Linux)
    feeding.py      puts staged events in front of a contender
    starter.py      a contender at the start: feed, warm up, read
    following.py    when each event was stored, by the sandbox's log
    verdict.py      whether the members are right at the end
    course.py       the events that a contender gets
    race.py         a contender without a rate limit
    limited.py      a contender under Mailgun's rate limit
    ceiling.py      the sandbox's own maximum
    endurance.py    a long run through one worker: its memory must stay flat
    figures.py      the values of a row, and their arithmetic (pure)
    table.py        the rows as a table (pure)
"""
