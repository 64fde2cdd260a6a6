"""Check results as data that the command line prints and a worker logs: finding, severity, fix."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How grave a result is."""

    OK = "ok"
    # It could not be looked at. The fix says what the operator should make sure of.
    UNKNOWN = "unknown"
    # A worker delivers, but something is missing or may go wrong.
    WARNING = "warning"
    # A worker could not deliver, or events could be lost.
    NO = "no"


@dataclass(frozen=True)
class CheckResult:
    """What one look of `check` found.

    Attributes:
        what: What was looked at.
        found: What was found.
        fix: What to do; empty if all is well.
        severity: How grave it is.
        ends_worker: It does not pass by itself, so a worker that finds it at its start ends.
    """

    what: str
    found: str
    fix: str = ""
    severity: Severity = Severity.OK
    ends_worker: bool = False

    @property
    def ok(self) -> bool:
        """Return True if, by this look, a worker can deliver and no event can be lost."""
        return self.severity is not Severity.NO

    def in_one_line(self) -> str:
        """Return what was found and the fix in the form of an error text."""
        return f"{self.found}; {self.fix.rstrip('.')}"


def passed(what: str, found: str) -> CheckResult:
    """Return a result that needs no fix."""
    return CheckResult(what, found)


def unknown(what: str, found: str, fix: str) -> CheckResult:
    """Return a result for what could not be looked at."""
    return CheckResult(what, found, fix, Severity.UNKNOWN)


def warned(what: str, found: str, fix: str) -> CheckResult:
    """Return a result with which a worker delivers, though something may go wrong."""
    return CheckResult(what, found, fix, Severity.WARNING)


def failed(what: str, found: str, fix: str, *, ends_worker: bool = False) -> CheckResult:
    """Return a result with which a worker cannot deliver, or events can be lost."""
    return CheckResult(what, found, fix, Severity.NO, ends_worker)
