"""Settings of a comparison of methods."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from napari_coordgate.config.base import RENAMED, Settings
from napari_coordgate.config.deconvolution import (
    RichardsonLucyConfig,
    UniversalConfig,
    WienerConfig,
)
from napari_coordgate.config.networks import NetworkConfig, UnrolledConfig
from napari_coordgate.config.training import RuntimeConfig, TrainingConfig
from napari_coordgate.config.universal import AdaptConfig


class _MethodBase(Settings):
    name: str = Field(min_length=1, description="Name of the method in tables and figures.")


class NetworkMethod(_MethodBase):
    """Method of a comparison: a network to train.

    Examples
    --------
    >>> from napari_coordgate import CGUNetConfig, NetworkMethod
    >>> NetworkMethod(name="CG U-Net(3)", network=CGUNetConfig(depth=3)).name
    'CG U-Net(3)'
    """

    kind: ClassVar[Literal["network"]] = "network"
    network: NetworkConfig = Field(description="Network to train.")


class ModelMethod(_MethodBase):
    """Method of a comparison: a trained model.

    Examples
    --------
    >>> from napari_coordgate import ModelMethod
    >>> ModelMethod(name="starter", model="sample_data/starter.safetensors").model.name
    'starter.safetensors'
    """

    kind: ClassVar[Literal["model"]] = "model"
    model: Path = Field(description="File of a trained model.")


class WienerMethod(_MethodBase):
    """Method of a comparison: Wiener deconvolution.

    Examples
    --------
    >>> from napari_coordgate import WienerConfig, WienerMethod
    >>> WienerMethod(name="Wiener", wiener=WienerConfig(regularization=0.03)).kind
    'wiener'
    """

    kind: ClassVar[Literal["wiener"]] = "wiener"
    wiener: WienerConfig = Field(description="Wiener deconvolution.")


class RichardsonLucyMethod(_MethodBase):
    """Method of a comparison: Richardson-Lucy deconvolution.

    Examples
    --------
    >>> from napari_coordgate import RichardsonLucyConfig, RichardsonLucyMethod
    >>> method = RichardsonLucyMethod(name="RL", richardson_lucy=RichardsonLucyConfig(num_iter=20))
    >>> method.richardson_lucy.num_iter
    20
    """

    kind: ClassVar[Literal["richardson_lucy"]] = "richardson_lucy"
    richardson_lucy: RichardsonLucyConfig = Field(description="Richardson-Lucy deconvolution.")


class UniversalMethod(_MethodBase):
    """Method of a comparison: the universal model, which serves every lens.

    Examples
    --------
    >>> from napari_coordgate import UniversalConfig, UniversalMethod
    >>> UniversalMethod(name="universal", universal=UniversalConfig(lens_uncertainty=0.05)).kind
    'universal'
    """

    kind: ClassVar[Literal["universal"]] = "universal"
    universal: UniversalConfig = Field(description="Universal model.")


class UnrolledMethod(_MethodBase):
    """Method of a comparison: an unrolled network to train for the lens and the noise.

    It gets the number of steps of its own settings, and each seed of the comparison.

    Examples
    --------
    >>> from napari_coordgate import UnrolledMethod
    >>> from napari_coordgate.config import AdaptConfig, UnrolledConfig
    >>> one_stage = UnrolledConfig(stages=1, depth=3, iterations=(5, 15, 40))
    >>> training = AdaptConfig(steps=2000, learning_rate=1e-3)
    >>> UnrolledMethod(name="CG-RL", unrolled=training, architecture=one_stage).kind
    'unrolled'
    """

    kind: ClassVar[Literal["unrolled"]] = "unrolled"
    unrolled: AdaptConfig = Field(description="Training for the lens and the noise.")
    architecture: UnrolledConfig | None = Field(
        None,
        description="Network to train from random weights; default: the universal model, "
        "trained further.",
    )


_KINDS = tuple(
    method.kind
    for method in (
        NetworkMethod,
        ModelMethod,
        WienerMethod,
        RichardsonLucyMethod,
        UniversalMethod,
        UnrolledMethod,
    )
)


def _method_tag(value: Any) -> str:
    """Tag of the class in `Method` that a value belongs to."""
    if isinstance(value, dict):
        return f"<{next(name for name in map(_current_name, value) if name in _KINDS)}>"
    return f"<{getattr(value, 'kind', None)}>"


def _with_one_kind(value: Any) -> Any:
    """Settings of one method, without those of other kinds that are null in older files."""
    if isinstance(value, _MethodBase):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be settings of a method, e.g. NetworkMethod(...)")
    settings = {name: item for name, item in value.items() if name == "name" or item is not None}
    others = [str(_current_name(name)) for name in settings if name != "name"]
    if sum(name in _KINDS for name in others) != 1:
        raise ValueError(
            f"a method needs one of {', '.join(_KINDS)}; {value.get('name')!r} has "
            f"{' and '.join(others) or 'none of them'}."
        )
    return settings


def _current_name(name: Any) -> Any:
    return RENAMED.get(name, name)


Method = Annotated[
    Annotated[NetworkMethod, Tag("<network>")]
    | Annotated[ModelMethod, Tag("<model>")]
    | Annotated[WienerMethod, Tag("<wiener>")]
    | Annotated[RichardsonLucyMethod, Tag("<richardson_lucy>")]
    | Annotated[UniversalMethod, Tag("<universal>")]
    | Annotated[UnrolledMethod, Tag("<unrolled>")],
    Discriminator(_method_tag),
    BeforeValidator(_with_one_kind),
]
"""Method of a comparison; its class follows from which of the settings is present."""


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
        description="Training time of each network, minutes (not of unrolled networks); default: "
        "equal steps.",
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
