"""Settings of a comparison of methods."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from napari_coordgate.config.base import Settings
from napari_coordgate.config.deconvolution import RichardsonLucyConfig, WienerConfig
from napari_coordgate.config.networks import NetworkConfig
from napari_coordgate.config.training import RuntimeConfig, TrainingConfig


class Method(Settings):
    """One way to deblur: a network to train, a trained model, or a classical method.

    Examples
    --------
    >>> from napari_coordgate import Method, CGUNetConfig
    >>> Method(name="CG U-Net(3)", network=CGUNetConfig(depth=3)).name
    'CG U-Net(3)'
    """

    name: str = Field(min_length=1, description="Name of the method in tables and figures.")
    network: NetworkConfig | None = Field(None, description="Network to train.")
    model: Path | None = Field(None, description="File of a trained model.")
    wiener: WienerConfig | None = Field(None, description="Wiener deconvolution.")
    richardson_lucy: RichardsonLucyConfig | None = Field(
        None, description="Richardson-Lucy deconvolution."
    )

    @model_validator(mode="after")
    def _is_one_method(self) -> Self:
        given = [name for name, value in self if name != "name" and value is not None]
        if len(given) != 1:
            raise ValueError(
                "a method needs one of network, model, wiener and richardson_lucy; "
                f"{self.name!r} has {' and '.join(given) or 'none of them'}."
            )
        return self


class ComparisonConfig(Settings):
    """Conditions of a comparison, the same for all methods.

    Examples
    --------
    >>> ComparisonConfig(seeds=3, minutes=10).test_fraction
    0.1
    """

    training: TrainingConfig = Field(
        TrainingConfig(),
        description="Training of the networks; the network of each method replaces the one here.",
    )
    seeds: int = Field(
        1, ge=1, le=100, description="Number of trainings of each network, with seeds 0, 1, ..."
    )
    minutes: float | None = Field(
        None,
        gt=0,
        description="Training time of each network, minutes; default: equal steps.",
    )
    test_fraction: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="Fraction of the images held out for the test, if there are no test images.",
    )
    test_images: int | None = Field(
        None, ge=1, description="Maximum number of test images; default: all."
    )

    @model_validator(mode="before")
    @classmethod
    def _memory_is_not_measured(cls, values: Any) -> Any:
        if isinstance(values, dict) and "memory" in values:
            raise ValueError("the memory of methods is no longer measured; remove `memory`.")
        return values


class ComparisonSettings(ComparisonConfig, RuntimeConfig):
    """Settings of a comparison, with the runtime of its trainings."""

    @model_validator(mode="before")
    @classmethod
    def _accept_runtime_in_training(cls, values: Any) -> Any:
        """Accept files written when the runtime was part of the training's settings."""
        if not isinstance(values, dict) or not isinstance(values.get("training"), dict):
            return values
        training, names = values["training"], RuntimeConfig.model_fields.keys()
        runtime = {name: value for name, value in training.items() if name in names}
        recipe = {name: value for name, value in training.items() if name not in names}
        return {**runtime, **values, "training": recipe}


class ComparisonFile(ComparisonSettings):
    """A comparison in one file; paths are relative to it."""

    methods: tuple[Method, ...] = Field(min_length=1, description="Methods to compare.")
    images: Path = Field(description="Folder of sharp images to train and validate on.")
    test: Path | None = Field(
        None, description="Folder of sharp test images; default: a fraction of the images."
    )
    psf: Path = Field(description="PSF field, made by 'napari-coordgate psf'.")
