"""The probe: every question put to the operator's own account, and what was found, under the operator's write mode."""

from dataclasses import dataclass

from worker.mailgun.outcome import Answer, NoAnswer
from worker.ops.account_probe.probe_member import Stopped, ThrowAway, Trouble, Unclear
from worker.ops.account_probe.questions import MERGE_INSTEAD, QUESTIONS, Mode, Question


@dataclass(frozen=True)
class Finding:
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
class Probed:
    """A probe, and how it ended."""

    findings: tuple[Finding, ...]  # none where it ended early
    leftover: bool  # of an earlier probe, deleted first
    gone: bool  # the throw-away member is not on the list
    trouble: Answer | NoAnswer | None = None  # what ended it early
    stopped: bool = False  # somebody ended it early


def probed(throw_away: ThrowAway, mode: Mode) -> Probed:
    """Ask everything. However it ends, the throw-away member has been deleted again if Mailgun let us."""
    findings: tuple[Finding, ...] = ()
    leftover, stopped, trouble = False, False, None
    try:
        leftover = throw_away.delete()
        findings = tuple(answered(question, throw_away, mode) for question in QUESTIONS)
    except Trouble as ended:
        trouble = ended.answer
    except Stopped:
        stopped = True
    finally:
        gone = throw_away.clean()
    return Probed(findings, leftover, gone, trouble, stopped)


def answered(question: Question, throw_away: ThrowAway, mode: Mode) -> Finding:
    """Put one question. Raises `Trouble` or `Stopped`."""
    try:
        found = question.ask(throw_away)
    except Unclear as unclear:
        found = str(unclear)
    return Finding(question.tried, question.assumed, found, mode in question.relied_on, _to_set(question, found, mode))


def _to_set(question: Question, found: str, mode: Mode) -> str:
    if mode in question.relied_on and found != question.assumed:
        return question.mend
    if mode == "overwrite" and found == question.lost_by_overwriting:
        return MERGE_INSTEAD
    return question.advice(found)
