"""How much better an adapted model is than before, and its errors, on images of no training."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_coordgate.config import Camera
from napari_coordgate.data.universal import (
    UniversalSample,
    random_crop,
    scene_operator,
    simulated_sample,
)
from napari_coordgate.errors import ImageError, TrainingError
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.geometry import Window
from napari_coordgate.metrics import psnr
from napari_coordgate.networks import uncertainty_of
from napari_coordgate.optics import PSFField
from napari_coordgate.training.universal import VALIDATION_PHOTONS
from napari_coordgate.trust import (
    CalibrationSample,
    Residual,
    TrustCalibration,
    blur_again,
    calibrated,
)
from napari_coordgate.universal_model import UniversalModel

Float32 = NDArray[np.float32]

WINDOW_SIDE = 80
READ_NOISE = 3.0
SAMPLES = 24
SEED = 5
LEAST_GAIN_DB = 0.05
"""Gain that can matter."""


@dataclass(frozen=True, eq=False)
class AdaptationGain:
    """PSNR (N,) in dB of simulated images, deblurred by a model before and after adaptation."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    trust: TrustCalibration | None = None
    """Calibration of the adapted model on these images; None if too few got better."""

    @property
    def gain_db(self) -> float:
        """Mean gain."""
        return float(np.mean(self.after - self.before))

    @property
    def standard_error_db(self) -> float:
        """Standard error of the gain."""
        return float(np.std(self.after - self.before, ddof=1) / np.sqrt(len(self.after)))

    @property
    def is_better(self) -> bool:
        """Whether the gain is more than chance, and can matter."""
        return self.gain_db > max(2 * self.standard_error_db, LEAST_GAIN_DB)

    def facts(self) -> dict[str, Any]:
        """Figures for a model card."""
        return {
            "images": len(self.before),
            "before_db": round(float(self.before.mean()), 2),
            "after_db": round(float(self.after.mean()), 2),
            "gain_standard_error_db": round(self.standard_error_db, 2),
        }


def adaptation_gain_events(
    before: UniversalModel,
    after: UniversalModel,
    images: Sequence[Float32],
    psf_field: PSFField,
    *,
    camera: Camera,
    lens_uncertainty: float | None = None,
    samples: int = SAMPLES,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, AdaptationGain]:
    """Deblur windows of scaled images that the lens blurs, with both models; yields progress.

    The uncertainty of the lens is that of its calibration unless it is given, as in deblurring.
    """
    if not images:
        raise ImageError("No sharp images to measure on; give images that are not trained on.")
    if lens_uncertainty is None:
        lens_uncertainty = uncertainty_of(psf_field)
    levels = VALIDATION_PHOTONS if camera.photons is None else (camera.photons,)
    stopwatch, rows = Stopwatch("measuring", samples), []
    found: list[CalibrationSample] = []
    for i in range(samples):
        raise_if_canceled(cancel, "Stopped while measuring the model; nothing was written.")
        rng = np.random.default_rng([SEED, i])
        blur = scene_operator(psf_field, _random_window(rng, psf_field.frame_shape))
        scene = random_crop(rng, images[i % len(images)], blur.scene_window.shape)
        read_noise = READ_NOISE if camera.photons is None else camera.read_noise
        noise = Camera(photons=levels[i % len(levels)], read_noise=read_noise)
        sharp = np.ascontiguousarray(scene)
        given = (sharp, blur, psf_field, noise, 1.0, lens_uncertainty)
        pairs = [(m, simulated_sample(*given, m.config, i)) for m in (before, after)]
        results = [_result(model, sample) for model, sample in pairs]
        truth = pairs[0][1].sharp[0, 0].numpy()
        rows.append([psnr(truth, image, 1.0) for image, _ in results])
        found.append(_calibration_sample(pairs[1][1], *results[1], psf_field, noise))
        yield stopwatch.progress(i + 1)
    trust = None
    with suppress(TrainingError):  # too few images got better
        trust = calibrated(found)
    qualities = np.array(rows)
    return AdaptationGain(qualities[:, 0], qualities[:, 1], trust)


@torch.inference_mode()
def _result(model: UniversalModel, sample: UniversalSample) -> tuple[Float32, Float32]:
    """Deblurred sample (h, w), and the logarithm of its predicted error."""
    image, log_error = (part[0, 0].numpy() for part in model.network(*sample.inputs))
    return image, log_error


def _calibration_sample(
    sample: UniversalSample,
    image: Float32,
    log_error: Float32,
    psf_field: PSFField,
    camera: Camera,
) -> CalibrationSample:
    """Figures of a deblurred sample for the calibration of its errors."""
    blurred = sample.blurred[0, 0].numpy()
    again = blur_again(psf_field, image, sample.operator.window)
    residual = Residual.of(blurred, image, camera, again)
    bound = TrustCalibration().bound(log_error)
    return CalibrationSample.of(sample.sharp[0, 0].numpy(), image, bound, blurred, residual)


def _random_window(rng: np.random.Generator, frame_shape: tuple[int, int]) -> Window:
    height, width = (min(WINDOW_SIDE, n) for n in frame_shape)
    y0, x0 = (
        int(rng.integers(n - m + 1)) for n, m in zip(frame_shape, (height, width), strict=True)
    )
    return Window(y0, x0, height, width)
