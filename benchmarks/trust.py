"""Whether verdict, error map and contradiction tell which results can be trusted.

Run: ``python -m benchmarks.trust FOLDER RUNS.jsonl [--weights FILE] [--tables NAME ...]``

FOLDER has sharp images of nuclei, not those of the training or the calibration. Each run blurs an
image by a lens that is not in the training's library, assesses it with the universal model, and
compares what is said with the scene: ``lenses`` with lens and noise as they are, ``others`` the
same with other lenses and images, ``contents`` with procedural tissue and rings and pictures that
scikit-image ships, ``mismatch`` with a field curvature that is wrong by 20 % and 40 % or with half
or twice the photons, ``starter`` with the model that was trained on nuclei and one lens alone.
``zones`` compares the contradiction in the center, the middle and the edge of the frame,
``bootstrap`` the predicted error with the spread of 16 equivariant bootstrap samples. Finished
runs are kept in RUNS.jsonl. ``--write`` writes the tables to ``docs/measurements``. It is about 220
runs of some seconds.
"""

import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.stats import spearmanr
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from benchmarks import universal
from benchmarks.resumable import Run, measure_tables
from napari_coordgate import (
    Camera,
    DeblurRuntime,
    GaussianLens,
    Lens,
    Model,
    PSFField,
    UniversalModel,
    Window,
    assess,
    deblur,
    psnr,
)
from napari_coordgate.data.procedural import RandomFields, filaments, membranes
from napari_coordgate.geometry import field_radius
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.metrics import ZONES
from napari_coordgate.simulation import add_camera_noise
from napari_coordgate.trust.verdict import AMBER_SHARE
from napari_coordgate.universal_model import shipped_path

PAGE = Path(__file__).parents[1] / "docs" / "measurements" / "trust.md"
SIDE, LENSES = 160, 12
MARGIN, PHOTONS, READ_NOISE = universal.MARGIN, universal.PHOTONS, universal.READ_NOISE
CURVATURES, PHOTON_FACTORS = (0.6, 0.8, 1.2, 1.4), (0.5, 2.0)
PICTURES = "cell", "retina", "gravel"
GREEN_WORSE, RED_GOOD, COST = 0.01, 0.05, 1.2
GOOD_DB = 0.5
ROUNDS = 3
STARTER_RUNS = 6
STARTER_PHOTONS = 5000, 500, 100
"""Those that the starter was trained for, and far fewer."""
BOOTSTRAP_RUNS, BOOTSTRAP_SAMPLES = 6, 16
QUANTILES = np.linspace(0, 1, 101)

Float = NDArray[np.float64]
Job = tuple[Run, Callable[[], Run]]


@cache
def model_of(weights: Path | None) -> UniversalModel:
    """Return the universal model, loaded once."""
    return UniversalModel.load(weights or shipped_path())


def measure(
    sharp: Float,
    lens: Lens | GaussianLens,
    given: Lens | GaussianLens,
    photons: tuple[float, float],
    weights: Path | None,
    seed: int,
) -> Run:
    """Return what is said about a result, and what is true; photons are true and given."""
    image = universal.record(sharp, lens, photons[0], seed)
    truth = sharp[MARGIN:-MARGIN, MARGIN:-MARGIN]
    camera = Camera(electrons_per_count=photons[1], offset=0, read_noise=READ_NOISE)
    result = assess(
        image,
        model_of(weights),
        psf_field=universal.field_of(given),
        camera=camera,
        runtime=DeblurRuntime(device="cpu"),
    )
    assert result.error_map is not None
    error = np.abs(result.image - truth)
    means = np.stack([_block_means(values) for values in (error, result.error_map)])
    row = {
        "coverage": float(np.mean(error < result.error_map)),
        "rms": float(np.sqrt(np.mean(error**2))),
        "predicted": float(np.sqrt(np.mean(result.error_map**2))),
        "correlation": float(np.atleast_2d(np.corrcoef(means))[0, 1]),
    }
    return row | _verdict_figures(result, truth, image)


