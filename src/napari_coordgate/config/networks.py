"""Architectures of networks, one settings class for each."""

import reprlib
from numbers import Integral
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from napari_coordgate.config.base import Settings, variants
from napari_coordgate.errors import SettingsError, format_validation_error

Architecture = Literal[
    "cg-unet", "unet", "coordconv-unet", "multi-wiener", "cg-multi-wiener", "weighted-wiener"
]
Activation = Literal["relu", "gelu", "silu"]
GateOutput = Literal["identity", "relu", "one_plus"]
GatePoints = Literal["both", "down", "up"]

_EVEN_KERNEL = "kernel_size must be odd, so that a kernel has a center"


ARCHITECTURE = (
    "Network: a U-Net with coordinate gates (cg-unet), without (unet), or with the coordinates as "
    "input channels (coordconv-unet); a U-Net after a bank of Wiener filters, without "
    "(multi-wiener) or with gates (cg-multi-wiener); or the filters alone (weighted-wiener)."
)


class _Network(Settings):
    architecture: Architecture = Field("cg-unet", description=ARCHITECTURE)

    @property
    def is_gated(self) -> bool:
        """Whether gating maps multiply the features of a U-Net."""
        return isinstance(self, GateSettings)

    @property
    def has_wiener_bank(self) -> bool:
        """Whether the network starts with Wiener filters, which need the PSFs of a field."""
        return isinstance(self, WienerBankSettings)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level of the U-Net, finest first; empty without a U-Net."""
        return ()

    @property
    def features(self) -> int:
        """Feature maps at full resolution, by which memory is estimated."""
        return self.channels[0] if self.channels else 32

    @property
    def multiple(self) -> int:
        """Window origins are multiples of this: a pixel of the coarsest level covers so many."""
        return int(2 ** max(0, len(self.channels) - 1))


class UNetSettings(_Network):
    """Settings of a U-Net."""

    depth: int = Field(3, ge=1, le=6, description="Number of levels (resolutions) of the U-Net.")
    base_channels: int = Field(
        32, ge=1, le=256, description="Channels at full resolution; they double at each level."
    )
    kernel_size: int = Field(
        3, ge=1, le=15, description="Side of the convolution kernels, pixels; odd."
    )
    activation: Activation = Field("relu", description="Activation after each convolution.")
    residual: bool = Field(True, description="Add the network's input to its output.")

    @model_validator(mode="after")
    def _kernel_has_center(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"{_EVEN_KERNEL}.")
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        return tuple(self.base_channels * 2**level for level in range(self.depth))


class GateSettings(_Network):
    """Settings of coordinate gates."""

    encoder_layers: int = Field(
        2, ge=1, le=8, description="Number of fully connected layers of each coordinate encoder."
    )
    encoder_width: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Width of the encoders' hidden layers; default: as many as gated channels.",
    )
    gate_output: GateOutput = Field(
        "one_plus",
        description="Factor that multiplies the features: the encoder's output g (identity), "
        "ReLU(g) (relu), or 1 + g, starting at g = 0 (one_plus).",
    )
    gate_points: GatePoints = Field(
        "both", description="Gates before each down-sampling, after each up-sampling, or both."
    )


class WienerBankSettings(_Network):
    """Settings of a bank of Wiener filters."""

    wiener_side: int = Field(
        3, ge=2, le=9, description="Number of Wiener filters along each side of the frame."
    )
    regularization: float = Field(
        0.01,
        gt=0,
        le=10,
        description="Initial ratio of noise power to signal power in the Wiener filters.",
    )


class CGUNetConfig(GateSettings, UNetSettings):
    """U-Net with coordinate gates (CoordGate).

    Examples
    --------
    >>> CGUNetConfig(depth=2, base_channels=16).channels
    (16, 32)
    """

    architecture: Literal["cg-unet"] = Field("cg-unet", description=ARCHITECTURE)


class UNetConfig(UNetSettings):
    """Plain U-Net.

    Examples
    --------
    >>> UNetConfig(depth=5).channels
    (32, 64, 128, 256, 512)
    """

    architecture: Literal["unet"] = Field("unet", description=ARCHITECTURE)


class CoordConvUNetConfig(UNetSettings):
    """U-Net whose features include the coordinates (CoordConv).

    Examples
    --------
    >>> CoordConvUNetConfig().is_gated
    False
    """

    architecture: Literal["coordconv-unet"] = Field("coordconv-unet", description=ARCHITECTURE)


class MultiWienerConfig(WienerBankSettings, UNetSettings):
    """U-Net on the results of a bank of Wiener filters (MultiWienerNet).

    Examples
    --------
    >>> MultiWienerConfig(wiener_side=5).has_wiener_bank
    True
    """

    architecture: Literal["multi-wiener"] = Field("multi-wiener", description=ARCHITECTURE)


class CGMultiWienerConfig(WienerBankSettings, GateSettings, UNetSettings):
    """U-Net with coordinate gates on the results of a bank of Wiener filters.

    Examples
    --------
    >>> CGMultiWienerConfig(gate_output="relu").is_gated
    True
    """

    architecture: Literal["cg-multi-wiener"] = Field("cg-multi-wiener", description=ARCHITECTURE)


class WeightedWienerConfig(WienerBankSettings):
    """Mean of the results of a bank of Wiener filters, weighted by distance.

    Examples
    --------
    >>> WeightedWienerConfig().channels
    ()
    """

    architecture: Literal["weighted-wiener"] = Field("weighted-wiener", description=ARCHITECTURE)


Coordinate = Literal["noise", "lens", "psf", "position"]


class UnrolledConfig(Settings):
    """Unrolled network: Richardson-Lucy steps with any PSF field, each corrected by a gated U-Net.

    Examples
    --------
    >>> UnrolledConfig(stages=4).coordinate_channels
    3
    """

    stages: int = Field(3, ge=1, le=10, description="Number of stages.")
    depth: int = Field(2, ge=1, le=5, description="Number of levels of the U-Net of each stage.")
    base_channels: int = Field(
        16, ge=1, le=256, description="Channels at full resolution; they double at each level."
    )
    memory_channels: int = Field(
        8, ge=2, le=64, description="Feature maps that a stage passes on to the next."
    )
    iterations: tuple[int, int, int] = Field(
        (3, 10, 30),
        description="Richardson-Lucy iterations whose estimates the first stage starts from; the "
        "second is its image, the others are in its memory.",
    )
    coordinates: tuple[Coordinate, ...] = Field(
        ("noise", "lens"),
        description="Coordinates of the gates: the noise; how uncertain the lens is (lens); the "
        "width of each pixel's PSF along both axes (psf); the position in the frame.",
    )

    @model_validator(mode="after")
    def _iterations_ascend(self) -> Self:
        if not 0 < self.iterations[0] < self.iterations[1] < self.iterations[2]:
            raise ValueError("iterations must be three ascending numbers, such as (3, 5, 10).")
        return self

    @property
    def coordinate_channels(self) -> int:
        """Number of coordinates per pixel."""
        return sum(1 if name == "lens" else 2 for name in self.coordinates)


def _architecture(value: Any) -> str:
    """Tag of the class that a value describes; a U-Net with coordinate gates by default."""
    if isinstance(value, dict):
        return f"<{value.get('architecture', 'cg-unet')}>"
    return f"<{getattr(value, 'architecture', None)}>"


def _without_defaults_of_others(value: Any) -> Any:
    """Settings of one architecture, also given as its name, without defaults of others.

    Files of earlier versions, and settings merged from several sources, contain the settings of
    all architectures.
    """
    if isinstance(value, str):
        value = {"architecture": value}
    if isinstance(value, _Network):
        return value
    if not isinstance(value, dict):
        raise ValueError(
            "must be settings of a network, e.g. UNetConfig(), or the name of an architecture, "
            f"not {type(value).__name__}"
        )
    if value.get("architecture", "cg-unet") not in _KINDS:
        given = value.get("architecture")
        raise ValueError(f"architecture must be one of {', '.join(_KINDS)} (given: {given!r})")
    own = own_settings(value)
    if own is value:
        return value
    others = {name: item for name, item in value.items() if name not in own}
    if set_ones := [name for name, item in others.items() if item != _SETTINGS[name].default]:
        raise ValueError(
            f"architecture {value.get('architecture', 'cg-unet')} has no setting "
            f"{' or '.join(set_ones)}"
        )
    return own


def own_settings(value: Any) -> Any:
    """Settings of a network in a mapping, without those of other architectures."""
    kind = _KINDS.get(value.get("architecture", "cg-unet")) if isinstance(value, dict) else None
    others = set() if kind is None else value.keys() & (_SETTINGS.keys() - kind.model_fields)
    return {n: v for n, v in value.items() if n not in others} if others else value


NetworkConfig = Annotated[
    Annotated[CGUNetConfig, Tag("<cg-unet>")]
    | Annotated[UNetConfig, Tag("<unet>")]
    | Annotated[CoordConvUNetConfig, Tag("<coordconv-unet>")]
    | Annotated[MultiWienerConfig, Tag("<multi-wiener>")]
    | Annotated[CGMultiWienerConfig, Tag("<cg-multi-wiener>")]
    | Annotated[WeightedWienerConfig, Tag("<weighted-wiener>")],
    Discriminator(_architecture),
    BeforeValidator(_without_defaults_of_others),
]
"""Settings of a network; each architecture has its own class."""

_KINDS = dict(zip(get_args(Architecture), variants(NetworkConfig), strict=True))
_SETTINGS = {name: field for kind in _KINDS.values() for name, field in kind.model_fields.items()}
_ADAPTER: TypeAdapter[NetworkConfig] = TypeAdapter(NetworkConfig)


def as_network_config(value: Any) -> NetworkConfig:
    """Settings of a network that are given as such, as a dict, or as the architecture's name."""
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        raise SettingsError(f"config: {format_validation_error(error)}") from None


def network_config(**values: Any) -> NetworkConfig:
    """Settings of the network that ``architecture`` names, by default of a gated U-Net."""
    return _ADAPTER.validate_python(values)


def check_choice(name: str, value: Any, literal: Any) -> None:
    """Raise SettingsError unless the value of a setting is one of those of a literal type."""
    choices = get_args(literal)
    if not isinstance(value, str) or value not in choices:
        raise SettingsError(
            f"{name}: must be one of {', '.join(choices)} (given: {reprlib.repr(value)})"
        )


def check_counts(**values: Any) -> None:
    """Raise SettingsError unless each named value is a whole number of at least 1."""
    for name, value in values.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise SettingsError(
                f"{name}: must be a whole number of at least 1 (given: {reprlib.repr(value)})"
            )


def check_kernel_size(kernel_size: int) -> None:
    """Raise SettingsError unless a convolution kernel has a center."""
    check_counts(kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        raise SettingsError(f"{_EVEN_KERNEL} (given: {kernel_size})")
