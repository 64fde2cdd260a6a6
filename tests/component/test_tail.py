"""`signal-mailgun tail`: what it shows of many tries at once."""

import time

import pytest

from tests.integrations import OwnIntegration
from worker.cli import tail as module
from worker.redis_client.keys import Keys
from worker.settings import Settings


def test_tail_says_so_if_more_ended_than_it_shows(
    own: OwnIntegration, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(*numbers: int) -> None:
        own.redis.lpush(Keys(own.name).ended, *(f"1000 delivered;200;1|m-{n}" for n in numbers))

    later = iter([(1, 2), (3, 4, 5, 6)])

    def sleep(_: float) -> None:
        numbers = next(later, None)
        if numbers is None:
            raise KeyboardInterrupt
        ended(*numbers)

    ended(0)
    monkeypatch.setattr(module, "MOST", 3)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(module, "store_of", lambda _: own.redis)
    settings = Settings(_env_file=None, signal_integration=own.name)
    monkeypatch.setattr(module, "load_settings", lambda: settings)
    with pytest.raises(KeyboardInterrupt):
        module.tail(last=10)
    printed = capsys.readouterr()
    shown = [line.split()[1] for line in printed.out.splitlines()]
    assert shown == ["m-0", "m-1", "m-2", "m-4", "m-5", "m-6"]
    assert printed.err.count("only the latest are shown") == 1
