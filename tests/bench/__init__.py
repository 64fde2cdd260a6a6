"""`python -m tests.bench`: how fast this program is beside others, measured in one run on one machine, told in one table.

options.py      what to run, and how much of it
people.py       the people on the list and the events about them, the same in every run
lineup.py       who is compared, and how each is started
contenders/     the others, in an environment of their own
staging.py      events as each contender's own producer leaves them on Redis
ground.py       the server, the sandbox and the list that all of them work on
crew.py         a contender's processes: started, watched, ended
machine.py      where and with what it ran
proc.py         what the system knows about processes: CPU, memory                (Linux)
feeding.py      putting staged events in front of a contender
starter.py      a contender at the start: fed, warmed up, read off
following.py    when each event was stored, by the sandbox's log
verdict.py      whether the members are right in the end
course.py       what is put before a contender
race.py         a contender with as many requests as it can make
limited.py      a contender under Mailgun's rate limit
ceiling.py      the sandbox's own maximum
endurance.py    a long run through one worker: does its memory stay flat?
figures.py      what a row of the table says, and its arithmetic                  (pure)
table.py        the rows as a table                                               (pure)
"""
