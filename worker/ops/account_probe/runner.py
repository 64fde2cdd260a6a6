"""The probe: every question put to the operator's own account, and what was found, under the operator's write mode."""

from dataclasses import dataclass

from worker.mailgun.outcome import NoResponse, Response
from worker.ops.account_probe.probe_member import (
    MailgunUnavailable,
    ProbeCancelled,
    ProbeMember,
    UnexpectedAnswer,
)
from worker.ops.account_probe.questions import MERGE_INSTEAD, QUESTIONS, Mode, Question


@dataclass(frozen=True)
class ProbeFinding:
    """What became of a question."""

    tried: str
    assumed: str
    found: str
    relied_on: bool  # the worker goes wrong where it is not as assumed
    to_set: str

    @property
    def well(self) -> bool:
        """Can the worker be right?"""
        return not self.relied_on or self.found == self.assumed


@dataclass(frozen=True)
class ProbeReport:
    """A probe, and how it ended."""

    findings: tuple[ProbeFinding, ...]  # none where it ended early
    leftover: bool  # of an earlier probe, deleted first
    gone: bool  # the throw-away member is not on the list
    trouble: Response | NoResponse | None = None  # what ended it early
    stopped: bool = False  # somebody ended it early


def probed(throw_away: ProbeMember, mode: Mode) -> ProbeReport:
    """Ask everything. However it ends, the throw-away member has been deleted again if Mailgun let us."""
    findings: tuple[ProbeFinding, ...] = ()
    leftover, stopped, trouble = False, False, None
    try:
        leftover = throw_away.delete()
        findings = tuple(answered(question, throw_away, mode) for question in QUESTIONS)
    except MailgunUnavailable as ended:
        trouble = ended.answer
    except ProbeCancelled:
        stopped = True
    finally:
        gone = throw_away.clean()
    return ProbeReport(findings, leftover, gone, trouble, stopped)


def answered(question: Question, throw_away: ProbeMember, mode: Mode) -> ProbeFinding:
    """Put one question. Raises `MailgunUnavailable` or `ProbeCancelled`."""
    try:
        found = question.ask(throw_away)
    except UnexpectedAnswer as unclear:
        found = str(unclear)
    return ProbeFinding(
        question.tried,
        question.assumed,
        found,
        mode in question.relied_on,
        _to_set(question, found, mode),
    )


def _to_set(question: Question, found: str, mode: Mode) -> str:
    if mode in question.relied_on and found != question.assumed:
        return question.fix
    if mode == "overwrite" and found == question.lost_by_overwriting:
        return MERGE_INSTEAD
    return question.advice(found)
