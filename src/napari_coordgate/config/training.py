"""Settings of the camera, of intensity scaling, and of training."""

import math
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from napari_coordgate.config.base import DeviceConfig, Settings
from napari_coordgate.config.networks import CGUNetConfig, NetworkConfig

Border = Literal["scene", "mirror"]
MAX_BATCH_SIZE = 4096
"""Limit that no memory holds, against malicious files."""

HELD_OUT_DESCRIPTION = (
    "Training on blurred images alone: weight of the loss on photons that were held out of them; "
    "0: do without."
)
EQUIVARIANCE_DESCRIPTION = (
    "Training on blurred images alone: weight of the error with which deblurred images, moved, "
    "turned and shrunk, are recovered from their blur elsewhere in the frame; 0: do without."
)


class Camera(Settings):
    """Noise of the camera, added after the blur.

    Give the photons of a bright pixel, or the electrons per count of the camera, so that the
    photons follow from the counts of each image.

    Examples
    --------
    >>> Camera(photons=5000, read_noise=3)
    Camera(photons=5000.0, read_noise=3.0)
    >>> camera = Camera(electrons_per_count=0.5, offset=100, read_noise=3)
    >>> camera.for_range(100, 2100)
    Camera(photons=1000.0, read_noise=3.0)
    """

    photons: float | None = Field(
        None,
        gt=0,
        description="Photons (electrons) detected in a bright pixel, for the Poisson noise; "
        "default: as electrons_per_count gives, else no noise.",
    )
    read_noise: float = Field(
        0.0, ge=0, description="Standard deviation of the camera's read noise, electrons."
    )
    electrons_per_count: float | None = Field(
        None,
        gt=0,
        description="Electrons (photons detected) per gray value of the camera; not used if "
        "photons is set.",
    )
    offset: float | None = Field(
        None,
        description="Gray value that the camera records without light; default: that of the "
        "darkest pixels.",
    )

    @model_validator(mode="after")
    def _electrons_need_photons(self) -> Self:
        if self.read_noise and self.photons is None and self.electrons_per_count is None:
            raise ValueError(
                "read_noise has no effect without photons: set photons or electrons_per_count as "
                "well."
            )
        return self

    @property
    def has_noise(self) -> bool:
        """Whether the photons are known, at least of an image in counts."""
        return self.photons is not None or self.electrons_per_count is not None

    def for_range(self, zero: float, one: float) -> "Camera":
        """Camera of an image whose gray values ``zero`` and ``one`` are scaled to 0 and 1.

        The photons are those between both. Light at ``zero`` has noise, too, which is counted as
        read noise. Unchanged if ``photons`` is set, or ``electrons_per_count`` is not.
        """
        if self.photons is not None or self.electrons_per_count is None:
            return self
        dark = zero if self.offset is None else self.offset
        background = max((zero - dark) * self.electrons_per_count, 0.0)
        return Camera(
            photons=(one - zero) * self.electrons_per_count,
            read_noise=math.sqrt(self.read_noise**2 + background),
        )


