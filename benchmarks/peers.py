"""Deconvolution that users have today, and ours, on the same images.

Run: ``python -m benchmarks.peers FOLDER RUNS.jsonl [--limit N] [--write]``

Lenses, noise, and images of nuclei (FOLDER) are those of ``benchmarks.universal``. Compared are
scikit-image's Wiener filter and Richardson-Lucy with the mean PSF of the frame, its
Richardson-Lucy on 4 x 4 overlapping tiles with the PSF of each tile's center, Pyxu's
total variation with positivity and the mean PSF, our Richardson-Lucy with the PSF of each pixel,
and our universal model; the last two with their default settings. The free number of each of the
others is the best on the bundled training images behind other lenses, for each number of photons.
All of those get the image with a reflected margin, since scikit-image pads with zeros. The table
has means and 95 % bootstrap intervals of the gain over the images. Finished runs are kept in
RUNS.jsonl; ``--write`` writes the table to ``docs/measurements``. Pyxu is left out where it is not
installed.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.restoration import richardson_lucy, wiener

from benchmarks.measuring import bootstrap_interval
from benchmarks.resumable import Run, measure_tables
from benchmarks.scenes import central
from benchmarks.universal import (
    LENSES,
    MARGIN,
    PHOTONS,
    SIDE,
    field_of,
    measure,
    nuclei,
    record,
    unseen_lens,
)
from napari_coordgate import PSFField, psnr
from napari_coordgate.io.files import sample_data_folder

PAGE = Path(__file__).parents[1] / "docs" / "measurements" / "peers.md"
IMAGES = 2
TUNING_LENSES = 4
FIRST_TUNING_LENS = 100
TILES, OVERLAP = 4, 32

Float = NDArray[np.float64]
Peer = Callable[[Float, PSFField, float], Float]


def wiener_mean(image: Float, field: PSFField, balance: float) -> Float:
    """Return the result of scikit-image's Wiener filter with the mean PSF."""
    return np.asarray(wiener(image, mean_psf(field), balance, clip=False))


def richardson_lucy_mean(image: Float, field: PSFField, iterations: float) -> Float:
    """Return the result of scikit-image's Richardson-Lucy with the mean PSF."""
    return _richardson_lucy(image, mean_psf(field), iterations)


