"""The rules of the ACL users that the documents tell operators to make."""

from collections.abc import Iterable

from worker.ops.redis_check.rights import PATTERNS, RIGHTS, Who


def acl_rules(who: Iterable[Who], integration: str, database: int = 0) -> str:
    """Return the rules of an ACL user with the rights that some components need, and no more.

    Args:
        who: The components.
        integration: The integration whose keys the rules name.
        database: The database, which the rules for channels name.

    Returns:
        The rules for keys, channels and commands, separated by spaces, as ACL SETUSER takes them.
    """
    rights = [each for each in RIGHTS if each.who in set(who)]
    patterns = {PATTERNS[each.on] for each in rights if each.on}
    # The pattern of the lists with a priority covers the queue and the dead letters, too.
    covered = (
        {PATTERNS["{queue}"], PATTERNS["{dead}"]} if PATTERNS["{priority}"] in patterns else set()
    )
    commands = {f"+{command.lower()}" for each in rights for command in each.commands.split()}
    places = sorted(patterns - covered, key=lambda each: (each.startswith("&"), each))
    filled = [each.format(integration=integration, database=database) for each in places]
    return " ".join(["resetkeys", "resetchannels", *filled, "-@all", *sorted(commands)])
