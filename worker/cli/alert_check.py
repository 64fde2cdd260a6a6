"""The part of `signal-mailgun check` that is about the alert webhook."""

from time import time

from pydantic import SecretStr

from worker.environment.names import SettingsError
from worker.monitoring.alert_messages import message, sample_alert
from worker.monitoring.webhook import Webhook
from worker.ops.redis_check.result import CheckResult, failed, passed, warned
from worker.settings import Settings

WHAT = "Alert webhook"
FIX = "Check the network and ALERT_WEBHOOK_URL."


def alert_finding(settings: Settings, url: SecretStr) -> CheckResult:
    """Return whether the host of the webhook can be reached; no message is sent.

    It is a warning if not, since workers deliver without it.
    """
    trouble = Webhook(url).reach().trouble
    if trouble:
        return warned(WHAT, f"{settings.alert_webhook_host}: {trouble}", FIX)
    return passed(
        WHAT, f"{settings.alert_webhook_host} can be reached; `check --alert` sends a test message"
    )


def send_test_alert(settings: Settings) -> CheckResult:
    """Send a test message to the webhook, once, and return whether it was taken.

    Raises:
        SettingsError: ALERT_WEBHOOK_URL is not set.
    """
    if settings.alert_webhook_url is None:
        raise SettingsError(
            "ALERT_WEBHOOK_URL is not set; put the address of a Slack webhook, "
            "or of a service that takes JSON, there"
        )
    sample = message(settings.signal_integration, sample_alert(time()))
    trouble = Webhook(settings.alert_webhook_url).post(sample).trouble
    if trouble:
        fix = f"{FIX.rstrip('.')}; the service may have withdrawn it."
        return failed(WHAT, f"{settings.alert_webhook_host}: {trouble}", fix)
    return passed(WHAT, f"{settings.alert_webhook_host} took the test message")
