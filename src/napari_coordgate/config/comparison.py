"""Which methods are compared, and on what footing."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from napari_coordgate.config.base import Settings
from napari_coordgate.config.classical import RichardsonLucyConfig, WienerConfig
from napari_coordgate.config.networks import NetworkConfig
from napari_coordgate.config.training import TrainingConfig

__all__ = ["ComparisonConfig", "ComparisonFile", "Method"]


class Method(Settings):
    """One way to deblur: a network to train, a checkpoint, or a classical method."""

    name: str = Field(min_length=1, description="What the method is called in tables and figures.")
    network: NetworkConfig | None = Field(None, description="Network to train.")
    checkpoint: Path | None = Field(None, description="Trained network to load.")
    wiener: WienerConfig | None = Field(None, description="Wiener deconvolution.")
    richardson_lucy: RichardsonLucyConfig | None = Field(
        None, description="Richardson-Lucy deconvolution."
    )

    @model_validator(mode="after")
    def _is_one_method(self) -> Self:
        given = [name for name, value in self if name != "name" and value is not None]
        if len(given) != 1:
            raise ValueError(
                "a method is one of network, checkpoint, wiener and richardson_lucy; "
                f"{self.name!r} has {' and '.join(given) or 'none of them'}."
            )
        return self


class ComparisonConfig(Settings):
    """Footing of a comparison, the same for all methods."""

    training: TrainingConfig = Field(
        TrainingConfig(),
        description="How networks are trained; each method's network stands in place of its own.",
    )
    seeds: int = Field(1, ge=1, le=100, description="Trainings of each network, seeds 0, 1, ...")
    minutes: float | None = Field(
        None, gt=0, description="Equal time for all networks instead of equal steps, minutes."
    )
    test_fraction: float = Field(
        0.1, gt=0, lt=1, description="Part of the images kept for the test, where none are given."
    )
    test_images: int | None = Field(None, ge=1, description="Most test images; none: all.")
    memory: bool = Field(
        True, description="Measure the memory of each method, in a process of its own."
    )


class ComparisonFile(ComparisonConfig):
    """A comparison in one file; paths are relative to it."""

    methods: tuple[Method, ...] = Field(min_length=1, description="What is compared.")
    images: Path = Field(description="Folder of sharp images to train and validate on.")
    test: Path | None = Field(
        None, description="Folder of sharp images for the test; none: a part of the others."
    )
    psf: Path = Field(description="PSF field, made by 'napari-coordgate psf'.")
