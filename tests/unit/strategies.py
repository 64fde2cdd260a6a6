"""Strategies for property tests: JSON as it can arrive, and values of this program."""

from hypothesis import strategies as st

from worker.mailgun.member import Member
from worker.queue.message import (
    DELIVER_MANY,
    HISTORY_LENGTH,
    TASK,
    USABLE_ID,
    AttemptRecord,
    Message,
)
from worker.signal.patch import Patch

# Lone surrogates too, since JSON can spell them.
any_text = st.text(st.characters(codec=None, exclude_categories=()))

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
)

json_values = st.recursive(
    _scalars | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=8,
)
json_objects = st.dictionaries(any_text, json_values, max_size=4)
strange_json = json_values | st.sampled_from([float("nan"), float("inf"), float("-inf"), 10**40])

fields = st.dictionaries(st.sampled_from(["plan", "company", "last_page_url", "beta"]), json_values)

members = st.builds(
    Member,
    address=st.just("jane@example.com"),
    name=st.text(max_size=8),
    subscribed=st.booleans(),
    vars=fields,
)
patches = st.builds(
    Patch,
    address=st.just("jane@example.com"),
    name=st.none() | st.text(min_size=1, max_size=8),
    vars=fields,
    consent=st.none() | st.booleans(),
    at=st.none(),
    consent_unclear=st.just(value=False),
    undated=st.just(value=False),
)

seconds = st.floats(0, 4e9)
counts = st.integers(0, 1000)

messages = st.builds(
    Message,
    id=any_text.filter(bool),
    args=st.lists(json_values, max_size=3).map(tuple),
    kwargs=json_objects,
    kind=st.text(
        st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=80
    ),
    enqueued_at=st.none() | seconds,
    retry_window_start=st.none() | seconds,
    first_tried=st.none() | seconds,
    attempts=counts,
    throttled=counts,
    requeues=counts,
    attempt_history=st.lists(
        st.builds(
            AttemptRecord,
            at=seconds,
            outcome=st.text(max_size=10),
            status=st.none() | st.integers(100, 599),
        ),
        max_size=HISTORY_LENGTH,
    ).map(tuple),
    task=st.sampled_from([TASK, DELIVER_MANY]),
    bundle=st.none() | st.from_regex(USABLE_ID, fullmatch=True),
)
