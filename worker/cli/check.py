"""`signal-mailgun check`: can we reach Redis, is the key right, does the list exist, is it the other region?"""

from collections.abc import Iterator
from typing import Annotated

import typer

from worker.cli.console import CommandError, out, styled
from worker.cli.probe import probe_account
from worker.mailgun.client import MailgunClient
from worker.mailgun.outcome import NoResponse, Response, list_exists
from worker.mailgun.texts import shown
from worker.ops.redis_check.check import report_on_redis
from worker.ops.redis_check.result import CheckResult, Severity, failed, passed
from worker.settings import EU_REGION, US_REGION, Settings, SettingsError, load_settings
from worker.signal.preset import PresetError, load_preset
from worker.wiring import mailgun_for

MARKS = {  # a sign and its colour
    Severity.OK: ("✓", "green"),
    Severity.UNKNOWN: ("?", ""),
    Severity.WARNING: ("!", "yellow"),
    Severity.NO: ("✗", "red"),
}


def check(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="instead try what is not certain about Mailgun, with one throw-away member",
        ),
    ] = False,
) -> None:
    """Look whether a worker with these settings could deliver; exit 1 when it could not. Changes nothing without --probe."""
    settings = load_settings()
    if probe:
        _probe(settings, as_json=as_json)
        return
    findings = list(all_findings(settings))
    if as_json:
        out.print_json(data=[_as_json(finding) for finding in findings])
    else:
        for finding in findings:
            _show(finding)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def all_findings(settings: Settings) -> Iterator[CheckResult]:
    """Every look, in the order in which fixing makes sense."""
    yield from report_on_redis(settings.redis_url, settings.signal_integration).results
    yield _preset_finding(settings)
    try:
        yield finding_for(settings)
    except SettingsError as error:
        yield failed("MailgunClient", "not looked at", str(error))


def _probe(settings: Settings, *, as_json: bool) -> None:
    first = finding_for(settings)
    if not first.ok:
        raise CommandError(first.in_one_line())
    probe_account(
        settings,
        as_json=as_json,
        trouble=lambda answer: trouble_finding(answer, settings.mailgun_api_base_url).in_one_line(),
    )


def finding_for(settings: Settings) -> CheckResult:
    """Could a worker with these settings ask Mailgun? Raises `SettingsError`."""
    other = other_region(settings.mailgun_api_base_url)
    there = (
        mailgun_for(settings.model_copy(update={"mailgun_api_base_url": other})) if other else None
    )
    return mailgun_finding(mailgun_for(settings), settings.mailgun_api_base_url, there, other or "")


def _preset_finding(settings: Settings) -> CheckResult:
    try:
        preset = load_preset(settings.mailgun_preset)
    except PresetError as error:
        return failed("Preset", "cannot be used", str(error))
    return passed("Preset", f"{len(preset.event)} kinds of event mapped")


def other_region(base_url: str) -> str | None:
    """The other Mailgun region's address, where `base_url` is one of the two."""
    return {US_REGION: EU_REGION, EU_REGION: US_REGION}.get(base_url)


def mailgun_finding(
    here: MailgunClient, base_url: str, there: MailgunClient | None = None, other_url: str = ""
) -> CheckResult:
    """Is the key right and does the list exist? If not, does the other region know both? It is only looked at, never used."""
    answer = here.read_list()
    if isinstance(answer, NoResponse):
        return trouble_finding(answer, base_url)
    if list_exists(answer):
        return passed(
            "MailgunClient",
            f"{base_url}: the key is right, the list exists ({members_count(answer)} members)",
        )
    if answer.status in {401, 403, 404} and there and list_exists(there.read_list()):
        return failed(
            "MailgunClient",
            f"{base_url}: {answer.status}, but the list is in the other region",
            f"Set MAILGUN_API_BASE_URL={other_url}",
        )
    return _answer_finding(answer, base_url, here.quoted(answer))


def trouble_finding(answer: Response | NoResponse, base_url: str) -> CheckResult:
    """Why Mailgun cannot be asked, and the fix."""
    if isinstance(answer, NoResponse):
        return failed(
            "MailgunClient",
            f"{base_url}: {answer.reason}",
            "Check the network and MAILGUN_API_BASE_URL.",
        )
    return _answer_finding(answer, base_url, shown(answer.text()))


def _answer_finding(answer: Response, base_url: str, text: str) -> CheckResult:
    match answer.status:
        case 401 | 403:
            fix = (
                "Confirm that MAILGUN_API_KEY is the Private API key and may manage mailing lists."
            )
        case 404:
            fix = "Create the mailing list in Mailgun first; verify MAILGUN_LIST_ADDRESS and the region's host."
        case 420 | 429:
            fix = "Mailgun asks to slow down: try again in a minute."
        case _ if answer.status >= 500:
            fix = "Mailgun is unavailable: try again, and look at its status page."
        case _:
            fix = "That is not Mailgun's answer: verify MAILGUN_API_BASE_URL."
    return failed("MailgunClient", f"{base_url}: {answer.status} {text}", fix)


def members_count(answer: Response) -> int:
    """How many members the list in `answer` has."""
    count = answer.json()["list"].get("members_count")
    return count if isinstance(count, int) and count > 0 else 0


def _show(finding: CheckResult) -> None:
    out.print(styled(*MARKS[finding.severity]), f"{finding.what}: {finding.found}")
    if finding.fix:
        out.print(styled(f"  → {finding.fix}", "yellow"))


def _as_json(finding: CheckResult) -> dict[str, object]:
    return {
        "what": finding.what,
        "found": finding.found,
        "fix": finding.fix,
        "ok": finding.ok,
        "warning": finding.severity is Severity.WARNING,
        "severity": finding.severity,
    }