class Scaling(Settings):
    """Percentiles of an image that are scaled to 0 and 1, the network's intensity range.

    Examples
    --------
    >>> Scaling(low_percentile=0.5)
    Scaling(low_percentile=0.5)
    """

    low_percentile: float = Field(
        1.0, ge=0, lt=100, description="Percentile of the gray values that is scaled to 0."
    )
    high_percentile: float = Field(
        99.8, gt=0, le=100, description="Percentile of the gray values that is scaled to 1."
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low_percentile >= self.high_percentile:
            raise ValueError("low_percentile must be below high_percentile.")
        return self


class SimulationConfig(Settings):
    """How a blurred image is simulated from a sharp one."""

    camera: Camera = Field(Camera(), description="Camera noise added to the blurred images.")
    scaling: Scaling = Field(Scaling(), description="Intensity scaling, recorded in the model.")
    border: Border = Field(
        "scene",
        description="What is beyond the border of the frame: the scene continues, as in a "
        "microscope (scene), or is mirrored (mirror).",
    )


class BlurConfig(SimulationConfig):
    """How images are blurred, with the seed of the noise."""

    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the random numbers.")


class TrainingLength(Settings):
    """Length of a training; a resumed run may change these settings of the recipe."""

    steps: int = Field(
        5000, ge=1, description="Number of optimizer steps; ignored if epochs is set."
    )
    epochs: int | None = Field(
        None, ge=1, description="Number of passes over all sharp images; default: given by steps."
    )
    validate_every: int | None = Field(
        None,
        ge=1,
        description="Steps between validations; default: 1/20 of the run (if epochs is set, one "
        "epoch).",
    )


class TrainingConfig(TrainingLength, BlurConfig):
    """Recipe of a training: with images and PSF field, all that the weights depend on.

    Examples
    --------
    >>> config = TrainingConfig(steps=1000, camera=Camera(photons=5000, read_noise=3))
    >>> config.network
    CGUNetConfig(...)
    >>> TrainingConfig(stepz=1000)
    Traceback (most recent call last):
    napari_coordgate.errors.SettingsError: unknown setting 'stepz'; did you mean 'steps'?
    """

    network: NetworkConfig = Field(CGUNetConfig(), description="Network to train.")
    sampling: Literal["window", "frame"] = Field(
        "window", description="Train on small windows of the frame, or on whole frames."
    )
    window_size: int = Field(64, ge=8, description="Side of a training window, pixels.")
    augment: bool = Field(True, description="Flip and rotate sharp images before blurring.")
    gain: float = Field(
        1.25, ge=1, le=10, description="Brightness is varied at random by up to this factor."
    )
    batch_size: int = Field(
        8,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="Number of windows or frames per step, on all devices together.",
    )
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Learning rate of Adam.")
    schedule: Literal["cosine", "plateau"] = Field(
        "cosine",
        description="Learning rate schedule: cosine decay, or halving when the validation loss "
        "stops improving.",
    )
    warmup_steps: int = Field(100, ge=0, description="Warm-up steps of the cosine schedule.")
    patience_epochs: int = Field(
        20,
        ge=1,
        description="Epochs without improvement before the plateau schedule halves the learning "
        "rate.",
    )
    ema_decay: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights; 0 disables it.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Number format of the network's computations; bfloat16 is faster on hardware "
        "that supports it.",
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="Fraction of the sharp images held out for validation."
    )
    validation_images: int = Field(32, ge=1, description="Maximum number of validation images.")
    held_out_weight: float = Field(0.5, ge=0, description=HELD_OUT_DESCRIPTION)
    equivariance_weight: float = Field(0.1, ge=0, description=EQUIVARIANCE_DESCRIPTION)

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


STORE = "NAPARI_COORDGATE_STORE"
"""Environment variable with the file in which the processes of a training find each other."""


class RuntimeConfig(DeviceConfig):
    """Where a training runs; the weights do not depend on it.

    Examples
    --------
    >>> RuntimeConfig(device="cpu", autosave_minutes=1).devices
    1
    """

    devices: int = Field(
        1, ge=1, description="Number of devices per computer; they share each batch."
    )
    nodes: int = Field(1, ge=1, description="Number of computers that train together.")
    workers: int = Field(
        0, ge=0, le=64, description="Number of data loader processes; 0: load in the main process."
    )
    autosave_minutes: float = Field(
        5.0,
        ge=0,
        description="Minutes between checkpoints; 0: only at validations.",
    )


class TrainingSettings(TrainingConfig, RuntimeConfig):
    """Settings of a training, with the runtime."""

    @model_validator(mode="after")
    def _every_device_has_a_share(self) -> Self:
        check_batch_size(self, self)
        return self


def check_batch_size(config: TrainingConfig, runtime: RuntimeConfig) -> None:
    """Raise a ValueError if there are fewer samples in a batch than devices that share it."""
    if config.batch_size < runtime.devices * runtime.nodes:
        raise ValueError(
            f"batch_size is shared by all {runtime.devices * runtime.nodes} devices and must be at "
            "least that."
        )
