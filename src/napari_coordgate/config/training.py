"""Camera, intensities and training."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from napari_coordgate.config.base import Device, Settings
from napari_coordgate.config.networks import NetworkConfig

__all__ = ["Border", "Camera", "Scaling", "TrainingConfig"]

Border = Literal["scene", "mirror"]


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
    steps: int = Field(5000, ge=1, description="Optimizer steps, where epochs are not given.")
    epochs: int | None = Field(None, ge=1, description="Passes over all sharp images.")
    batch_size: int = Field(8, ge=1, description="Windows or frames in a step, on all devices.")
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
    autosave_minutes: float = Field(
        5.0,
        ge=0,
        description="Most minutes of work that a fault may cost; 0: saved at validations alone.",
    )
    device: Device = Field("auto", description="Where to compute.")
    devices: int = Field(
        1, ge=1, description="Devices of each computer, with a process for each; they share a step."
    )
    nodes: int = Field(1, ge=1, description="Computers that train together.")
    workers: int = Field(
        0, ge=0, le=64, description="Processes that read images beside the training."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of weights, pairs and noise.")

    @model_validator(mode="after")
    def _every_device_has_a_share(self) -> Self:
        if self.batch_size < self.devices * self.nodes:
            raise ValueError("batch_size is shared among all devices: give one for each, at least.")
        return self

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
