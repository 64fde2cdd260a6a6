"""`signal-mailgun check`: checks of Redis, the preset, Mailgun's key, the list and the region."""

from collections.abc import Iterator
from typing import Annotated

import typer

from worker.cli.alert_check import alert_finding, send_test_alert
from worker.cli.console import CommandError, out, styled
from worker.cli.options import AsJson
from worker.cli.probe import probe_account
from worker.environment.addresses import EU_REGION, US_REGION
from worker.environment.names import SettingsError
from worker.mailgun.client import MailgunClient
from worker.mailgun.outcome import list_exists, members_count
from worker.mailgun.response import NoResponse, Response
from worker.mailgun.texts import shown
from worker.ops.redis_check.check import report_on_redis
from worker.ops.redis_check.result import CheckResult, Severity, failed, passed
from worker.settings import Settings, load_settings
from worker.signal.preset import PresetError, load_preset
from worker.wiring import mailgun_for

# A sign and its colour.
MARKS = {
    Severity.OK: ("✓", "green"),
    Severity.UNKNOWN: ("?", ""),
    Severity.WARNING: ("!", "yellow"),
    Severity.NO: ("✗", "red"),
}
OTHER_REGION = {US_REGION: EU_REGION, EU_REGION: US_REGION}


def check(
    *,
    as_json: AsJson = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Instead, test with one throw-away member how this Mailgun account behaves.",
        ),
    ] = False,
    alert: Annotated[
        bool, typer.Option("--alert", help="Instead, send a test message to ALERT_WEBHOOK_URL.")
    ] = False,
) -> None:
    """Check whether a worker with these settings can deliver.

    Exits with status 1 if it cannot. Changes nothing unless --probe is given, and sends no message
    unless --alert is given.
    """
    if probe and alert:
        raise typer.BadParameter("give --probe or --alert, not both")
    settings = load_settings()
    if alert:
        _report([send_test_alert(settings)], as_json=as_json)
    elif probe:
        _probe(settings, as_json=as_json)
    else:
        _report(list(all_findings(settings)), as_json=as_json)


def _report(findings: list[CheckResult], *, as_json: bool) -> None:
    """Print the results, and exit with status 1 if one of them is not ok."""
    if as_json:
        out.print_json(data=[_as_json(finding) for finding in findings])
    else:
        for finding in findings:
            _show(finding)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def all_findings(settings: Settings) -> Iterator[CheckResult]:
    """Yield the result of every check, in the order in which problems are best fixed."""
    yield from report_on_redis(settings.redis_url, settings.signal_integration).results
    yield _preset_finding(settings)
    try:
        yield finding_for(settings)
    except SettingsError as error:
        yield failed("Mailgun", "not looked at", str(error))
    if settings.alert_webhook_url:
        yield alert_finding(settings, settings.alert_webhook_url)


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
    """Return whether a worker with these settings can use its mailing list at Mailgun.

    Raises:
        SettingsError: The key or the list address is missing or unusable.
    """
    other = OTHER_REGION.get(settings.mailgun_api_base_url)
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


def mailgun_finding(
    here: MailgunClient, base_url: str, there: MailgunClient | None = None, other_url: str = ""
) -> CheckResult:
    """Check that the key is right and the list exists.

    Args:
        here: Client of the configured region.
        base_url: The URL that `here` asks; the result names it.
        there: Client of the other region. It only reads the list, and only if `here` answers
            401, 403 or 404.
        other_url: The URL that `there` asks; the fix names it.
    """
    answer = here.read_list()
    if isinstance(answer, NoResponse):
        return trouble_finding(answer, base_url)
    if list_exists(answer):
        return passed(
            "Mailgun",
            f"{base_url}: the key is right, the list exists ({members_count(answer)} members)",
        )
    if answer.status in {401, 403, 404} and there and list_exists(there.read_list()):
        return failed(
            "Mailgun",
            f"{base_url}: {answer.status}, but the list is in the other region",
            f"Set MAILGUN_API_BASE_URL={other_url}",
        )
    return _answer_finding(answer, base_url, here.quoted(answer))


def trouble_finding(answer: Response | NoResponse, base_url: str) -> CheckResult:
    """Return the failed check that says why Mailgun gave no usable answer, and the fix."""
    if isinstance(answer, NoResponse):
        return failed(
            "Mailgun", f"{base_url}: {answer.reason}", "Check the network and MAILGUN_API_BASE_URL."
        )
    return _answer_finding(answer, base_url, shown(answer.text()))


def _answer_finding(answer: Response, base_url: str, text: str) -> CheckResult:
    match answer.status:
        case 401 | 403:
            fix = (
                "Confirm that MAILGUN_API_KEY is the Private API key and may manage mailing lists."
            )
        case 404:
            fix = (
                "Create the mailing list in Mailgun first; "
                "verify MAILGUN_LIST_ADDRESS and the region's host."
            )
        case 420 | 429:
            fix = "Mailgun asks to slow down: try again in a minute."
        case _ if answer.status >= 500:
            fix = "Mailgun is unavailable: try again, and look at its status page."
        case _:
            fix = "That is not Mailgun's answer: verify MAILGUN_API_BASE_URL."
    return failed("Mailgun", f"{base_url}: {answer.status} {text}", fix)


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
