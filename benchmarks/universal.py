"""The universal model and Richardson-Lucy on lenses and contents that neither was tuned on.

Run: ``python -m benchmarks.universal FOLDER RUNS.jsonl [--weights FILE] [--tables NAME ...]``

FOLDER has sharp images of nuclei, not those of the training. Each run blurs one image by a random
lens at one number of photons, and deblurs it by Richardson-Lucy with its default settings and by
the universal model: ``lenses`` with the lens and noise as they are, ``mismatch`` with a wrong
field curvature, defocus or number of photons, ``contents`` with two kinds of procedural images
that are not in the training and with the pictures that scikit-image ships, ``samples`` with the
lens of the samples, for which the starter was trained, ``adapted`` the same with weights adapted to
this lens (``napari-coordgate train FOLDER --init universal``), ``calibrated`` with the lens that
`calibrate_images` estimates from 30 images without knowing their noise, in place of the true one.
Finished runs are kept in RUNS.jsonl. ``--write`` writes the tables to ``docs/measurements``.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree

from benchmarks.resumable import Run, Runs, measure_tables
from benchmarks.scenes import OPTICS, central, draw_lens, record as record_images, scenes
from napari_coordgate import (
    Camera,
    DeblurConfig,
    DeblurRuntime,
    GaussianLens,
    Lens,
    Model,
    PSFField,
    RichardsonLucyConfig,
    UniversalConfig,
    calibrate_images,
    deblur,
    psnr,
    read_image,
)
from napari_coordgate.config import LensLibraryConfig, Scaling
from napari_coordgate.data.lens_library import random_lens
from napari_coordgate.demo import blurred_sample
from napari_coordgate.errors import PSFError
from napari_coordgate.io import find_images
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.metrics import quality
from napari_coordgate.normalization import fit_normalizer
from napari_coordgate.simulation import add_camera_noise

PAGE = Path(__file__).parents[1] / "docs" / "measurements" / "universal.md"
SIDE, MARGIN, LENSES, IMAGES = 256, 30, 12, 5
PHOTONS = 200, 1000, 5000
READ_NOISE = 3.0
SEED = 777
CURVATURES = 0.6, 0.75, 1.25, 1.4
PHOTON_FACTORS = 0.5, 2.0
TOLERANCE = 1e-2
PICTURES = "cell", "immunohistochemistry", "microaneurysms", "retina", "gravel", "text"

Float = NDArray[np.float64]


@cache
def field_of(lens: Lens | GaussianLens) -> PSFField:
    """Return the PSF field of a lens on the frame."""
    return PSFField.from_lens(lens, (SIDE, SIDE), TOLERANCE)


@cache
def unseen_lens(index: int) -> Lens | GaussianLens:
    """Return a random lens that is not in the training's library, and fits the frame."""
    rng = np.random.default_rng([SEED, index])
    while True:
        lens = random_lens(rng, LensLibraryConfig(extreme_fraction=0.3))
        try:
            field = field_of(lens)
        except PSFError:
            continue
        if field.radius <= MARGIN:
            return lens


def scaled(image: Float) -> Float:
    """Return an image scaled to 0 (dark) and 1 (bright), with a margin around the frame."""
    side = SIDE + 2 * MARGIN
    while min(image.shape) < side:
        missing = [(0, min(n - 1, max(0, side - n))) for n in image.shape]
        image = np.pad(image, missing, mode="reflect")
    image = image[:side, :side]
    return np.clip(fit_normalizer(image, Scaling()).normalize(image), 0, 3).astype(float)


def nuclei(folder: Path, index: int) -> Float:
    """Return an image of the folder."""
    paths = find_images(folder)
    return scaled(read_image(paths[index % len(paths)]).pixels.astype(float))


def rings(rng: np.random.Generator) -> Float:
    """Return hollow spheres: bright outlines of round vesicles."""
    side = SIDE + 2 * MARGIN
    grid = np.mgrid[:side, :side]
    image = np.zeros((side, side))
    for _ in range(60):
        center, radius = rng.uniform(0, side, 2), rng.uniform(4, 14)
        distance = np.hypot(*(grid - center[:, None, None])) - radius
        image += rng.uniform(0.4, 1) * np.exp(-np.square(distance / rng.uniform(0.8, 1.6)))
    return scaled(image)


def tissue(rng: np.random.Generator) -> Float:
    """Return cells of a tissue: thin borders around random points, and textured bodies."""
    side = SIDE + 2 * MARGIN
    points = rng.uniform(0, side, (120, 2))
    pixels = np.mgrid[:side, :side].reshape(2, -1).T
    nearest = cKDTree(points).query(pixels)[1].reshape(side, side)
    inside = np.ones((side, side), bool)
    for axis in (0, 1):
        inside &= np.roll(nearest, 1, axis) == nearest
    borders = np.exp(-np.square(distance_transform_edt(inside) / 1.2))
    bodies = rng.uniform(0, 0.4, 120)[nearest] * gaussian_filter(
        rng.uniform(0, 2, nearest.shape), 1
    )
    return scaled(borders + bodies)


