"""Settings of property tests.

They draw the same examples in each run, and have no time limit that a slow machine would break.
"""

from hypothesis import settings

settings.register_profile(
    "repeatable", deadline=None, derandomize=True, database=None, max_examples=60
)
settings.load_profile("repeatable")
