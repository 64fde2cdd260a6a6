"""Check of Redis at a worker's start: log what `check` would say, and end if it can never deliver.

A Redis that is away, loading, full or a replica may recover without a change of settings, so the
worker waits for it as always. If Redis does not answer at the start, the worker logs that, and the
other results once Redis answers.
"""

import logging
import time
from collections.abc import Callable
from threading import Thread

from worker.ops.redis_check.check import RedisReport, report_on_redis
from worker.ops.redis_check.result import CheckResult, Severity

logger = logging.getLogger("signal_mailgun.redis")

WAIT_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 2.0


def report_redis(url: str, integration: str, end: Callable[[str], None]) -> str | None:
    """Log what is wrong with the Redis at `url`; return a line if the worker must end with it.

    If Redis does not answer yet, a thread waits for it and logs the results then. If the worker can
    never deliver, the thread calls `end` with that line.
    """
    report = report_on_redis(url, integration, wait_seconds=WAIT_SECONDS)
    if not report.answered and not report.ending:
        _log(report.results)
        Thread(target=_report_later, args=(url, integration, end), daemon=True).start()
        return None
    return _log_or_end(report)


def _report_later(url: str, integration: str, end: Callable[[str], None]) -> None:
    while True:
        time.sleep(LOOK_AGAIN_SECONDS)
        report = report_on_redis(url, integration, wait_seconds=WAIT_SECONDS)
        if report.answered or report.ending:
            break
    line = _log_or_end(report)
    if line:
        end(line)


def _log_or_end(report: RedisReport) -> str | None:
    """Return the line with which the worker must end, else log the results."""
    if report.ending:
        return f"{report.ending.what}: {report.ending.in_one_line()}"
    _log(report.results)
    return None


def _log(results: tuple[CheckResult, ...]) -> None:
    levels = {
        Severity.UNKNOWN: logging.INFO,
        Severity.WARNING: logging.WARNING,
        Severity.NO: logging.ERROR,
    }
    for each in results:
        if each.severity in levels:
            logger.log(
                levels[each.severity], "%s: %s", each.what, each.found, extra={"fix": each.fix}
            )
