"""What a worker does once when it starts: it checks settings, preset and Redis, and tunes Python's garbage collector."""

import gc
import logging
import sys

from celery.platforms import EX_FAILURE
from celery.worker import state

from worker.consumer.runtime import Runtime
from worker.ops.redis_check.at_start import tell_of_redis
from worker.printable import printable
from worker.settings import Settings, SettingsError, load_settings
from worker.signal.preset import PresetError

logger = logging.getLogger("signal_mailgun.worker")

GARBAGE_AFTER = 50_000  # objects more than before; Python's own 700 are reached every few events


def settings_or_exit() -> Settings:
    """Return the settings of the environment; end the program with one line if one of them is wrong."""
    try:
        return load_settings()
    except SettingsError as error:
        sys.exit(printable(f"signal-mailgun: {error}"))


def validate_configuration(runtime: Runtime) -> None:
    """End the program with one line if a setting or the preset would let no event through."""
    try:
        _ = runtime.processor
    except (SettingsError, PresetError) as error:
        sys.exit(printable(f"signal-mailgun: {error}"))


def check_redis(settings: Settings) -> None:
    """End the program with one line if no worker can ever deliver by this Redis; log once what else is wrong there."""
    line = tell_of_redis(settings.redis_url, settings.signal_integration, end=_end_worker)
    if line:
        sys.exit(printable(f"signal-mailgun: {line}"))


def _end_worker(line: str) -> None:
    """End this worker with status 1, from whichever thread."""
    logger.critical("this worker ends: %s", line)
    state.should_stop = EX_FAILURE


def tune_gc() -> None:
    """Reduce GC cost: freeze start-up objects and raise the threshold; event objects form no cycles."""
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