def picture(name: str) -> Float:
    """Return a picture that scikit-image ships, as light."""
    image = np.asarray(getattr(skimage.data, name)(), float)
    return scaled(image.mean(axis=-1) if image.ndim == 3 else image)


def record(sharp: Float, lens: Lens | GaussianLens, photons: float, seed: int) -> Float:
    """Return the noisy image of a scene with a margin."""
    field = field_of(lens)
    blurred = field.blur(torch.from_numpy(sharp).float(), origin=(-MARGIN, -MARGIN))
    return add_camera_noise(blurred, Camera(photons=photons, read_noise=READ_NOISE), seed).numpy()


def measure(
    sharp: Float,
    true: Lens | GaussianLens,
    given: Lens | GaussianLens,
    photons: tuple[float, float],
    weights: Path | None,
    seed: int,
    uncertainty: float,
) -> dict[str, float]:
    """Return PSNR in dB; ``photons`` are the true and the given ones."""
    image = record(sharp, true, photons[0], seed)
    # Scaled as by deblurring, which knows nothing else of the image.
    normalizer = fit_normalizer(image, Scaling())
    extent = normalizer.high - normalizer.low
    dark = READ_NOISE**2 + max(normalizer.low, 0) * photons[1]
    camera = Camera(photons=photons[1] * extent, read_noise=np.sqrt(dark))
    field = field_of(given)
    truth = sharp[MARGIN:-MARGIN, MARGIN:-MARGIN]
    runtime = DeblurRuntime(check=False, device="cpu")
    row = {"blurred": psnr(truth, image, 1.0)}
    for name, method in _methods(weights, uncertainty).items():
        config = DeblurConfig(deconvolution=method, camera=camera)
        row[name] = psnr(truth, deblur(image, field, config=config, runtime=runtime), 1.0)
    return row


def _methods(
    weights: Path | None, uncertainty: float | None
) -> dict[str, RichardsonLucyConfig | UniversalConfig]:
    """Return the methods that need no training."""
    return {
        "richardson-lucy": RichardsonLucyConfig(),
        "universal": UniversalConfig(weights=weights, lens_uncertainty=uncertainty),
    }


def lens_runs(folder: Path, weights: Path | None) -> Iterator[tuple[Run, Callable[[], Any]]]:
    """Yield keys and measurements of the table of unseen lenses."""
    for number in range(IMAGES):
        for index in range(LENSES):
            for photons in PHOTONS:
                key = {"table": "lenses", "lens": index, "image": number, "photons": photons}
                yield key, _job(key, nuclei(folder, IMAGES * index + number), weights)


def mismatch_runs(folder: Path, weights: Path | None) -> Iterator[tuple[Run, Callable[[], Any]]]:
    """Yield keys and measurements with a wrong lens or wrong noise."""
    for number in range(IMAGES):
        for index in range(LENSES):
            sharp = nuclei(folder, IMAGES * index + number)
            for photons in PHOTONS:
                for name, factors in (("curvature", CURVATURES), ("photons", PHOTON_FACTORS)):
                    for factor in factors:
                        key = {"table": "mismatch", "lens": index, "image": number}
                        key |= {"photons": photons, "wrong": name, "factor": factor}
                        yield key, _job(key, sharp, weights)


def content_runs(_: Path, weights: Path | None) -> Iterator[tuple[Run, Callable[[], Any]]]:
    """Yield keys and measurements of contents that are not in the training."""
    for index in range(LENSES):
        rng = np.random.default_rng([SEED, 5, index])
        contents = {"rings": rings(rng), "tissue": tissue(rng)}
        if index < 4:
            contents |= {name: picture(name) for name in PICTURES}
        for name, sharp in contents.items():
            for photons in PHOTONS:
                key = {"table": "contents", "content": name, "lens": index, "photons": photons}
                yield key, _job(key, sharp, weights)


def sample_runs(
    folder: Path, weights: Path | None, table: str = "samples"
) -> Iterator[tuple[Run, Callable[[], Any]]]:
    """Yield keys and measurements with the lens of the samples; the noise is not stated."""
    starter = Model.load(sample_data_folder() / "starter.safetensors")
    for number, path in enumerate(find_images(folder)):
        key = {"table": table, "image": number, "photons": 5000}
        yield key, partial(_measure_sample, path, number, starter, weights)


def _measure_sample(
    path: Path, number: int, starter: Model, weights: Path | None
) -> dict[str, float]:
    """Return PSNR in dB of a sample, before and after deblurring by each method."""
    sample, field = blurred_sample(path, starter, number), starter.psf_field
    assert field is not None
    runtime = DeblurRuntime(check=False, device="cpu")
    row = {"blurred": quality(sample.sharp, sample.blurred, None, sample.data_range)["psnr"]}
    images = {"starter": deblur(sample.blurred, starter, runtime=runtime)}
    for name, method in _methods(weights, 0.05).items():
        config = DeblurConfig(deconvolution=method)
        images[name] = deblur(sample.blurred, field, config=config, runtime=runtime)
    for name, image in images.items():
        row[name] = quality(sample.sharp, image, None, sample.data_range)["psnr"]
    return row


