"""Shared context, runs, fingerprints and training plans of a comparison."""

import hashlib
import math
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_coordgate.comparison.comparison import BLURRED, Kind, Record
from napari_coordgate.comparison.data_split import DataSplit, digest_of
from napari_coordgate.comparison.evaluation import TestSet
from napari_coordgate.comparison.methods import load_model, slug
from napari_coordgate.config import (
    ComparisonConfig,
    Method,
    ModelMethod,
    NetworkMethod,
    RuntimeConfig,
    SimulationConfig,
    TrainingConfig,
    UniversalMethod,
    UnrolledMethod,
)
from napari_coordgate.errors import DeviceMemoryError, SettingsError
from napari_coordgate.events import Event
from napari_coordgate.opening import regular
from napari_coordgate.optics import PSFField
from napari_coordgate.training import ResourceEstimate, estimate_resources_events
from napari_coordgate.universal_model import UniversalModel

TEST_SEED = 2**31 - 1
"""Seed of noise and windows of the test pairs, above those of the trainings."""
TRIAL_STEPS = 1000
"""Steps of the training whose time is estimated, where all networks get equal time."""


@dataclass(frozen=True, eq=False)
class ComparisonContext:
    """Settings, images and folder that all runs of a comparison share."""

    config: ComparisonConfig
    runtime: RuntimeConfig
    psf_field: PSFField
    split: DataSplit
    tests: TestSet
    folder: Path
    cancel: threading.Event | None


@dataclass(frozen=True, eq=False)
class RunSpec:
    """Run that makes one row: a method (None: the blurred images as they are) and a seed."""

    method: Method | None
    seed: int | None
    recipe: dict[str, Any]
    """Everything that the row depends on except the seed."""

    @property
    def name(self) -> str:
        """Name of the method."""
        return BLURRED if self.method is None else self.method.name

    @property
    def slug(self) -> str:
        """Name of the method in file names."""
        return slug(self.name)

    @property
    def stem(self) -> str:
        """Name of the row in file names."""
        return self.slug if self.seed is None else f"{self.slug}-seed{self.seed}"

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that the row depends on."""
        return self.recipe if self.seed is None else {**self.recipe, "seed": self.seed}

    @property
    def kind(self) -> Kind:
        """Type of the method."""
        return "blurred" if self.method is None else self.method.kind


def list_runs(
    methods: Sequence[Method], config: ComparisonConfig, psf_field: PSFField, split: DataSplit
) -> list[RunSpec]:
    """All runs in the order of their rows: the blurred images, then each method and seed."""
    arrays = [psf_field.kernels, psf_field.coefficients]
    if psf_field.flat_field is not None:
        arrays.append(psf_field.flat_field)
    test = {
        "test_images": split.test_digest,
        "psf_field": f"{psf_field.frame_shape} {digest_of(*arrays)}",
        "test": pairs_config(config).model_dump(mode="json"),
    }
    runs = [RunSpec(None, None, test)]
    for method in methods:
        if isinstance(method, NetworkMethod):
            training = training_config(method, 0, config).model_dump(mode="json")
            trained = {"training": training, "minutes": config.minutes}
        elif isinstance(method, UnrolledMethod):
            trained = {"method": _identity(method, psf_field)}
        else:
            runs.append(RunSpec(method, None, {**test, "method": _identity(method, psf_field)}))
            continue
        recipe = {**test, "images": split.training_digest, **trained}
        runs += [RunSpec(method, seed, recipe) for seed in range(config.seeds)]
    return runs


def pairs_config(config: ComparisonConfig) -> TrainingConfig:
    """Settings that simulate the test pairs: as in the training, but with another seed."""
    return TrainingConfig(**dict(config.training.select(SimulationConfig)), seed=TEST_SEED)


def training_config(method: NetworkMethod, seed: int, config: ComparisonConfig) -> TrainingConfig:
    """Settings of one training; with equal time, those of the trial that measures the pace."""
    length = {} if config.minutes is None else {"steps": TRIAL_STEPS, "epochs": None}
    changes = {"network": method.network, "seed": seed, **length}
    return config.training.model_copy(update=changes)


def _identity(method: Method, psf_field: PSFField) -> dict[str, Any]:
    """Settings of a method without its name; for a model the digest of its file or weights."""
    if isinstance(method, UniversalMethod):
        settings = method.universal.model_dump(mode="json", exclude={"weights"})
        return {
            "universal": settings,
            "weights": UniversalModel.load(method.universal.weights).digest,
        }
    if isinstance(method, UnrolledMethod) and method.architecture is None:
        start = {"weights": UniversalModel.load().digest}
        return method.model_dump(mode="json", exclude={"name"}) | start
    if not isinstance(method, ModelMethod):
        return method.model_dump(mode="json", exclude={"name"}, exclude_none=True)
    load_model(method.model, psf_field)  # raises what is wrong with it
    with open(method.model, "rb", opener=regular) as file:
        return {"model": hashlib.file_digest(file, hashlib.blake2b).hexdigest()[:32]}


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
        assert isinstance(spec.method, NetworkMethod) and spec.seed is not None
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
    assert isinstance(spec.method, NetworkMethod) and spec.seed is not None
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
