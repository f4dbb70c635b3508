"""Number of steps of the trainings, and the time that they took so far."""

import math
from collections.abc import Generator

from pydantic import Field

from napari_coordgate.comparison.context import (
    TRIAL_STEPS,
    ComparisonContext,
    RunSpec,
    training_config,
)
from napari_coordgate.comparison.records import Record
from napari_coordgate.config import ComparisonConfig, TrainingConfig
from napari_coordgate.errors import DeviceMemoryError, SettingsError
from napari_coordgate.events import Event
from napari_coordgate.training import ResourceEstimate, estimate_resources_events


class Plan(Record):
    """Trainings of one method; the number of steps is chosen once for all seeds and starts."""

    steps: int | None = None
    """Steps that fit into equal time; None if the settings give them."""
    seconds_per_step: float | None = None
    """Measured time behind that choice."""
    trained: dict[int, tuple[int, float]] = Field(default_factory=dict)
    """For each seed the steps taken in all starts so far, and their seconds."""

    def config(self, spec: RunSpec, config: ComparisonConfig) -> TrainingConfig:
        """Settings of one training."""
        assert spec.method is not None and spec.seed is not None
        training = training_config(spec.method, spec.seed, config)
        return training if self.steps is None else training.model_copy(update={"steps": self.steps})

    def add(self, seed: int, steps: int, seconds: float) -> "Plan":
        """Plan with more steps taken."""
        before, earlier = self.trained.get(seed, (0, 0.0))
        taken = (before + steps, earlier + seconds)
        return self.model_copy(update={"trained": {**self.trained, seed: taken}})

    def seconds(self, seed: int, steps: int) -> float | None:
        """Time of a whole training at its mean pace; steps lost and repeated count once."""
        taken, seconds = self.trained.get(seed, (0, 0.0))
        return seconds / taken * steps if taken else None


def make_plan(spec: RunSpec, context: ComparisonContext) -> Generator[Event, None, Plan]:
    """Plan the trainings of a method; for equal time, its pace is measured first."""
    config = context.config
    if config.minutes is None:
        return Plan(fingerprint=spec.recipe)
    assert spec.method is not None and spec.seed is not None
    trial = training_config(spec.method, spec.seed, config)
    estimate = yield from estimate_resources_events(
        context.split.training,
        context.psf_field,
        config=trial,
        runtime=context.runtime,
        cancel=context.cancel,
    )
    if not math.isfinite(estimate.seconds_per_step):
        raise DeviceMemoryError(f"{spec.name}: {estimate}")
    steps = steps_within(config.minutes, estimate, trial)
    if steps < 1:
        raise SettingsError(
            f"minutes {config.minutes:g} is too short for {spec.name}, which takes "
            f"{estimate.seconds / 60:.2g} for {TRIAL_STEPS} steps and their validations; give "
            "more minutes, or fewer validation_images."
        )
    pace = estimate.seconds_per_step
    return Plan(fingerprint=spec.recipe, steps=steps, seconds_per_step=pace)


def steps_within(minutes: float, estimate: ResourceEstimate, trial: TrainingConfig) -> int:
    """Steps that fit into a time with their validations, from the estimate for a trial."""
    validating = estimate.seconds - trial.steps * estimate.seconds_per_step
    if trial.validate_every is None:  # the same number of validations, however long the run
        return int((60 * minutes - validating) / estimate.seconds_per_step)
    return int(60 * minutes / (estimate.seconds_per_step + validating / trial.steps))
