"""Every setting and its default.

Flags, forms and files of settings derive from these models: a field's
description is its help text and tooltip, its default is written here and
nowhere else. All models are frozen, and an unknown key is an error.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from napari_coordgate.complaints import explain
from napari_coordgate.errors import SettingsError

__all__ = [
    "AnyLens",
    "Border",
    "Camera",
    "DeblurConfig",
    "DemoConfig",
    "Device",
    "GateOutput",
    "GaussianLens",
    "Lens",
    "NetworkConfig",
    "PSFFieldConfig",
    "Scaling",
    "Settings",
    "TrainingConfig",
    "load_lens",
    "load_settings",
]

Border = Literal["scene", "mirror"]
Device = Literal["auto", "cpu", "cuda", "mps"]
GateOutput = Literal["identity", "relu", "one_plus"]
Pair = tuple[float, float]


class Settings(BaseModel):
    """Base of all settings: frozen, finite, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_yaml(self, include: set[str] | None = None) -> str:
        """Text of a YAML file that loads as these settings, or as those named here."""
        return yaml.safe_dump(self.model_dump(mode="json", include=include), sort_keys=False)


class Lens(Settings):
    """A lens, seen from the object: what makes its blur, and what makes the blur vary.

    The field vector points from the optical axis to a place in the frame; its
    length, the *field radius*, is 1 at half the frame's diagonal (the corners,
    when the axis is at the centre). Off-axis aberrations have the field
    dependence of third-order theory and the pupil shape of the fringe Zernike
    polynomials, so that they neither shift nor defocus the image by themselves.
    """

    kind: Literal["pupil"] = Field("pupil", description="Lens described by its pupil.")
    na: float = Field(0.5, gt=0, lt=1.7, description="Numerical aperture.")
    wavelength_nm: float = Field(520.0, gt=100, lt=3000, description="Wavelength in vacuum, nm.")
    pixel_size_um: float = Field(
        0.325, gt=0, le=1000, description="Side of a camera pixel in the object, um."
    )
    refractive_index: float = Field(
        1.0, ge=1, le=2.5, description="Refractive index of the immersion medium."
    )
    defocus_um: float = Field(0.0, description="Defocus on the optical axis, um.")
    field_curvature_um: float = Field(
        6.0, description="Further defocus at field radius 1, growing as its square, um."
    )
    tilt_um: Pair = Field(
        (0.0, 0.0),
        description="Further defocus at the frame's lower and right edge (focal plane tilt), um.",
    )
    astigmatism_waves: float = Field(
        0.0, description="Astigmatism at field radius 1, growing as its square, waves."
    )
    coma_waves: float = Field(
        0.0, description="Coma at field radius 1, growing in proportion to it, waves."
    )
    spherical_waves: float = Field(
        0.0, description="Spherical aberration, the same over the frame, waves."
    )
    axis: Pair = Field(
        (0.0, 0.0), description="Optical axis (y, x) in frame coordinates; the frame is [-1, 1]."
    )

    @model_validator(mode="after")
    def _aperture_fits_medium(self) -> Self:
        if self.na >= self.refractive_index:
            raise ValueError(
                f"na {self.na} must be below the refractive index {self.refractive_index}; "
                "name the immersion medium (water 1.33, oil 1.515) or lower the na."
            )
        return self


