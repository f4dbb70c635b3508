"""Settings of the training of the universal model, which serves every lens."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from napari_coordgate.config.base import Settings
from napari_coordgate.config.networks import UnrolledConfig
from napari_coordgate.config.training import (
    EQUIVARIANCE_DESCRIPTION,
    HELD_OUT_DESCRIPTION,
    MAX_BATCH_SIZE,
)


class LensLibraryConfig(Settings):
    """Distribution of random lenses; wavefront errors are in waves at the edge of the pupil.

    Examples
    --------
    >>> LensLibraryConfig(lenses=10).max_na
    1.4
    """

    lenses: int = Field(600, ge=1, description="Number of lenses.")
    min_na: float = Field(0.3, gt=0, description="Smallest numerical aperture.")
    max_na: float = Field(1.4, lt=1.5, description="Largest numerical aperture.")
    min_sampling: float = Field(
        0.22, gt=0, description="Smallest pixel, in units of wavelength / NA."
    )
    max_sampling: float = Field(0.55, gt=0, description="Largest pixel, in the same units.")
    curvature_waves: float = Field(
        3.5, ge=0, description="Largest defocus in the corners relative to the center."
    )
    defocus_waves: float = Field(0.8, ge=0, description="Largest defocus on the axis.")
    tilt_waves: float = Field(0.8, ge=0, description="Largest tilt of the focal plane.")
    aberration_waves: float = Field(
        0.6, ge=0, description="Largest astigmatism and coma in the corners."
    )
    spherical_waves: float = Field(0.15, ge=0, description="Largest spherical aberration.")
    axis: float = Field(0.3, ge=0, description="Largest distance of the axis from the center.")
    extreme_fraction: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Fraction of lenses with up to the largest defocus and tilt; the others have "
        "up to half of them.",
    )
    gaussian_fraction: float = Field(
        0.15, ge=0, le=1, description="Fraction of lenses with Gaussian blur."
    )
    psf_fields: tuple[Path, ...] = Field(
        (), description="Files of PSF fields of measured lenses to train on as well."
    )
    measured_fraction: float = Field(
        0.2, ge=0, le=1, description="Fraction of samples behind these, if there are any."
    )
    mismatch: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Largest relative error of the lens that the network is given.",
    )
    window_sizes: tuple[int, ...] = Field(
        (64, 80), description="Sides of the training windows, pixels."
    )
    max_psf_size: int = Field(91, ge=3, description="Largest side of a PSF, pixels.")
    tolerance: float = Field(
        0.03, gt=0, lt=1, description="Relative error of the PSFs on a training window."
    )


class AdaptConfig(Settings):
    """Recipe of the adaptation of the universal model to one lens.

    Examples
    --------
    >>> AdaptConfig(steps=100).batch_size
    4
    """

    steps: int = Field(300, ge=1, description="Number of optimizer steps.")
    batch_size: int = Field(4, ge=1, le=MAX_BATCH_SIZE, description="Images per step.")
    learning_rate: float = Field(
        3e-4, gt=0, le=1, description="Learning rate of Adam; it decays to 0."
    )
    photons_range: float = Field(
        1.5,
        ge=1,
        description="Factor by which the photons of a bright pixel vary about those of the "
        "camera, if they are known.",
    )
    lens_uncertainty: float | None = Field(
        None,
        ge=0,
        le=0.5,
        description="Relative error of the lens that the network is given, the same as in "
        "deblurring; default: by its calibration, else 0.1.",
    )
    held_out_weight: float = Field(0.5, ge=0, description=HELD_OUT_DESCRIPTION)
    equivariance_weight: float = Field(0.1, ge=0, description=EQUIVARIANCE_DESCRIPTION)
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the random numbers.")


class UniversalTrainingConfig(Settings):
    """Recipe of the training of the universal model.

    Examples
    --------
    >>> UniversalTrainingConfig(steps=1000).network.stages
    3
    """

    network: UnrolledConfig = Field(UnrolledConfig(), description="Network to train.")
    library: LensLibraryConfig = Field(LensLibraryConfig(), description="Lenses to train on.")
    steps: int = Field(20_000, ge=1, description="Number of optimizer steps.")
    batch_size: int = Field(
        4, ge=1, le=MAX_BATCH_SIZE, description="Images per step, each of its own lens."
    )
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Learning rate of Adam.")
    warmup_steps: int = Field(100, ge=0, description="Steps of the linear warm-up.")
    decay_fraction: float = Field(
        0.3,
        gt=0,
        le=1,
        description="Last part of the training in which the learning rate decays to 0; it is "
        "constant before, so that a training can be prolonged.",
    )
    ema_decay: float = Field(
        0.999, ge=0, lt=1, description="Decay of the exponential moving average of the weights."
    )
    loss: Literal["log_mse", "mse"] = Field(
        "log_mse",
        description="Mean squared error, or its logarithm, by which hard images count no more "
        "than easy ones.",
    )
    early_stage_weight: float = Field(
        0.25, ge=0, description="Weight of the loss of each stage but the last."
    )
    error_weight: float = Field(
        0.1, ge=0, description="Weight of the quantile loss of the predicted error."
    )
    min_photons: float = Field(50.0, gt=0, description="Fewest photons of a bright pixel.")
    max_photons: float = Field(20_000.0, gt=0, description="Most photons of a bright pixel.")
    max_read_noise: float = Field(5.0, ge=0, description="Largest read noise, electrons.")
    max_background: float = Field(
        0.3,
        ge=0,
        description="Largest subtracted background, relative to full brightness; its noise "
        "remains.",
    )
    noise_mismatch: float = Field(
        2.0, ge=1, description="Largest factor by which the photons that are given are wrong."
    )
    procedural_fraction: float = Field(
        0.5, ge=0, le=1, description="Fraction of procedural images; the others are given."
    )
    validation_lenses: int = Field(
        12, ge=1, description="Number of lenses, not in the library, to validate on."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the random numbers.")
