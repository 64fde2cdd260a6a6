"""`signal-mailgun check`: can we reach Redis, is the key right, does the list exist, is it the other region?"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import redis
import typer

from worker.assembly import mailgun_for
from worker.mailgun.client import Mailgun
from worker.mailgun.outcome import Answer, NoAnswer, list_exists
from worker.operate.cli.probe import probe_account
from worker.operate.cli.terminal import Failure, out, styled
from worker.privacy import redacted
from worker.settings import EU_REGION, US_REGION, Settings, SettingsError, load_settings
from worker.signal.preset import PresetError, load_preset
from worker.store import connect, where


@dataclass(frozen=True)
class Finding:
    """What one look found; `mend` is empty where all is well."""

    what: str
    found: str
    mend: str = ""

    @property
    def well(self) -> bool:
        """Is nothing to be mended?"""
        return not self.mend


def check(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="instead try what is not certain about Mailgun, with one throw-away member")
    ] = False,
) -> None:
    """Look whether a worker with these settings could deliver; exit 1 when it could not. Changes nothing without --probe."""
    settings = load_settings()
    if probe:
        _probe(settings, as_json=as_json)
        return
    findings = list(all_findings(settings))
    if as_json:
        out.print_json(data=[{**asdict(finding), "ok": finding.well} for finding in findings])
    else:
        for finding in findings:
            _show(finding)
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)


def all_findings(settings: Settings) -> Iterator[Finding]:
    """Every look, in the order in which mending makes sense."""
    yield redis_finding(settings.redis_url)
    yield _preset_finding(settings)
    try:
        yield finding_for(settings)
    except SettingsError as error:
        yield Finding("Mailgun", "not looked at", str(error))


def _probe(settings: Settings, *, as_json: bool) -> None:
    first = finding_for(settings)
    if not first.well:
        raise Failure(in_one_line(first))
    probe_account(
        settings,
        as_json=as_json,
        trouble=lambda answer: in_one_line(trouble_finding(answer, settings.mailgun_api_base_url)),
    )


def finding_for(settings: Settings) -> Finding:
    """Could a worker with these settings ask Mailgun? Raises `SettingsError`."""
    other = other_region(settings.mailgun_api_base_url)
    there = mailgun_for(settings.model_copy(update={"mailgun_api_base_url": other})) if other else None
    return mailgun_finding(mailgun_for(settings), settings.mailgun_api_base_url, there, other or "")


def redis_finding(url: str) -> Finding:
    """Does Redis answer, and can it do what is needed?"""
    place = where(url)
    try:
        connect(url, retry=None, socket_timeout=5).ping()
    except redis.AuthenticationError:
        return Finding("Redis", f"{place} refused the password", "Correct the password in REDIS_URL.")
    except (redis.RedisError, OSError):
        return Finding("Redis", f"{place} does not answer", "Start Redis there, or set REDIS_URL to where it runs.")
    return Finding("Redis", f"{place} answers")


def _preset_finding(settings: Settings) -> Finding:
    try:
        preset = load_preset(settings.mailgun_preset)
    except PresetError as error:
        return Finding("Preset", "cannot be used", str(error))
    return Finding("Preset", f"{len(preset.event)} kinds of event mapped")


def other_region(base_url: str) -> str | None:
    """The other Mailgun region's address, where `base_url` is one of the two."""
    return {US_REGION: EU_REGION, EU_REGION: US_REGION}.get(base_url)


def mailgun_finding(here: Mailgun, base_url: str, there: Mailgun | None = None, other_url: str = "") -> Finding:
    """Is the key right and does the list exist? If not, does the other region know both? It is only looked at, never used."""
    answer = here.read_list()
    if isinstance(answer, NoAnswer):
        return trouble_finding(answer, base_url)
    if list_exists(answer):
        return Finding("Mailgun", f"{base_url}: the key is right, the list exists ({members_count(answer)} members)")
    if answer.status in {401, 403, 404} and there and list_exists(there.read_list()):
        return Finding(
            "Mailgun",
            f"{base_url}: {answer.status}, but the list is in the other region",
            f"Set MAILGUN_API_BASE_URL={other_url}",
        )
    return trouble_finding(answer, base_url)


def trouble_finding(answer: Answer | NoAnswer, base_url: str) -> Finding:
    """Why Mailgun cannot be asked, and the mend."""
    if isinstance(answer, NoAnswer):
        return Finding("Mailgun", f"{base_url}: {answer.reason}", "Check the network and MAILGUN_API_BASE_URL.")
    found = f"{base_url}: {answer.status} {redacted(answer.text())[:120]}"
    match answer.status:
        case 401 | 403:
            mend = "Confirm that MAILGUN_API_KEY is the Private API key and may manage mailing lists."
        case 404:
            mend = "Create the mailing list in Mailgun first; verify MAILGUN_LIST_ADDRESS and the region's host."
        case 420 | 429:
            mend = "Mailgun asks to slow down: try again in a minute."
        case _ if answer.status >= 500:
            mend = "Mailgun is unavailable: try again, and look at its status page."
        case _:
            mend = "That is not Mailgun's answer: verify MAILGUN_API_BASE_URL."
    return Finding("Mailgun", found, mend)


def members_count(answer: Answer) -> int:
    """How many members the list in `answer` has."""
    return int(answer.json()["list"].get("members_count") or 0)


def _show(finding: Finding) -> None:
    out.print(styled("✓", "green") if finding.well else styled("✗", "red"), f"{finding.what}: {finding.found}")
    if finding.mend:
        out.print(styled(f"  → {finding.mend}", "yellow"))


def in_one_line(finding: Finding) -> str:
    """What was found and the mend, as errors are told."""
    return f"{finding.found}; {finding.mend.rstrip('.')}"
