"""How the pages of a queue name what is on it, and what an operator may do with it there."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Act:
    """One thing that an operator may do with messages.

    Attributes:
        name: Its name in forms, such as `bury`.
        noun: Its name on pages and in logs, such as `burial`.
        verb: On buttons, before what it is done with.
        after: On buttons, after that; "" or begins with a space.
        doing: What it does while it is at work, such as `replaying`.
        done: What was done, such as `replayed`.
        colour: The colour of its buttons, by Bootstrap's name.
        is_try: It puts events on the queue, so a page shows what would become of a sample, and
            whether the integration is on hold.
        note: What to know before it is confirmed; code stands in backticks.
        is_permanent: It cannot be undone.
    """

    name: str
    noun: str
    verb: str
    doing: str
    done: str
    colour: str
    after: str = ""
    is_try: bool = False
    note: str = ""
    is_permanent: bool = False


@dataclass(frozen=True)
class Words:
    """The names of a queue.

    Attributes:
        tab: The label of its tab.
        route: The name of its list among Flower's handlers; other pages' names begin with it.
        path: The path of its list; `/api` and this is the path of the list as JSON.
        one: A message on it.
        many: Several of them.
        short: The same as `one` in a word, and the part of a message's path before its key.
        about: What the list holds, in one or two sentences.
        json: The name of the list in JSON.
        since: The label of the filter `since`.
        until: The label of the filter `until`.
        try_now: What a message's page calls a try at this moment.
        taken: What has happened to counted messages that were gone when they were to be acted on.
        gone: What the page of a message says if it is not there.
        whole: The command that shows a message that is too long for its page.
    """

    tab: str
    route: str
    path: str
    one: str
    many: str
    short: str
    about: str
    json: str
    since: str
    until: str
    try_now: str
    taken: str
    gone: str
    whole: str

    def counted(self, number: int) -> str:
        """Return `1 letter`, `2 letters` …."""
        return f"{number:,} {self.short}{'' if number == 1 else 's'}"
