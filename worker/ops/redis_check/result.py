"""What one look of `check` found, how grave it is, and the fix: data that the command line prints and a worker logs."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How grave a result is."""

    OK = "ok"
    # It could not be looked at; the fix says what to make sure of.
    UNKNOWN = "unknown"
    # A worker delivers, but something is missing or may go wrong.
    WARNING = "warning"
    # A worker could not deliver, or events could be lost.
    NO = "no"


@dataclass(frozen=True)
class CheckResult:
    """What one look found; `fix` is empty if all is well."""

    what: str
    found: str
    fix: str = ""
    severity: Severity = Severity.OK
    # It does not pass by itself: a worker that finds it at its start ends.
    ends_worker: bool = False

    @property
    def ok(self) -> bool:
        """Return whether a worker could deliver and no event could be lost, as far as this look goes."""
        return self.severity is not Severity.NO

    def in_one_line(self) -> str:
        """Return what was found and the fix, as errors are told."""
        return f"{self.found}; {self.fix.rstrip('.')}"


def passed(what: str, found: str) -> CheckResult:
    """Return a result that needs no fix."""
    return CheckResult(what, found)


def unknown(what: str, found: str, fix: str) -> CheckResult:
    """Return a result for what could not be looked at."""
    return CheckResult(what, found, fix, Severity.UNKNOWN)


def warned(what: str, found: str, fix: str) -> CheckResult:
    """Return a result that a worker can live with."""
    return CheckResult(what, found, fix, Severity.WARNING)


def failed(what: str, found: str, fix: str, *, ends_worker: bool = False) -> CheckResult:
    """Return a result with which a worker could not deliver, or events could be lost."""
    return CheckResult(what, found, fix, Severity.NO, ends_worker)
