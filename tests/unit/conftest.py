"""How property tests run here: the same examples every time, and no limit that a slow machine would break."""

from hypothesis import settings

settings.register_profile(
    "repeatable", deadline=None, derandomize=True, database=None, max_examples=60
)
settings.load_profile("repeatable")
