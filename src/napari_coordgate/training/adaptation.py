"""How much better an adapted model is than before, on images that are in no training."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
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
from napari_coordgate.errors import ImageError
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.geometry import Window
from napari_coordgate.metrics import psnr
from napari_coordgate.optics import PSFField
from napari_coordgate.training.universal import VALIDATION_PHOTONS
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
    lens_uncertainty: float,
    samples: int = SAMPLES,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, AdaptationGain]:
    """Deblur windows of scaled images that the lens blurs, with both models; yields progress."""
    if not images:
        raise ImageError("No sharp images to measure on; give images that are not trained on.")
    levels = VALIDATION_PHOTONS if camera.photons is None else (camera.photons,)
    stopwatch, rows = Stopwatch("measuring", samples), []
    for i in range(samples):
        raise_if_canceled(cancel, "Stopped while measuring the model; nothing was written.")
        rng = np.random.default_rng([SEED, i])
        blur = scene_operator(psf_field, _random_window(rng, psf_field.frame_shape))
        scene = random_crop(rng, images[i % len(images)], blur.scene_window.shape)
        read_noise = READ_NOISE if camera.photons is None else camera.read_noise
        noise = Camera(photons=levels[i % len(levels)], read_noise=read_noise)
        sharp = np.ascontiguousarray(scene)
        given = (sharp, blur, psf_field, noise, 1.0, lens_uncertainty)
        models = (before, after)
        rows.append([_quality(m, simulated_sample(*given, m.config, i)) for m in models])
        yield stopwatch.progress(i + 1)
    return AdaptationGain(*np.array(rows).T)


@torch.inference_mode()
def _quality(model: UniversalModel, sample: UniversalSample) -> float:
    """PSNR of a sample that a model deblurs, dB."""
    image = model.network(*sample.inputs).image
    return psnr(sample.sharp[0, 0].numpy(), image[0, 0].numpy(), 1.0)


def _random_window(rng: np.random.Generator, frame_shape: tuple[int, int]) -> Window:
    height, width = (min(WINDOW_SIDE, n) for n in frame_shape)
    y0, x0 = (
        int(rng.integers(n - m + 1)) for n, m in zip(frame_shape, (height, width), strict=True)
    )
    return Window(y0, x0, height, width)
