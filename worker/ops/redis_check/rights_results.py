"""What a trial of rights says to operators: who lacks which, what for, and the rule to grant."""

from collections.abc import Iterator, Sequence

from worker.ops.redis_check.known_errors import VERSION
from worker.ops.redis_check.result import CheckResult, failed, passed, warned
from worker.ops.redis_check.rights import WORKERS_USER, Who
from worker.ops.redis_check.rights_trial import Missing, Trial

NEEDED_BY = {
    Who.WORKER: "workers need",
    Who.REMOTE: "Flower needs to see workers",
    Who.COMMANDS: "the command line needs",
}


def rights_results(trial: Trial, *, too_old: bool) -> Iterator[CheckResult]:
    """Yield a result for absent commands and for each user of the worker's rights that lacks some.

    If the server is `too_old`, that says already why commands are absent.
    """
    absent = [each for each in trial.missing if each.unavailable]
    if absent and not too_old:
        names = ", ".join(dict.fromkeys(each.command for each in absent))
        found = (
            f"Redis, or a proxy before it, has no {names}: renamed, switched off, or too old for it"
        )
        yield failed(
            "Redis commands",
            found,
            f"Let workers use them by these names; Redis {VERSION} has them.",
            ends_worker=True,
        )
    for who in WORKERS_USER:
        lacking = [each for each in trial.missing if each.right.who is who and not each.unavailable]
        if lacking:
            yield _lacking_result(who, lacking)
    if not trial.missing:
        yield passed("Redis rights", f"all {trial.tried} that are needed")


def _lacking_result(who: Who, lacking: Sequence[Missing]) -> CheckResult:
    rules = dict.fromkeys(each.rule for each in lacking)
    reasons = dict.fromkeys(each.right.what_for for each in lacking)
    fix = f"Grant its user: {' '.join(rules)} (docs/redis-rights.md)."
    found = (
        f"REDIS_URL's user lacks {', '.join(rules)}, which {NEEDED_BY[who]} ({'; '.join(reasons)})"
    )
    if who is Who.WORKER:
        return failed("Redis rights", found, fix, ends_worker=True)
    return warned("Redis rights", found, fix)
