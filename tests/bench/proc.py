"""CPU time and peak memory of processes, read from /proc, so on Linux only."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
GONE = (FileNotFoundError, ProcessLookupError)
RESET_PEAK = "5"  # proc(5), clear_refs: sets the peak to the resident memory

# Fields of /proc/<pid>/stat, from 0 after the command's closing bracket.
SESSION, CPU_TIMES = 3, slice(11, 15)  # utime, stime, and those of children that have ended


@dataclass(frozen=True)
class Process:
    """A process as /proc/<pid>/stat shows it."""

    pid: int
    session: int
    cpu_seconds: float


def processes() -> list[Process]:
    """Return all processes."""
    return [
        found
        for each in PROC.iterdir()
        if each.name.isdecimal() and (found := process(int(each.name)))
    ]


def process(pid: int) -> Process | None:
    """Return the process, or None if it has ended."""
    with suppress(*GONE):
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return Process(
            pid, int(fields[SESSION]), sum(map(int, fields[CPU_TIMES])) / TICKS_PER_SECOND
        )
    return None


def session_of(leaders: Iterable[int]) -> list[Process]:
    """Return the processes of the sessions that these processes lead."""
    led = set(leaders)
    return [each for each in processes() if each.session in led]


def cpu_seconds(pid: int) -> float:
    """Return the process' CPU time so far; 0 if it has ended."""
    found = process(pid)
    return found.cpu_seconds if found else 0.0


def resident_megabytes(pid: int, *, peak: bool) -> float:
    """Return the process' resident memory or its peak, in MB; 0 if it has ended."""
    field = "VmHWM:" if peak else "VmRSS:"
    with suppress(*GONE):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return 0.0


def reset_peak(pid: int) -> None:
    """Begin to measure the process' peak memory anew."""
    with suppress(*GONE, PermissionError):
        (PROC / str(pid) / "clear_refs").write_text(RESET_PEAK)
