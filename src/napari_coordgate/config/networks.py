"""What a network is built of."""

from typing import Literal, Self

from pydantic import Field, model_validator

from napari_coordgate.config.base import Settings

Architecture = Literal[
    "cg-unet", "unet", "coordconv-unet", "multi-wiener", "cg-multi-wiener", "weighted-wiener"
]
Activation = Literal["relu", "gelu", "silu"]
GateOutput = Literal["identity", "relu", "one_plus"]
GatePoints = Literal["both", "down", "up"]


class NetworkConfig(Settings):
    """A network; reading it is reading the architecture."""

    architecture: Architecture = Field(
        "cg-unet",
        description="U-Net with coordinate gates, without, or with coordinates as features; "
        "one with or without gates on a bank of Wiener filters; or the bank's weighted mean.",
    )
    depth: int = Field(3, ge=1, le=6, description="Levels d of U-Net(d).")
    base_channels: int = Field(
        32, ge=1, le=256, description="Channels at full resolution; they double at each level."
    )
    kernel_size: int = Field(3, ge=1, le=15, description="Side of the convolution kernels, odd.")
    activation: Activation = Field("relu", description="Activation after each convolution.")
    encoder_layers: int = Field(
        2, ge=1, le=8, description="Fully connected layers of each coordinate encoder."
    )
    encoder_width: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Width of an encoder's hidden layers; none: that of the features it gates.",
    )
    gate_output: GateOutput = Field(
        "one_plus",
        description="What multiplies the features: g, ReLU(g), or 1 + g starting at g = 0.",
    )
    gate_points: GatePoints = Field(
        "both", description="Gates before down-sampling, after up-sampling, or at both."
    )
    residual: bool = Field(True, description="Add the network's input to its output.")
    wiener_side: int = Field(
        3,
        ge=2,
        le=9,
        description="PSFs along each side of the frame, of which Wiener filters are made.",
    )
    regularization: float = Field(
        0.01,
        gt=0,
        le=10,
        description="Noise over signal power with which the Wiener filters start to learn.",
    )

    @model_validator(mode="after")
    def _kernel_has_center(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError("kernel_size must be odd, so that a kernel has a center.")
        return self

    @property
    def is_gated(self) -> bool:
        """Whether gating maps multiply the features of a U-Net."""
        return self.architecture in ("cg-unet", "cg-multi-wiener")

    @property
    def has_wiener_bank(self) -> bool:
        """Whether Wiener filters come first, which need the PSFs of a field."""
        return self.architecture in ("multi-wiener", "cg-multi-wiener", "weighted-wiener")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels n_c of each level, finest first; none without a U-Net."""
        levels = 0 if self.architecture == "weighted-wiener" else self.depth
        return tuple(self.base_channels * 2**level for level in range(levels))

    @property
    def multiple(self) -> int:
        """Pixels to whose multiples windows snap: a coarsest feature covers so many."""
        return int(2 ** max(0, len(self.channels) - 1))