def _verdict_figures(result: Any, truth: Float, image: Any) -> Run:
    """Return the gain of a result, and what was said about it."""
    share = result.contradiction_map
    colors = {finding.subject: finding.color for finding in result.verdict.findings}
    return {
        "gain": psnr(truth, result.image, 1.0) - psnr(truth, image, 1.0),
        "contradicted": None if share is None else float(np.mean(share > 1)),
        "color": result.verdict.color,
        "colors": colors,
    }


def _block_means(image: NDArray[Any], side: int = 8) -> Float:
    """Return the means of blocks of 8 x 8 pixels, flat."""
    height, width = (n // side * side for n in image.shape)
    blocks = image[:height, :width].reshape(height // side, side, width // side, side)
    means: Float = blocks.mean(axis=(1, 3)).ravel()
    return means


def segment(image: Float) -> NDArray[np.int_]:
    """Return labels of nuclei: Otsu's threshold and a watershed of the distance transform."""
    smooth = gaussian(np.asarray(image, float), 1)
    mask = smooth > threshold_otsu(smooth)
    distance = distance_transform_edt(mask)
    peaks = peak_local_max(distance, min_distance=5, labels=mask.astype(int))
    markers = np.zeros(image.shape, int)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels: NDArray[np.int_] = watershed(-distance, markers, mask=mask)
    return labels


def nuclei_figures(truth: Float, image: Float) -> tuple[float, float]:
    """Return the median error of the total intensity of nuclei, and the mean IoU of their masks."""
    expected, found = segment(truth), segment(image)
    errors, overlaps = [], []
    for label in range(1, expected.max() + 1):
        inside = expected == label
        if inside.sum() < 20:
            continue
        errors.append(abs(image[inside].sum() / truth[inside].sum() - 1))
        others = np.unique(found[inside])
        ious = [
            np.mean(inside[inside | (found == n)] & (found == n)[inside | (found == n)])
            for n in others
            if n
        ]
        overlaps.append(max(ious, default=0.0))
    return (float(np.median(errors)), float(np.mean(overlaps))) if errors else (np.nan, np.nan)


def lens_runs(folder: Path, weights: Path | None) -> Iterator[Job]:
    """Yield runs of nuclei behind unseen lenses; of some, nuclei are segmented."""
    for index in range(LENSES):
        for photons in PHOTONS:
            key = {"table": "lenses", "content": "nuclei", "lens": index, "photons": photons}
            yield key, partial(_nuclei_run, key, folder, index, weights)


def _nuclei_run(key: Run, folder: Path, index: int, weights: Path | None) -> Run:
    """Return the figures of an image of nuclei, with those of their segmentation."""
    sharp, lens = universal.nuclei(folder, index), universal.unseen_lens(key["lens"])
    photons = float(key["photons"])
    row = measure(sharp, lens, lens, (photons, photons), weights, index)
    if np.median(sharp) > 0.5:  # stained tissue in transmitted light
        return row
    image = universal.record(sharp, lens, photons, index).astype(float)
    truth = sharp[MARGIN:-MARGIN, MARGIN:-MARGIN]
    camera = Camera(electrons_per_count=photons, offset=0, read_noise=READ_NOISE)
    runtime = DeblurRuntime(check=False, device="cpu")
    field = universal.field_of(lens)
    restored = deblur(image, model_of(weights), psf_field=field, camera=camera, runtime=runtime)
    for name, values in (("blurred", image), ("deblurred", restored)):
        row |= dict(
            zip((f"intensity_{name}", f"iou_{name}"), nuclei_figures(truth, values), strict=True)
        )
    return row


def other_runs(folder: Path, weights: Path | None) -> Iterator[Job]:
    """Yield runs of other nuclei and lenses than those that thresholds were looked at with."""
    for photons in PHOTONS:
        for index in range(LENSES, 2 * LENSES):
            key = {"table": "others", "content": "nuclei", "lens": index, "photons": photons}
            yield key, partial(_lens_run, key, universal.nuclei(folder, 10 + index), weights)


def content_runs(_: Path, weights: Path | None) -> Iterator[Job]:
    """Yield runs of contents that are not in the training."""
    for index in range(6):
        rng = np.random.default_rng([universal.SEED, 5, index])
        contents = {"rings": universal.rings(rng), "tissue": universal.tissue(rng)}
        if index < 2:
            contents |= {name: universal.picture(name) for name in PICTURES}
        for content, sharp in contents.items():
            photons = PHOTONS[index % len(PHOTONS)]
            key = {"table": "contents", "content": content, "lens": index, "photons": photons}
            yield key, partial(_lens_run, key, sharp, weights)


def mismatch_runs(folder: Path, weights: Path | None) -> Iterator[Job]:
    """Yield runs with a wrong lens or wrong noise."""
    for index in range(6):
        for wrong, factors in (("curvature", CURVATURES), ("photons", PHOTON_FACTORS)):
            for factor in factors:
                key = {"table": "mismatch", "content": "nuclei", "lens": index, "photons": 1000}
                key |= {"wrong": wrong, "factor": factor}
                sharp = universal.nuclei(folder, index)
                yield key, partial(_lens_run, key, sharp, weights)


def _lens_run(key: Run, sharp: Float, weights: Path | None) -> Run:
    """Return the figures of one image, perhaps with a wrong lens or wrong noise."""
    lens, photons = universal.unseen_lens(key["lens"]), float(key["photons"])
    given, stated = lens, photons
    if key.get("wrong") == "photons":
        stated *= key["factor"]
    elif "wrong" in key:
        given = universal.stronger(lens, key["factor"])
    return measure(sharp, lens, given, (photons, stated), weights, key["lens"])


def starter_runs(folder: Path, _: Path | None) -> Iterator[Job]:
    """Yield runs of the starter model, which knows nuclei of its own noise alone."""
    for photons in STARTER_PHOTONS:
        for content in ("nuclei", "filaments", "membranes"):
            for index in range(STARTER_RUNS):
                key = {"table": "starter", "content": content, "lens": index, "photons": photons}
                yield key, partial(_starter_run, key, folder)


def _starter_run(key: Run, folder: Path) -> Run:
    """Return what is said of the starter model's result in a corner or the middle of its frame."""
    rng = np.random.default_rng([universal.SEED, 7, key["lens"]])
    model = Model.load(sample_data_folder() / "starter.safetensors")
    field = model.psf_field
    assert field is not None
    last = field.frame_shape[0] - SIDE
    window = Window(*((0, 0), (last, last), (last // 2, last // 2))[key["lens"] % 3], SIDE, SIDE)
    if key["content"] == "nuclei":
        sharp = universal.nuclei(folder, 10 + key["lens"])
    else:
        kind = filaments if key["content"] == "filaments" else membranes
        sharp = universal.scaled(kind(RandomFields(rng, SIDE + 2 * MARGIN)))
    image = _record_window(sharp, field, window, float(key["photons"]), rng)
    result = assess(image, model, origin=window.origin, runtime=DeblurRuntime(device="cpu"))
    return _verdict_figures(result, sharp[MARGIN:-MARGIN, MARGIN:-MARGIN], image)


def _record_window(
    sharp: Float, field: PSFField, window: Window, photons: float, rng: np.random.Generator
) -> Float:
    """Return the noisy image of a window of the frame."""
    origin = window.y0 - MARGIN, window.x0 - MARGIN
    light = field.blur(sharp, origin=origin, window=window).clip(0)
    electrons = rng.poisson(light * photons) + rng.normal(0, READ_NOISE, light.shape)
    return electrons / photons


def zone_runs(folder: Path, weights: Path | None) -> Iterator[Job]:
    """Yield runs whose contradiction is compared by the zone of the frame."""
    for index in range(LENSES):
        for photons in PHOTONS:
            key = {"table": "zones", "content": "nuclei", "lens": index, "photons": photons}
            yield key, partial(_zone_run, key, folder, weights)


def _zone_run(key: Run, folder: Path, weights: Path | None) -> Run:
    """Return the share of contradicted pixels of each zone, and the largest contradiction."""
    sharp, lens = universal.nuclei(folder, key["lens"]), universal.unseen_lens(key["lens"])
    result, image, _ = _assessed(sharp, lens, key, weights)
    radius = field_radius(image.shape)
    shares, largest = {}, {}
    for zone, (inner, outer) in ZONES.items():
        values = result.contradiction_map[(radius >= inner) & (radius < outer)]
        shares[zone] = float(np.mean(values > 1))
        largest[zone] = float(np.quantile(values, 1 - AMBER_SHARE))
    return {"shares": shares, "largest": largest}


def _assessed(
    sharp: Float, lens: Lens | GaussianLens, key: Run, weights: Path | None
) -> tuple[Any, Float, Camera]:
    """Return a result with what is said of it, its image, and the camera, without the check."""
    image = universal.record(sharp, lens, float(key["photons"]), key["lens"])
    camera = Camera(electrons_per_count=float(key["photons"]), offset=0, read_noise=READ_NOISE)
    runtime = DeblurRuntime(device="cpu", check=False)
    field = universal.field_of(lens)
    result = assess(image, model_of(weights), psf_field=field, camera=camera, runtime=runtime)
    return result, image, camera


def bootstrap_runs(folder: Path, weights: Path | None) -> Iterator[Job]:
    """Yield comparisons of the predicted error with the spread of bootstrap samples."""
    for index in range(BOOTSTRAP_RUNS):
        photons = PHOTONS[index % len(PHOTONS)]
        key = {"table": "bootstrap", "content": "nuclei", "lens": index, "photons": photons}
        yield key, partial(_bootstrap_run, key, folder, weights)


def _bootstrap_run(key: Run, folder: Path, weights: Path | None) -> Run:
    """Return quantiles of the error over each of both bounds, and their correlation with it."""
    sharp, lens = universal.nuclei(folder, key["lens"]), universal.unseen_lens(key["lens"])
    result, _, camera = _assessed(sharp, lens, key, weights)
    error = np.abs(result.image - sharp[MARGIN:-MARGIN, MARGIN:-MARGIN])
    spread = _bootstrap_bound(result.image, universal.field_of(lens), key, camera, weights)
    row: Run = {"rms": float(np.sqrt(np.mean(error**2)))}
    for name, bound in (("predicted", result.error_map), ("bootstrap", spread)):
        means = np.stack([_block_means(values) for values in (error, bound)], axis=1)
        row[name] = {
            "ratios": np.quantile(error / np.maximum(bound, 1e-4), QUANTILES).tolist(),
            "correlation": float(spearmanr(means).statistic),
            "rms": float(np.sqrt(np.mean(np.square(bound)))),
        }
    return row


def _bootstrap_bound(
    deblurred: Float, field: PSFField, key: Run, camera: Camera, weights: Path | None
) -> Float:
    """Return the 90 % quantile of the change of a result that is flipped, blurred and deblurred.

    J. Tachella and M. Pereyra, "Equivariant bootstrapping for uncertainty quantification in
    imaging inverse problems", AISTATS (2024).
    """
    runtime, samples = DeblurRuntime(device="cpu", check=False), []
    noise = Camera(photons=float(key["photons"]), read_noise=READ_NOISE)
    for number in range(BOOTSTRAP_SAMPLES):
        scene = _turned(deblurred, number)
        blurred = field.blur(torch.from_numpy(scene).float())
        image = add_camera_noise(blurred, noise, 100 * key["lens"] + number).numpy()
        again = deblur(image, model_of(weights), psf_field=field, camera=camera, runtime=runtime)
        samples.append(_turned_back(np.abs(again - scene), number))
    bound: Float = np.quantile(samples, 0.9, axis=0)
    return bound


def _turned(image: Float, number: int) -> Float:
    """Return one of the eight flips and quarter turns of a square image."""
    turned = np.rot90(image, number % 4)
    return np.ascontiguousarray(turned.T if number % 8 >= 4 else turned)


def _turned_back(image: Float, number: int) -> Float:
    """Return the inverse of `_turned`."""
    return np.rot90(image.T if number % 8 >= 4 else image, -(number % 4))


def cost_runs(folder: Path, weights: Path | None) -> Iterator[Job]:
    """Yield measurements of the CPU time, over that of deblurring alone."""
    for index in range(ROUNDS):
        key = {"table": "cost", "content": "nuclei", "lens": index, "photons": 1000}
        yield key, partial(_cost, universal.nuclei(folder, index), index, weights)


def _cost(sharp: Float, index: int, weights: Path | None) -> Run:
    """Return the ratio of the CPU times of `assess` and `deblur`, and the time of the latter."""
    lens, runtime = universal.unseen_lens(index), DeblurRuntime(device="cpu")
    image, field = universal.record(sharp, lens, 1000, index), universal.field_of(lens)
    seconds = []
    for function in (deblur, deblur, assess):  # the first warms up
        start = time.process_time()
        function(image, model_of(weights), psf_field=field, runtime=runtime)
        seconds.append(time.process_time() - start)
    return {"seconds": seconds[1], "ratio": seconds[2] / seconds[1]}


TABLES = {
    "lenses": lens_runs,
    "others": other_runs,
    "contents": content_runs,
    "mismatch": mismatch_runs,
    "starter": starter_runs,
    "zones": zone_runs,
    "bootstrap": bootstrap_runs,
    "cost": cost_runs,
}


def as_tables(runs: list[Run]) -> str:
    """Return Markdown tables of the runs."""
    text = ""
    for table, columns in (
        ("lenses", ["photons"]),
        ("others", ["photons"]),
        ("contents", ["content"]),
        ("mismatch", ["wrong", "factor"]),
        ("starter", ["content", "photons"]),
    ):
        rows = [run for run in runs if run["table"] == table]
        if not rows:
            continue
        heading = [*columns, "images", "coverage", "worst tenth", "correlation in images"]
        heading += ["gain, dB", "got worse", "green", "amber", "red"]
        text += f"\n{table.capitalize()}:\n\n| {' | '.join(heading)} |\n"
        text += "|---" * len(heading) + "|\n"
        for key in dict.fromkeys(tuple(run[column] for column in columns) for run in rows):
            some = [run for run in rows if tuple(run[c] for c in columns) == key]
            text += f"| {' | '.join([*map(str, key), *_cells(some)])} |\n"
    return text + _zone_table(runs) + _bootstrap_table(runs) + _targets(runs)


def _zone_table(runs: list[Run]) -> str:
    """Return a Markdown table of the contradiction by the zone of the frame."""
    rows = [run for run in runs if run["table"] == "zones"]
    if not rows:
        return ""
    text = "\nZones:\n\n| zone | images | contradicted pixels | images with more than "
    text += f"{AMBER_SHARE:.1%} | their largest contradiction, 95 % of images |\n" + "|---" * 5
    for zone in ZONES:
        shares = [run["shares"][zone] for run in rows]
        largest = np.quantile([run["largest"][zone] for run in rows], 0.95)
        text += f"|\n| {zone} | {len(rows)} | {np.mean(shares):.2%} "
        text += f"| {np.mean(np.greater(shares, AMBER_SHARE)):.0%} | {largest:.2f} "
    return text + "|\n"


def _bootstrap_table(runs: list[Run]) -> str:
    """Return a Markdown table of the predicted error beside the spread of bootstrap samples."""
    rows = [run for run in runs if run["table"] == "bootstrap"]
    if len(rows) < 3:
        return ""
    text = "\nBootstrap:\n\n| bound | images | coverage as it is | with a factor of other images "
    text += "| least of an image | correlation in images | over images | passes |\n" + "|---" * 8
    for name, passes in (("predicted", 1), ("bootstrap", 1 + BOOTSTRAP_SAMPLES)):
        ratios = np.array([run[name]["ratios"] for run in rows])
        plain = [np.interp(1.0, row, QUANTILES) for row in ratios]
        scaled = []
        for number, row in enumerate(ratios):
            others = np.delete(ratios, number, axis=0)
            scaled.append(np.interp(np.quantile(others, 0.9), row, QUANTILES))
        correlation = np.mean([run[name]["correlation"] for run in rows])
        over = spearmanr([run[name]["rms"] for run in rows], [run["rms"] for run in rows]).statistic
        text += f"|\n| {name} | {len(rows)} | {np.mean(plain):.2f} | {np.mean(scaled):.2f} "
        text += f"| {min(scaled):.2f} | {correlation:.2f} | {over:.2f} | {passes} "
    return text + "|\n"


def _cells(runs: list[Run]) -> list[str]:
    """Return the figures of some runs."""
    coverage = [run["coverage"] for run in runs if "coverage" in run]
    gains = [run["gain"] for run in runs]
    cells = [str(len(runs)), "", "", ""]
    if coverage:
        correlation = np.mean([run["correlation"] for run in runs])
        cells[1:] = f"{np.mean(coverage):.2f}", f"{np.quantile(coverage, 0.1):.2f}"
        cells.append(f"{correlation:.2f}")
    cells += [f"{np.mean(gains):.1f}", f"{np.mean(np.less(gains, 0)):.0%}"]
    return cells + [str(sum(r["color"] == c for r in runs)) for c in ("green", "amber", "red")]


def _targets(runs: list[Run]) -> str:
    """Return the figures with targets, as a list."""
    judged = [run for run in runs if "gain" in run and run["table"] != "starter"]
    worse = [run for run in judged if run["gain"] < 0]
    good = [run for run in judged if run["gain"] > GOOD_DB]
    lines = []
    if judged:
        green = np.mean([run["gain"] < 0 and run["color"] == "green" for run in judged])
        lines.append(
            f"Got worse and green: {green:.1%} of {len(judged)} images, "
            f"{sum(r['color'] == 'green' for r in worse)} of the {len(worse)} that got "
            f"worse (target: at most {GREEN_WORSE:.0%} of all)"
        )
    if good:
        red = np.mean([run["color"] == "red" for run in good])
        lines.append(
            f"Good (gain above {GOOD_DB} dB) and red: {red:.1%} of {len(good)} "
            f"(target: at most {RED_GOOD:.0%})"
        )
    spoiled = [run for run in runs if run["table"] == "starter" and run["gain"] < 0]
    if spoiled:
        red = sum(run["color"] == "red" for run in spoiled)
        contents = sorted({run["content"] for run in spoiled})
        lines.append(
            f"Starter: red are {red} of the {len(spoiled)} images that it made worse "
            f"({', '.join(contents)})"
        )
    pairs = [(run["rms"], run["predicted"]) for run in runs if "coverage" in run]
    if len(pairs) > 2:
        lines.append(
            "Rank correlation of predicted with true error over images: "
            f"{spearmanr(np.array(pairs)).statistic:.2f}"
        )
    nuclei = [run for run in runs if np.isfinite(run.get("iou_blurred", np.nan))]
    for name, what in (
        ("intensity", "Median error of the total intensity of nuclei"),
        ("iou", "Mean IoU of segmented nuclei"),
    ):
        if nuclei:
            before, after = (
                np.mean([r[f"{name}_{k}"] for r in nuclei]) for k in ("blurred", "deblurred")
            )
            lines.append(
                f"{what}, before and after, of {len(nuclei)} images: {before:.3f}, {after:.3f}"
            )
    ratios = [run["ratio"] for run in runs if "ratio" in run]
    if ratios:
        lines.append(
            f"Cost over deblurring alone: {np.median(ratios):.2f} times (target: at most {COST})"
        )
    return "\n" + "".join(f"- {line}\n" for line in lines)


def main() -> None:
    """Measure the runs missing in the file; write each when it is done."""
    universal.SIDE = SIDE  # of the scenes and lenses that are imported from there
    measure_tables("python -m benchmarks.trust", __doc__, TABLES, as_tables, PAGE)


if __name__ == "__main__":
    main()
