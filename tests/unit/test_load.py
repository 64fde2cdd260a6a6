"""Weights of messages in hand: their totals are those of the messages that are counted."""

from hypothesis import given
from hypothesis import strategies as st

from worker.consumer.load import Weight, Weights

tags = st.sampled_from("abc")
weights = st.builds(Weight, st.integers(0, 5), st.integers(0, 100), st.booleans())
additions = st.dictionaries(tags, weights, max_size=3)
removals = st.lists(tags, max_size=3)


@given(st.lists(additions | removals, max_size=8))
def test_totals_are_those_of_the_messages_that_are_counted(
    changes: list[dict[str, Weight] | list[str]],
) -> None:
    counted, expected = Weights(), dict[str, Weight]()
    for change in changes:
        if isinstance(change, dict):
            counted.add(change)
            expected |= change
        else:
            counted.remove(change)
            expected = {tag: each for tag, each in expected.items() if tag not in change}
    assert counted.messages == len(expected)
    assert counted.events == sum(each.events for each in expected.values())
    assert counted.bytes == sum(each.bytes for each in expected.values())
    assert counted.loners == sum(each.alone for each in expected.values())