def richardson_lucy_tiled(image: Float, field: PSFField, iterations: float) -> Float:
    """Return the result of scikit-image's Richardson-Lucy on tiles that overlap, blended."""
    tile = SIDE // TILES
    side = tile + OVERLAP
    ramp = np.minimum(1, np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / OVERLAP)
    weight = np.outer(ramp, ramp)
    # The tiles reach half an overlap, and each one a margin more, over the frame.
    padded = np.pad(image, OVERLAP // 2, mode="reflect")
    total, weights = np.zeros_like(padded), np.zeros_like(padded)
    for row in range(0, SIDE, tile):
        for column in range(0, SIDE, tile):
            window = padded[row : row + side + 2 * MARGIN, column : column + side + 2 * MARGIN]
            psf = field.psf_at(row + tile / 2, column + tile / 2)
            part = _richardson_lucy(window, psf, iterations)[MARGIN:-MARGIN, MARGIN:-MARGIN]
            inside = np.s_[
                MARGIN + row : MARGIN + row + side, MARGIN + column : MARGIN + column + side
            ]
            total[inside] += weight * part
            weights[inside] += weight
    result = total / np.maximum(weights, 1e-9)
    return result[OVERLAP // 2 : -OVERLAP // 2, OVERLAP // 2 : -OVERLAP // 2]


def _richardson_lucy(image: Float, psf: Float, iterations: float) -> Float:
    positive = np.maximum(image, 1e-6)
    return np.asarray(richardson_lucy(positive, psf, int(iterations), False, 1e-6))


def total_variation_mean(image: Float, field: PSFField, weight: float) -> Float:
    """Return the result of Pyxu: least squares, total variation, and no negative values."""
    import pyxu.operator as operators
    from pyxu.opt.solver import PD3O
    from pyxu.opt.stop import MaxIter

    psf = mean_psf(field)
    center = [n // 2 for n in psf.shape]
    blur = operators.FFTConvolve(image.shape, kernel=psf, center=center, mode="constant")
    blur.lipschitz = 1.0
    gradient = operators.Gradient(image.shape, diff_method="fd", mode="edge")
    gradient.lipschitz = np.sqrt(8)
    error = 0.5 * operators.SquaredL2Norm(image.shape).argshift(-image) * blur
    variation = weight * operators.L21Norm(gradient.codim_shape, l2_axis=0)
    solver = PD3O(
        f=error,
        g=operators.PositiveOrthant(image.shape),
        h=variation,
        K=gradient,
        show_progress=False,
    )
    solver.fit(x0=image, stop_crit=MaxIter(200))
    return np.asarray(solver.solution())


PEERS: dict[str, tuple[Peer, tuple[float, ...]]] = {
    "Wiener, mean PSF (scikit-image)": (wiener_mean, (0.01, 0.03, 0.1, 0.3, 1.0)),
    "Richardson-Lucy, mean PSF (scikit-image)": (richardson_lucy_mean, (2, 3, 5, 10, 20, 40)),
    "Richardson-Lucy, 4 x 4 tiles (scikit-image)": (
        richardson_lucy_tiled,
        (2, 3, 5, 10, 20, 40),
    ),
}
if find_spec("pyxu"):
    PEERS["Total variation, mean PSF (Pyxu)"] = (total_variation_mean, (3e-3, 1e-2, 3e-2, 1e-1))
OURS = {
    "Richardson-Lucy, PSF of each pixel": "richardson-lucy",
    "Universal model": "universal",
}


@cache
def mean_psf(field: PSFField) -> Float:
    """Return the mean PSF of the frame."""
    return field.with_mean_psf().psf_at(0, 0)


def gain_of(peer: Peer, setting: float, image: Float, field: PSFField, truth: Float) -> float:
    """Return PSNR in dB of a result."""
    padded = np.pad(image.astype(float), MARGIN, mode="reflect")
    result = peer(padded, field, setting)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return psnr(truth, result, 1.0)


@cache
def tuned(name: str, photons: float) -> float:
    """Return the setting of a method that is best on the training images."""
    peer, settings = PEERS[name]
    totals = np.zeros(len(settings))
    for index in range(TUNING_LENSES):
        lens = unseen_lens(FIRST_TUNING_LENS + index)
        sharp = nuclei(sample_data_folder() / "train", index)
        image, truth = record(sharp, lens, photons, index), central(sharp, SIDE)
        field = field_of(lens)
        totals += [gain_of(peer, value, image, field, truth) for value in settings]
    return settings[int(np.argmax(totals))]


def runs(folder: Path, _: Path | None) -> Iterator[tuple[Run, Callable[[], Run]]]:
    """Yield keys and measurements."""
    for number in range(IMAGES):
        for index in range(LENSES):
            for photons in PHOTONS:
                key = {"table": "peers", "lens": index, "image": number, "photons": photons}
                yield key, partial(_measure, folder, number, index, photons)


def _measure(folder: Path, number: int, index: int, photons: float) -> dict[str, Any]:
    """Return PSNR in dB of an image, blurred and by each method, and the settings used."""
    sharp, lens, seed = nuclei(folder, 5 * index + number), unseen_lens(index), index * 100 + number
    row: dict[str, Any] = measure(sharp, lens, lens, (photons, photons), None, seed, 0.05)
    image, field = record(sharp, lens, photons, seed), field_of(lens)
    settings = {name: tuned(name, photons) for name in PEERS}
    for name, (peer, _) in PEERS.items():
        row[name] = gain_of(peer, settings[name], image, field, central(sharp, SIDE))
    return row | {"settings": settings}


def as_tables(rows: list[Run]) -> str:
    """Return a Markdown table of PSNR and gains over the blurred images."""
    names = {name: name for name in rows[0]["settings"]} | OURS if rows else {}
    text = "\n| method | " + " | ".join(f"{p:,} photons" for p in PHOTONS) + " |\n"
    text += "|---" * (len(PHOTONS) + 1) + "|\n"
    for name, key in ({"blurred": "blurred"} | names).items():
        cells = [name]
        for photons in PHOTONS:
            some = [row for row in rows if row["photons"] == photons]
            cells.append(_cell(some, key) if some else "")
        text += "| " + " | ".join(cells) + " |\n"
    return text


def _cell(rows: list[Run], key: str) -> str:
    """Return the mean PSNR, and the gain with its interval."""
    values = np.array([row[key] for row in rows])
    gain = values - np.array([row["blurred"] for row in rows])
    if key == "blurred":
        return f"{values.mean():.2f}"
    low, high = bootstrap_interval(gain, np.random.default_rng(0))
    return f"{values.mean():.2f} ({gain.mean():+.2f}, {low:+.2f} to {high:+.2f})"


def main() -> None:
    """Measure the runs missing in the file; write each when it is done."""
    measure_tables("python -m benchmarks.peers", __doc__, {"peers": runs}, as_tables, PAGE)


if __name__ == "__main__":
    main()