def calibrated_runs(folder: Path, weights: Path | None) -> Iterator[tuple[Run, Callable[[], Any]]]:
    """Yield keys and measurements with a lens that was estimated from blurred images."""
    for seed in range(4):
        for photons in PHOTONS:
            key = {"table": "calibrated", "lens": seed, "photons": photons}
            yield key, partial(_measure_calibrated, folder, seed, photons, weights)


def _measure_calibrated(
    folder: Path, seed: int, photons: float, weights: Path | None
) -> dict[str, float]:
    """Return PSNR in dB of the first image with the true and with the estimated lens."""
    rng = np.random.default_rng([SEED, 9, seed, int(photons)])
    lens, sharp = draw_lens(rng), scenes("nuclei", folder, 30, SIDE, rng)
    images = record_images(sharp, lens, photons, SIDE, rng)
    fit = calibrate_images(images, OPTICS)
    truth = central(sharp[0], SIDE)
    span = float(np.subtract(*np.percentile(truth, [99.8, 1])))
    row = {
        "true_curvature_um": lens.field_curvature_um,
        "estimated_curvature_um": fit.lens.field_curvature_um,
        "blurred": psnr(truth, images[0], span),
    }
    universal = _methods(weights, None)["universal"]
    given = {"": field_of(lens), " with the estimate": fit.psf_field()}
    for which, field in given.items():
        for name, method in (("richardson-lucy", RichardsonLucyConfig()), ("universal", universal)):
            config = DeblurConfig(deconvolution=method)
            runtime = DeblurRuntime(check=False, device="cpu")
            result = deblur(images[0], field, config=config, runtime=runtime)
            row[name + which] = psnr(truth, result, span)
    return row


TABLES: dict[str, Runs] = {
    "lenses": lens_runs,
    "mismatch": mismatch_runs,
    "contents": content_runs,
    "samples": sample_runs,
    "adapted": partial(sample_runs, table="adapted"),
    "calibrated": calibrated_runs,
}


def _job(key: Run, sharp: Float, weights: Path | None) -> Callable[[], Any]:
    """Return the measurement of a key."""

    def run() -> dict[str, float]:
        true, photons = unseen_lens(key["lens"]), float(key["photons"])
        given, stated = true, photons
        if key.get("wrong") == "photons":
            stated *= key["factor"]
        elif "wrong" in key:
            given = stronger(true, key["factor"])
        uncertainty = 0.2 if key.get("wrong") == "curvature" else 0.05
        seed = key["lens"] * 100 + key.get("image", 0)
        return measure(sharp, true, given, (photons, stated), weights, seed, uncertainty)

    return run


def stronger(lens: Lens | GaussianLens, factor: float) -> Lens | GaussianLens:
    """Return a lens whose blur grows more (or less) towards the corners."""
    if isinstance(lens, GaussianLens):
        growth = lens.sigma_edge_px**2 - lens.sigma_center_px**2
        edge = np.sqrt(lens.sigma_center_px**2 + factor**2 * growth)
        return lens.replace(sigma_edge_px=float(edge))
    return lens.replace(field_curvature_um=factor * lens.field_curvature_um)


def as_tables(runs: list[Run]) -> str:
    """Return Markdown tables of the means, and of how many images got worse."""
    text = ""
    for table, columns in (
        ("lenses", ["photons"]),
        ("contents", ["content", "photons"]),
        ("mismatch", ["photons", "wrong", "factor"]),
        ("samples", ["photons"]),
        ("adapted", ["photons"]),
        ("calibrated", ["photons"]),
    ):
        rows = [run for run in runs if run["table"] == table]
        if not rows:
            continue
        names = ["blurred", "richardson-lucy", "universal"]
        names += [name for name in ("starter", "universal with the estimate") if name in rows[0]]
        heading = [*columns, "images", *names, "gain over RL", "worse than blurred", "largest loss"]
        text += f"\n{table.capitalize()}:\n\n| " + " | ".join(heading) + " |\n"
        text += "|---" * len(heading) + "|\n"
        keys = dict.fromkeys(tuple(run[column] for column in columns) for run in rows)
        for key in keys:
            some = [run for run in rows if tuple(run[c] for c in columns) == key]
            values = np.array([[run[name] for name in names] for run in some])
            means, change = values.mean(axis=0), values[:, 2] - values[:, 0]
            cells = [str(part) for part in (*key, len(some))]
            cells += [f"{mean:.2f}" for mean in means] + [f"{means[2] - means[1]:+.2f}"]
            cells += [f"{np.mean(change < 0):.0%}", f"{max(0.0, -change.min()):.2f}"]
            text += "| " + " | ".join(cells) + " |\n"
    return text


def main() -> None:
    """Measure the runs missing in the file; write each when it is done."""
    measure_tables("python -m benchmarks.universal", __doc__, TABLES, as_tables, PAGE)


if __name__ == "__main__":
    main()
