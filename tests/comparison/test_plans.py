"""Laws of equal time: a run of the steps that a time allows takes that time."""

import math

import pytest

from napari_coordgate.comparison.context import Plan, steps_within
from napari_coordgate.config import TrainingConfig
from napari_coordgate.training import ResourceEstimate


def estimate(config: TrainingConfig, a_step: float, a_validation: float) -> ResourceEstimate:
    every = config.validate_every or config.steps // 20
    seconds = config.steps * a_step + config.steps / every * a_validation
    return ResourceEstimate(a_step, seconds, 0, 1, "cpu")


@pytest.mark.parametrize("every", [None, 50, 400])
@pytest.mark.parametrize("minutes", [1.0, 7.5, 600.0])
def test_a_run_of_these_steps_takes_the_time(every: int | None, minutes: float) -> None:
    config = TrainingConfig(steps=1000, validate_every=every)
    steps = steps_within(minutes, estimate(config, 0.01, 0.5), config)
    longer = config.model_copy(update={"steps": steps})
    taken = estimate(longer, 0.01, 0.5).seconds
    assert math.isclose(taken, 60 * minutes, rel_tol=0.01)


def test_a_slower_network_takes_fewer_steps_and_too_short_a_time_none() -> None:
    config = TrainingConfig(steps=1000)
    paces = (0.01, 0.02, 0.1)
    steps = [steps_within(2, estimate(config, pace, 0.0), config) for pace in paces]
    assert steps == [12000, 6000, 1200]
    assert steps_within(1, estimate(config, 0.01, 5.0), config) < 1


def test_the_time_of_a_training_counts_all_its_starts_but_no_step_twice() -> None:
    plan = Plan(fingerprint={})
    assert plan.seconds(0, 10) is None
    plan = plan.add(0, 6, 12.0).add(1, 10, 5.0).add(0, 4, 8.0)
    assert plan.seconds(0, 10) == 20.0
    assert plan.add(0, 5, 10.0).seconds(0, 10) == 20.0  # five steps were lost and taken again
    assert plan.seconds(1, 10) == 5.0
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
