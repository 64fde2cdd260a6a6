"""Weights of messages in hand: their totals are those of the messages that are counted."""

from hypothesis import given
from hypothesis import strategies as st

from worker.consumer.load import Weight, Weights

tags = st.sampled_from("abc")
weights = st.builds(Weight, st.integers(0, 5), st.integers(0, 100), st.booleans())
changes = st.lists(
    st.dictionaries(tags, weights, max_size=3).map(lambda some: ("add", some))
    | st.lists(tags, max_size=3).map(lambda some: ("remove", some)),
    max_size=8,
)


@given(changes)
def test_totals_are_those_of_the_messages_that_are_counted(
    changes: list[tuple[str, object]],
) -> None:
    counted = Weights()
    for change, some in changes:
        getattr(counted, change)(some)
    left = counted.weights()
    assert len(counted) == len(left)
    assert counted.events == sum(each.events for each in left)
    assert counted.bytes == sum(each.bytes for each in left)
    assert counted.alone == sum(each.alone for each in left)
