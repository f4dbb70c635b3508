"""Calibrate what a universal model says about its errors, and write it into its file.

Run: ``python -m benchmarks.universal_calibration MODEL IMAGES [-o OUTPUT] [--samples 120]``

IMAGES is the folder of sharp images of the training; its last 50 by name, which the training has
not seen, are used, as are procedural images in half of the samples. The lenses are not in the
training's library; half are given as they are, and half with errors up to 10 %. Without an
output, the file of the model is replaced. It takes about three minutes on one core.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.universal_training import HELD_OUT
from napari_coordgate import Camera, DeblurConfig, DeblurRuntime, UniversalModel, Window
from napari_coordgate.data.lens_library import lens_sample
from napari_coordgate.data.procedural import procedural_image
from napari_coordgate.data.universal import random_crop, scene_operator
from napari_coordgate.inference.universal import Result, UniversalDeblurrer
from napari_coordgate.io import find_images
from napari_coordgate.simulation import add_camera_noise
from napari_coordgate.training.universal import load_images
from napari_coordgate.trust import (
    CalibrationSample,
    Residual,
    TrustCalibration,
    blur_again,
    calibrated,
)

SEED = 4321
SIDE = 112
MISMATCH = 0.1
"""Largest error of a lens that is not given as it is."""
EXACT = 0.05
"""Uncertainty that is stated for a lens that is given as it is."""
PHOTONS = 100.0, 10_000.0

Float32 = np.typing.NDArray[np.float32]


def samples(
    model: UniversalModel, images: list[Float32], number: int
) -> Iterator[CalibrationSample]:
    """Yield samples; each depends on the seed and its index alone."""
    library = model.config.library.replace(window_sizes=(SIDE,), mismatch=MISMATCH)
    for index in range(number):
        rng = np.random.default_rng([SEED, 1, index])
        lens = lens_sample(SEED, index, library)
        given, uncertainty = (lens.true, EXACT) if index % 2 else (lens.given, lens.uncertainty)
        blur = scene_operator(lens.true)
        shape = blur.scene_window.shape
        if index % 4 < 2:
            scene = procedural_image(rng, max(shape))[: shape[0], : shape[1]]
        else:
            scene = random_crop(rng, images[index // 2 % len(images)], shape)
        scene = np.ascontiguousarray(scene)
        photons = math.exp(rng.uniform(*np.log(PHOTONS)))
        camera = Camera(electrons_per_count=photons, offset=0, read_noise=rng.uniform(0, 5))
        noisy = camera.replace(photons=photons)
        blurred = add_camera_noise(blur(torch.from_numpy(scene)), noisy, index).numpy()
        config, runtime = DeblurConfig(camera=camera), DeblurRuntime(device="cpu")
        deblurrer = UniversalDeblurrer(given, model, config, runtime, uncertainty)
        yield _sample(deblurrer, blur.crop(torch.from_numpy(scene)).numpy(), blurred)


def _sample(deblurrer: UniversalDeblurrer, scene: Float32, blurred: Float32) -> CalibrationSample:
    """Return the figures of a blurred image (h, w), deblurred as a user would."""
    normalizer = deblurrer.normalizer_of(blurred, "The image")
    camera, scaled = deblurrer.noise_of(blurred, normalizer), normalizer.normalize(blurred)
    window = Window.whole(scaled.shape)
    result = Result(np.empty_like(scaled), np.empty_like(scaled))
    for _ in deblurrer.process_scaled(scaled, result, camera, bool, window):
        pass
    again = blur_again(deblurrer.psf_field, result.image, window)
    residual = Residual.of(scaled, result.image, camera, again)
    bound = TrustCalibration().bound(result.log_error)
    return CalibrationSample.of(normalizer.normalize(scene), result.image, bound, scaled, residual)


def main() -> None:
    """Calibrate a model and write its file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.universal_calibration", description=__doc__
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--samples", type=int, default=120)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = UniversalModel.load(options.model)
    images = load_images([str(path) for path in find_images(options.images)[-HELD_OUT:]])
    found, started = [], time.process_time()
    for sample in samples(model, images, options.samples):
        found.append(sample)
        if len(found) % 20 == 0:
            seconds = time.process_time() - started
            sys.stdout.write(f"{len(found)}/{options.samples}, {seconds:.0f} s of CPU time\n")
            sys.stdout.flush()
    trust = calibrated(found)
    replace(model, trust=trust).save(options.output or options.model, overwrite=True)
    sys.stdout.write(json.dumps(trust.model_dump(mode="json")) + "\n")


if __name__ == "__main__":
    main()
