"""Laws of what a training leaves when it is killed."""

from soak.training import soak


def test_a_run_that_is_killed_at_a_random_moment_ends_as_one_that_was_not() -> None:
    figures = soak(1, seed=0)
    assert figures["killed"] == 1
    assert (figures["damaged"], figures["strays_left"], figures["mismatches"]) == (0, 0, 0)
