"""The room of a worker follows the latency that it sees, between two bounds."""

import pytest

from worker.consumer.room import Room


class Machine:
    """A clock and a CPU that a test moves."""

    def __init__(self) -> None:
        self.now = self.used = 0.0
        self.ended = 0

    def pass_second(self, busy: float, ended: int) -> None:
        self.now += 1
        self.used += busy
        self.ended += ended


@pytest.fixture
def machine() -> Machine:
    return Machine()


def room_of(machine: Machine, least: int = 32, most: int = 128) -> Room:
    return Room(least, most, lambda: machine.now, lambda: machine.used)


def after(room: Room, machine: Machine, *busy: float, full: bool = True, gains: bool = True) -> int:
    """Return the room after seconds with these shares of CPU; a room that gains ends as it grows."""
    for share in busy:
        machine.pass_second(share, 10 * room.events if gains else 100)
        room.adapt(room.events if full else room.events // 2, machine.ended)
    return room.events


def test_full_worker_with_an_idle_cpu_takes_more_up_to_the_most(machine: Machine) -> None:
    room = room_of(machine)
    assert after(room, machine, 0.2) > 32
    assert after(room, machine, *[0.2] * 9) == 128


def test_worker_with_room_left_takes_no_more(machine: Machine) -> None:
    assert after(room_of(machine), machine, *[0.2] * 9, full=False) == 32


def test_worker_whose_cpu_is_busy_gives_room_back_down_to_the_least(machine: Machine) -> None:
    room = room_of(machine)
    after(room, machine, *[0.2] * 9)
    assert after(room, machine, 0.95) < 128
    assert after(room, machine, *[0.95] * 20) == 32


def test_room_stays_while_the_cpu_is_neither_idle_nor_busy(machine: Machine) -> None:
    assert after(room_of(machine), machine, *[0.75] * 9) == 32


def test_room_with_equal_bounds_never_changes(machine: Machine) -> None:
    room = room_of(machine, most=32)
    assert after(room, machine, *[0.1] * 5, *[0.99] * 5) == 32


def test_looks_in_quick_succession_count_as_one(machine: Machine) -> None:
    room = room_of(machine)
    machine.now, machine.used = 0.1, 0.0
    for _ in range(5):
        room.adapt(32, 0)
    assert room.events == 32


def test_room_that_lets_no_more_events_end_shrinks_back_for_a_while(machine: Machine) -> None:
    room = room_of(machine)
    assert after(room, machine, 0.2) > 32
    assert after(room, machine, *[0.2] * 5, gains=False) == 32
    assert after(room, machine, *[0.2] * 20) == 128


def test_worker_whose_events_all_hang_takes_no_more_than_once(machine: Machine) -> None:
    room = room_of(machine)
    seen = []
    for _ in range(9):
        machine.pass_second(0.1, 0)
        room.adapt(room.events, machine.ended)
        seen.append(room.events)
    assert max(seen) == 65
