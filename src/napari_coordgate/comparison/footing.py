"""What a comparison stands on, what its rows are, and what each of them depends on."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_coordgate.comparison.measuring import HeldBack
from napari_coordgate.comparison.methods import load_network, slug
from napari_coordgate.comparison.rows import BLURRED, Kind
from napari_coordgate.comparison.splitting import Material, digest_of
from napari_coordgate.config import ComparisonConfig, Method, RuntimeConfig, SimulationConfig
from napari_coordgate.optics import PSFField

__all__ = ["Entry", "Footing", "entries"]

APART = {*SimulationConfig.model_fields, "network", "seed"}
"""Settings of the training that have their own entries in a fingerprint."""
KINDS: tuple[Kind, ...] = ("network", "checkpoint", "wiener", "richardson_lucy")


@dataclass(frozen=True, eq=False)
class Footing:
    """What all rows of a comparison have in common.

    Attributes
    ----------
    config : ComparisonConfig
        Training, seeds and budget.
    runtime : RuntimeConfig
        Device and processes.
    field : PSFField
        The blur.
    material : Material
        The images.
    held_back : HeldBack
        The test pairs.
    folder : Path
        Where rows are written.
    cancel : threading.Event or None
        Set when the work is to end.
    """

    config: ComparisonConfig
    runtime: RuntimeConfig
    field: PSFField
    material: Material
    held_back: HeldBack
    folder: Path
    cancel: threading.Event | None


@dataclass(frozen=True, eq=False)
class Entry:
    """A row to be.

    Attributes
    ----------
    method : Method or None
        The method; none: the blurred images as they are.
    seed : int or None
        Seed of its training; none where there is none.
    basis : dict
        What it depends on, but for the seed.
    """

    method: Method | None
    seed: int | None
    basis: dict[str, Any]

    @property
    def name(self) -> str:
        """What the method is called."""
        return BLURRED if self.method is None else self.method.name

    @property
    def slug(self) -> str:
        """The method in the names of files."""
        return slug(self.name)

    @property
    def stem(self) -> str:
        """The row in the names of files."""
        return self.slug if self.seed is None else f"{self.slug}-seed{self.seed}"

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What it depends on."""
        return self.basis if self.seed is None else {**self.basis, "seed": self.seed}

    @property
    def kind(self) -> Kind:
        """What the method is."""
        return next((k for k in KINDS if getattr(self.method, k, None) is not None), "blurred")


def entries(
    methods: Sequence[Method], config: ComparisonConfig, field: PSFField, material: Material
) -> list[Entry]:
    """All rows of a comparison: the blurred images, then each method with each of its seeds.

    Parameters
    ----------
    methods : sequence of Method
        The methods, in the order of the rows.
    config : ComparisonConfig
        Training, seeds and budget.
    field : PSFField
        The blur.
    material : Material
        The images.

    Returns
    -------
    list of Entry
        The rows.

    Raises
    ------
    CheckpointError
        If a method's checkpoint cannot be read.
    FrameMismatchError
        If it serves another frame.
    """
    test = {
        "test_images": material.test_digest,
        "psf_field": f"{field.frame_shape} {digest_of(field.kernels, field.coefficients)}",
        **config.training.select(SimulationConfig).model_dump(mode="json"),
    }
    found = [Entry(None, None, test)]
    for method in methods:
        basis = {**test, "method": _described(method, field)}
        if method.network is None:
            found.append(Entry(method, None, basis))
        else:
            basis |= _training(config, material)
            found += [Entry(method, seed, basis) for seed in range(config.seeds)]
    return found


def _training(config: ComparisonConfig, material: Material) -> dict[str, Any]:
    """What every training depends on."""
    apart = APART if config.minutes is None else APART | {"steps", "epochs"}
    return {
        "images": material.training_digest,
        "training": config.training.model_dump(mode="json", exclude=apart),
        "minutes": config.minutes,
    }


def _described(method: Method, field: PSFField) -> dict[str, Any]:
    """What a method's results depend on; of a checkpoint its content, not its place."""
    if method.checkpoint is None:
        return method.model_dump(mode="json", exclude={"name"}, exclude_none=True)
    load_network(method, field)  # says in words what is wrong with it
    with method.checkpoint.open("rb") as file:
        return {"checkpoint": hashlib.file_digest(file, hashlib.blake2b).hexdigest()[:32]}
