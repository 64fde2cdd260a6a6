"""What the system knows about processes: the CPU time they used and the most memory they had. Reads /proc, so Linux only."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
GONE = (FileNotFoundError, ProcessLookupError)
RESET_PEAK = "5"  # proc(5), clear_refs: the peak becomes what is resident now

# Fields of /proc/<pid>/stat, counted from the one after the command's closing bracket.
SESSION, CPU_TIMES = 3, slice(11, 15)  # utime, stime, and those of children that have ended


@dataclass(frozen=True)
class Process:
    """A process as /proc/<pid>/stat shows it."""

    pid: int
    session: int
    cpu_seconds: float


def processes() -> list[Process]:
    """Every process there is."""
    return [
        found
        for each in PROC.iterdir()
        if each.name.isdecimal() and (found := process(int(each.name)))
    ]


def process(pid: int) -> Process | None:
    """The process; None where it has gone."""
    with suppress(*GONE):
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return Process(
            pid, int(fields[SESSION]), sum(map(int, fields[CPU_TIMES])) / TICKS_PER_SECOND
        )
    return None


def session_of(leaders: Iterable[int]) -> list[Process]:
    """The processes of the sessions that these processes lead."""
    led = set(leaders)
    return [each for each in processes() if each.session in led]


def cpu_seconds(pid: int) -> float:
    """What the process has used so far."""
    found = process(pid)
    return found.cpu_seconds if found else 0.0


def resident_megabytes(pid: int, *, peak: bool) -> float:
    """How much memory the process has now, or had at its peak; 0 where it has gone."""
    field = "VmHWM:" if peak else "VmRSS:"
    with suppress(*GONE):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return 0.0


def reset_peak(pid: int) -> None:
    """The process's peak is counted anew from here on."""
    with suppress(*GONE, PermissionError):
        (PROC / str(pid) / "clear_refs").write_text(RESET_PEAK)