class GaussianLens(Settings):
    """A lens known by the width of its blur alone, for those who know no NA.

    The variance of the Gaussian blur grows in proportion to the squared field
    radius, which is 1 at half the frame's diagonal.
    """

    kind: Literal["gaussian"] = Field("gaussian", description="Lens described by its blur's width.")
    sigma_center_px: float = Field(
        0.5, gt=0, le=200, description="Standard deviation of the blur on the axis, pixels."
    )
    sigma_edge_px: float = Field(
        2.0, gt=0, le=200, description="Standard deviation of the blur at field radius 1, pixels."
    )
    pixel_size_um: float | None = Field(
        None, gt=0, le=1000, description="Side of a camera pixel in the object, um, if known."
    )
    axis: Pair = Field(
        (0.0, 0.0), description="Optical axis (y, x) in frame coordinates; the frame is [-1, 1]."
    )

    @model_validator(mode="before")
    @classmethod
    def _has_no_pupil(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.keys() & (Lens.model_fields.keys() - cls.model_fields):
            raise ValueError(
                "give either a pupil (na, ...) or the blur's width (sigma_...), not both."
            )
        return value


def _lens_kind(value: Any) -> str:
    """Kind of lens meant by a mapping; a sigma tells a Gaussian lens without its kind."""
    if isinstance(value, dict):
        guess = "gaussian" if any(str(key).startswith("sigma_") for key in value) else "pupil"
        return str(value.get("kind", guess))
    return str(getattr(value, "kind", "pupil"))


AnyLens = Annotated[
    Annotated[Lens, Tag("pupil")] | Annotated[GaussianLens, Tag("gaussian")],
    Discriminator(_lens_kind),
]


class PSFFieldConfig(Settings):
    """How finely a PSF field stands for its lens."""

    tolerance: float = Field(
        1e-3, gt=0, lt=1, description="Relative error of a blur against the exact sum over PSFs."
    )
    enclosed_energy: float = Field(
        0.99,
        gt=0.5,
        lt=1,
        description="Part of each PSF's light inside its window; the window grows to hold it.",
    )


class Camera(Settings):
    """Noise of the camera, added after the blur."""

    photons: float | None = Field(
        None,
        gt=0,
        description="Photons in a pixel of full brightness (Poisson noise); none: no noise.",
    )
    read_noise: float = Field(
        0.0, ge=0, description="Standard deviation of the Gaussian read noise, electrons."
    )

    @model_validator(mode="after")
    def _electrons_need_photons(self) -> Self:
        if self.read_noise and self.photons is None:
            raise ValueError("read_noise is counted in electrons: give the photon count as well.")
        return self


class Scaling(Settings):
    """How an image's intensities become the network's, near 0 to 1, and back."""

    low_percentile: float = Field(1.0, ge=0, lt=100, description="Percentile that becomes 0.")
    high_percentile: float = Field(99.8, gt=0, le=100, description="Percentile that becomes 1.")

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low_percentile >= self.high_percentile:
            raise ValueError("low_percentile must be below high_percentile.")
        return self


class NetworkConfig(Settings):
    """A network; reading it is reading the architecture."""

    architecture: Literal["cg-unet", "unet"] = Field(
        "cg-unet", description="U-Net with coordinate gates, or without."
    )
    depth: int = Field(3, ge=1, le=6, description="Levels d of U-Net(d).")
    base_channels: int = Field(
        32, ge=1, le=256, description="Channels at full resolution; they double at each level."
    )
    kernel_size: int = Field(3, ge=1, le=15, description="Side of the convolution kernels, odd.")
    encoder_layers: int = Field(
        2, ge=1, le=8, description="Fully connected layers of each coordinate encoder."
    )
    gate_output: GateOutput = Field(
        "one_plus",
        description="What multiplies the features: g, ReLU(g), or 1 + g starting at g = 0.",
    )
    residual: bool = Field(True, description="Add the network's input to its output.")

    @model_validator(mode="after")
    def _kernel_has_centre(self) -> Self:
        if self.kernel_size % 2 == 0:
            raise ValueError("kernel_size must be odd, so that a kernel has a centre.")
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels n_c of each level, finest first."""
        return tuple(self.base_channels * 2**level for level in range(self.depth))

    @property
    def multiple(self) -> int:
        """Pixels to whose multiples windows snap: a coarsest feature covers so many."""
        return int(2 ** (self.depth - 1))


class TrainingConfig(Settings):
    """One training run; with the network, the images and the PSF field it repeats exactly."""

    network: NetworkConfig = Field(NetworkConfig(), description="The network to train.")
    camera: Camera = Field(Camera(), description="Camera noise added to the blurred images.")
    scaling: Scaling = Field(
        Scaling(), description="Intensity scaling, recorded in the checkpoint."
    )
    sampling: Literal["window", "frame"] = Field(
        "window", description="Train on windows of the frame, or on whole frames."
    )
    window_size: int = Field(64, ge=8, description="Side of a training window, pixels.")
    border: Border = Field(
        "scene",
        description="Beyond the frame the scene goes on, as in a microscope, or is mirrored.",
    )
    augment: bool = Field(True, description="Flip and turn the sharp images before the blur.")
    gain: float = Field(
        1.25, ge=1, le=10, description="Brightness varies by up to this factor, either way."
    )
    steps: int = Field(5000, ge=1, description="Optimiser steps, where epochs are not given.")
    epochs: int | None = Field(None, ge=1, description="Passes over all sharp images.")
    batch_size: int = Field(8, ge=1, description="Windows or frames in a step.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Learning rate of Adam.")
    schedule: Literal["cosine", "plateau"] = Field(
        "cosine",
        description="Learning rate falls along a cosine, or halves when validation stands still.",
    )
    warmup_steps: int = Field(100, ge=0, description="Steps over which a cosine schedule rises.")
    patience_epochs: int = Field(
        20,
        ge=1,
        description="Epochs without a lower validation loss after which a plateau halves the rate.",
    )
    ema_decay: float = Field(
        0.999, ge=0, lt=1, description="Decay of the averaged weights that are kept; 0: none."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Arithmetic of the forward pass."
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="Part of the sharp images kept for validation."
    )
    validation_images: int = Field(32, ge=1, description="Most validation images looked at.")
    validate_every: int | None = Field(
        None,
        ge=1,
        description="Steps between validations; none: an epoch, or a twentieth of the run.",
    )
    device: Device = Field("auto", description="Where to compute.")
    workers: int = Field(
        0, ge=0, le=64, description="Processes that read images beside the training."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of weights, pairs and noise.")

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """Protocol of the paper (section 4.2): Adam, 1e-3, halved on a plateau, 600 epochs."""
        protocol = {
            "sampling": "frame",
            "epochs": 600,
            "learning_rate": 1e-3,
            "schedule": "plateau",
            "patience_epochs": 20,
            "ema_decay": 0.0,
            "augment": False,
            "gain": 1.0,
        }
        return cls(**(protocol | changes))


class DeblurConfig(Settings):
    """How a network is run over an image."""

    tile: int | None = Field(
        None,
        ge=16,
        description="Largest side of a tile with its halo, pixels; none: chosen by memory.",
    )
    memory_gb: float = Field(
        0.75, gt=0, description="Memory for a tile's features, GB; gating maps kept take as much."
    )
    keep_dtype: bool = Field(
        False, description="Write the input's pixel type (rounded and clipped) instead of float32."
    )
    device: Device = Field("auto", description="Where to compute.")


class DemoConfig(Settings):
    """How long the demonstration trains, and where."""

    seconds: float = Field(60.0, ge=1, description="Time for the training, about.")
    device: Device = Field("auto", description="Where to compute.")


S = TypeVar("S", bound=Settings)
T = TypeVar("T")


def load_settings(model: type[S], source: str | Path) -> S:
    """Read a YAML file of settings.

    Parameters
    ----------
    model : type of Settings
        What the file describes.
    source : str or Path
        The file.

    Returns
    -------
    Settings
        An instance of ``model``.

    Raises
    ------
    SettingsError
        If the file cannot be read, is no YAML mapping, or names a wrong key or value.
    """
    return _validated(TypeAdapter(model), source, model)


def load_lens(source: str | Path) -> Lens | GaussianLens:
    """Read a YAML file that describes a lens.

    Parameters
    ----------
    source : str or Path
        The file; keys that begin with ``sigma_`` mean a Gaussian lens.

    Returns
    -------
    Lens or GaussianLens
        The lens.

    Raises
    ------
    SettingsError
        If the file cannot be read, is no YAML mapping, or names a wrong key or value.
    """
    adapter = TypeAdapter[Lens | GaussianLens](AnyLens)
    return _validated(adapter, source, Lens, GaussianLens)


def _validated(adapter: TypeAdapter[T], source: str | Path, *models: type[Settings]) -> T:
    """Content of a YAML file; ``models`` hold the names that it may use."""
    try:
        mapping = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{source}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source}: cannot be read as text ({error}).") from None
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise SettingsError(f"{source}: is not YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(mapping, dict):
        raise SettingsError(f"{source}: holds no settings; write one 'name: value' a line.")
    try:
        return adapter.validate_python(mapping)
    except ValidationError as error:
        raise SettingsError(f"{source}: {explain(error, *models)}") from None
