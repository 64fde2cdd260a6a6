"""Start-up checks of a worker: settings, preset and Redis; and how it runs Python."""

import gc
import logging
import sys

from celery.platforms import EX_FAILURE
from celery.worker import state

from worker.consumer.runtime import Runtime
from worker.environment.names import SettingsError
from worker.ops.redis_check.at_start import report_redis
from worker.printable import printable
from worker.settings import Settings, load_settings
from worker.signal.preset import PresetError

logger = logging.getLogger("signal_mailgun.worker")

# New objects until Python looks for garbage. Python's own 700 are reached every few events.
GARBAGE_AFTER = 50_000
# How long a thread may compute while another one waits for Python's lock; Python's own are 5 ms.
SWITCH_SECONDS = 0.02


def settings_or_exit() -> Settings:
    """Return the settings of the environment; exit with one line if one of them is wrong."""
    try:
        return load_settings()
    except SettingsError as error:
        sys.exit(printable(f"signal-mailgun: {error}"))


def validate_configuration(runtime: Runtime) -> None:
    """Exit with one line if a setting or the preset is wrong."""
    try:
        _ = runtime.processor
    except (SettingsError, PresetError) as error:
        sys.exit(printable(f"signal-mailgun: {error}"))


def check_redis(settings: Settings) -> None:
    """Exit with one line if no worker can ever deliver with this Redis; log what else is wrong.

    If Redis does not answer yet, a thread waits for it and then does the same.
    """
    line = report_redis(settings.redis_url, settings.signal_integration, end=_end_worker)
    if line:
        sys.exit(printable(f"signal-mailgun: {line}"))


def _end_worker(line: str) -> None:
    """Make this worker end with exit status 1. Any thread may call it."""
    logger.critical("this worker ends: %s", line)
    state.should_stop = EX_FAILURE


def tune_python() -> None:
    """Let Python look for garbage, and pass its lock between threads, less often.

    Objects of events form no cycles, so reference counting frees nearly all of them. Celery's loop
    reads messages, and the hub delivers them: both are faster if the other's data does not replace
    theirs in the CPU's cache every 50 events.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
    sys.setswitchinterval(SWITCH_SECONDS)
