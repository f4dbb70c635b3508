"""How long the trainings of a method are, and how long they took so far."""

import math
from collections.abc import Generator
from typing import Any

from pydantic import Field

from napari_coordgate.comparison.footing import Entry, Footing
from napari_coordgate.comparison.rows import Record
from napari_coordgate.config import ComparisonConfig, TrainingConfig
from napari_coordgate.errors import DeviceMemoryError, SettingsError
from napari_coordgate.events import Event, Finished
from napari_coordgate.training import ResourceEstimate, estimate_resources

__all__ = ["Plan", "make_plan", "steps_in"]

REHEARSED = 1000
"""Steps of the run that is rehearsed, of which few are taken."""


class Plan(Record):
    """Trainings of one method; the number of steps is chosen once, for all seeds and starts."""

    steps: int | None = None
    """Steps that equal time allows; none where the settings tell them."""
    seconds_per_step: float | None = None
    """Measured time behind that choice."""
    trained: dict[int, tuple[int, float]] = Field(default_factory=dict)
    """Steps, and the seconds that they took, of each seed in all starts so far."""

    def config(self, entry: Entry, config: ComparisonConfig) -> TrainingConfig:
        """Settings with which a row's network is trained."""
        length = {} if self.steps is None else {"steps": self.steps, "epochs": None}
        return _training(entry, config, **length)

    def noting(self, seed: int, steps: int, seconds: float) -> "Plan":
        """Plan with more steps taken."""
        before, earlier = self.trained.get(seed, (0, 0.0))
        taken = (before + steps, earlier + seconds)
        return self.model_copy(update={"trained": {**self.trained, seed: taken}})

    def seconds(self, seed: int, steps: int) -> float | None:
        """Time of a whole training at its mean pace: steps lost and taken again count once."""
        taken, seconds = self.trained.get(seed, (0, 0.0))
        return seconds / taken * steps if taken else None


def make_plan(entry: Entry, footing: Footing) -> Generator[Event, None, Plan]:
    """Plan of a method; where it is to have equal time, its pace is measured first.

    Parameters
    ----------
    entry : Entry
        A row of the method.
    footing : Footing
        What all rows stand on.

    Yields
    ------
    Progress
        Of the rehearsal.

    Returns
    -------
    Plan
        The plan.

    Raises
    ------
    SettingsError
        If the time does not suffice for a single step.
    DeviceMemoryError
        If the memory does not suffice for the training.
    """
    config = footing.config
    if config.minutes is None:
        return Plan(fingerprint=entry.basis)
    trial = _training(entry, config, steps=REHEARSED, epochs=None)
    estimate: ResourceEstimate | None = None
    images, field = footing.material.training, footing.field
    for event in estimate_resources(
        trial, images, field, runtime=footing.runtime, cancel=footing.cancel
    ):
        if isinstance(event, Finished):
            event.raise_unless_completed()
            estimate = event.result
        else:
            yield event
    assert estimate is not None
    if not math.isfinite(estimate.seconds_per_step):
        raise DeviceMemoryError(f"{entry.name}: {estimate}")
    steps = steps_in(config.minutes, estimate, trial)
    if steps < 1:
        raise SettingsError(
            f"minutes {config.minutes:g} do not suffice for {entry.name}, which would take "
            f"{estimate.seconds / 60:.2g} for {REHEARSED} steps and their validations; give more "
            "minutes, or fewer validation_images."
        )
    pace = estimate.seconds_per_step
    return Plan(fingerprint=entry.basis, steps=steps, seconds_per_step=pace)


def steps_in(minutes: float, estimate: ResourceEstimate, rehearsed: TrainingConfig) -> int:
    """Steps that a time allows, with the validations among them.

    Parameters
    ----------
    minutes : float
        The time.
    estimate : Estimate
        What the rehearsed run would take.
    rehearsed : TrainingConfig
        Its settings.

    Returns
    -------
    int
        Steps; below 1 where the time does not suffice.
    """
    validating = estimate.seconds - rehearsed.steps * estimate.seconds_per_step
    if rehearsed.validate_every is None:  # as many validations, however long the run
        return int((60 * minutes - validating) / estimate.seconds_per_step)
    return int(60 * minutes / (estimate.seconds_per_step + validating / rehearsed.steps))


def _training(entry: Entry, config: ComparisonConfig, **changes: Any) -> TrainingConfig:
    """Settings of all trainings, with the network and the seed of this one."""
    assert entry.method is not None
    own = {"network": entry.method.network, "seed": entry.seed}
    return config.training.model_copy(update={**own, **changes})
