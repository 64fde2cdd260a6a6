"""The account probe: put each question to the operator's account, and judge what is found."""

from dataclasses import dataclass

from worker.mailgun.response import NoResponse, Response
from worker.ops.account_probe.probe_member import (
    MailgunUnavailable,
    ProbeCancelled,
    ProbeMember,
    UnexpectedAnswer,
)
from worker.ops.account_probe.questions import MERGE_INSTEAD, QUESTIONS, Mode, Question


@dataclass(frozen=True)
class ProbeFinding:
    """What was found for one question.

    Attributes:
        tried: What was tried.
        assumed: What a worker assumes of it.
        found: What Mailgun did.
        relied_on: Under the operator's write mode a worker goes wrong if it is not as assumed.
        to_set: The setting or the fix that follows, or `NOTHING`.
    """

    tried: str
    assumed: str
    found: str
    relied_on: bool
    to_set: str

    @property
    def well(self) -> bool:
        """Return True if a worker delivers correctly with this finding."""
        return not self.relied_on or self.found == self.assumed


@dataclass(frozen=True)
class ProbeReport:
    """The findings of a probe, and how it ended.

    Attributes:
        findings: One for each question; none if the probe ended early.
        leftover: A member of an earlier probe was there, and was deleted first.
        gone: The throw-away member is not on the list any more.
        trouble: The answer of Mailgun that ended the probe early.
    """

    findings: tuple[ProbeFinding, ...]
    leftover: bool
    gone: bool
    trouble: Response | NoResponse | None = None


def run_probe(probe_member: ProbeMember, mode: Mode) -> ProbeReport:
    """Ask all questions, and report, judging by the operator's write mode.

    However the probe ends, it then deletes the throw-away member.
    """
    findings: tuple[ProbeFinding, ...] = ()
    leftover, trouble = False, None
    try:
        leftover = probe_member.delete()
        findings = tuple(_put_question(question, probe_member, mode) for question in QUESTIONS)
    except MailgunUnavailable as ended:
        trouble = ended.answer
    except ProbeCancelled:
        pass  # the caller knows, since `stopped` is its own
    finally:
        gone = probe_member.clean()
    return ProbeReport(findings, leftover, gone, trouble)


def _put_question(question: Question, probe_member: ProbeMember, mode: Mode) -> ProbeFinding:
    try:
        found = question.ask(probe_member)
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
