"""Training on blurred images alone, compared with training on sharp images of the same kind.

Run: ``python -m benchmarks.blurred_only FOLDER RUNS.jsonl [--lenses 1] [--steps 60] [--write]``

FOLDER has the folders ``train`` and ``val`` with sharp images of nuclei. For each lens and number
of photons, the universal model is adapted to the lens, from the same weights and with the same
number of steps: on sharp images; on blurred images of the same scenes alone; and on their sharp
parts only, without photons held out or moved results. A small CG U-Net is trained from scratch on
sharp images, on blurred images alone, and on these without moved results (``--network``). The PSNR
is that of unseen images. Finished runs are kept in RUNS.jsonl.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenes import central
from napari_coordgate import (
    AdaptConfig,
    Camera,
    CGUNetConfig,
    DeblurRuntime,
    Lens,
    PSFField,
    TrainingConfig,
    UniversalModel,
    adapt,
    deblur,
    psnr,
    simulate,
    train,
)
from napari_coordgate.io import find_images, read_image

PAGE = Path(__file__).parents[1] / "docs" / "measurements" / "blurred_only.md"
SIDE, SCALE, READ_NOISE = 128, 1000.0, 3.0
TRAINING_IMAGES, IMAGES = 24, 8
PHOTONS = 1000, 200
WAYS = "start", "sharp", "blurred_only", "sources_only"
NETWORK_WAYS = "network_sharp", "network_blurred_only", "network_no_equivariance"
CHANGES: dict[str, dict[str, float]] = {
    "sources_only": {"held_out_weight": 0.0, "equivariance_weight": 0.0},
    "network_no_equivariance": {"equivariance_weight": 0.0},
}
"""Settings of ways of training that differ from the defaults."""
NETWORK = CGUNetConfig(depth=3, base_channels=16)
NETWORK_STEPS = 6
"""Steps of the small network for each step of the universal model: they are shorter."""
RUNTIME = DeblurRuntime(check=False, device="cpu")

Float32 = NDArray[np.float32]
Run = dict[str, Any]


def lens_of(index: int) -> PSFField:
    """Return the PSF field of a random lens: curvature 2.5 to 4.5 um, axis within 0.15."""
    rng = np.random.default_rng([index, 5])
    axis_y, axis_x = rng.uniform(-0.15, 0.15, 2)
    lens = Lens(
        na=0.5,
        wavelength_nm=520,
        pixel_size_um=0.4,
        field_curvature_um=float(rng.uniform(2.5, 4.5)),
        axis=(float(axis_y), float(axis_x)),
    )
    return PSFField.from_lens(lens, (SIDE, SIDE), 0.03, 0.95)


def nuclei(folder: Path, number: int) -> list[Float32]:
    """Return images with contrast, scaled to the same brightness."""
    found: list[Float32] = []
    for path in find_images(folder):
        image = read_image(path).pixels.astype(np.float32)
        low, high = np.percentile(image, [1, 99.8])
        if image.ndim == 2 and min(image.shape) >= SIDE and high - low >= 10:
            found.append(SCALE * (image - low) / (high - low))
    order = np.random.default_rng(0).permutation(len(found))[:number]
    return [found[i] for i in order]


def record(images: list[Float32], field: PSFField, camera: Camera, seed: int) -> list[Float32]:
    """Return blurred images of scenes."""
    return [simulate(image, field, camera, seed + n) for n, image in enumerate(images)]


def measure(folder: Path, index: int, photons: float, way: str, steps: int) -> Run:
    """Return the PSNR of unseen images after one way of training, dB."""
    field, camera = lens_of(index), Camera(photons=photons, read_noise=READ_NOISE)
    sharp, unseen = nuclei(folder / "train", TRAINING_IMAGES), nuclei(folder / "val", IMAGES)
    blurred = record(sharp, field, camera, 0)
    start = time.perf_counter()
    given: dict[str, Any] = {"sharp": sharp}
    if not way.endswith("sharp"):
        given = {"blurred_only": np.stack(blurred)}
    if way == "start":
        model: Any = UniversalModel.load()
    elif way.startswith("network"):
        recipe = TrainingConfig(network=NETWORK, steps=NETWORK_STEPS * steps, camera=camera)
        recipe = recipe.model_copy(update={"validate_every": 10**6, **CHANGES.get(way, {})})
        model = train(psf_field=field, config=recipe, **given)
    else:
        adaptation = AdaptConfig(steps=steps, **CHANGES.get(way, {}))
        model = adapt(psf_field=field, camera=camera, config=adaptation, **given)
    seconds = time.perf_counter() - start
    pairs = list(zip(unseen, record(unseen, field, camera, 1000), strict=True))
    values = [psnr(central(s, SIDE), deblurred(b, model, field, camera), SCALE) for s, b in pairs]
    before = [psnr(central(s, SIDE), b, SCALE) for s, b in pairs]
    return {
        "lens": index,
        "photons": photons,
        "way": way,
        "steps": steps,
        "blurred": float(np.mean(before)),
        "psnr": float(np.mean(values)),
        "worse": int(np.sum(np.less(values, before))),
        "images": len(values),
        "seconds": seconds,
    }


def deblurred(image: Float32, model: Any, field: PSFField, camera: Camera) -> Float32:
    """Return an image deblurred by a network of one lens, or by a universal model."""
    known: dict[str, Any] = (
        {"psf_field": field, "camera": camera} if isinstance(model, UniversalModel) else {}
    )
    result: Float32 = deblur(image, model, runtime=RUNTIME, **known)
    return result


def as_table(runs: list[Run]) -> str:
    """Return a Markdown table, a row for each number of photons and way of training."""
    text = "| photons | trained | lenses | images | blurred | deblurred | worse | seconds |\n"
    text += "|---" * 8 + "|\n"
    for photons in PHOTONS:
        for way in (*WAYS, *NETWORK_WAYS):
            rows = [r for r in runs if (r["photons"], r["way"]) == (photons, way)]
            if not rows:
                continue
            means = [float(np.mean([r[name] for r in rows])) for name in ("blurred", "psnr")]
            worse, images = (sum(r[name] for r in rows) for name in ("worse", "images"))
            seconds = float(np.mean([r["seconds"] for r in rows]))
            text += f"| {photons} | {way.replace('_', ' ')} | {len(rows)} | {images} "
            text += f"| {means[0]:.2f} | {means[1]:.2f} | {worse} | {seconds:.0f} |\n"
    return text


def main() -> None:
    """Measure the runs missing in the file; write each when it is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blurred_only", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--lenses", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--photons", type=int, nargs="*", default=PHOTONS)
    parser.add_argument("--network", action="store_true", help="train a small network as well")
    parser.add_argument("--write", action="store_true", help="write the page of measurements")
    options = parser.parse_args()
    lines = options.output.read_text().splitlines() if options.output.exists() else []
    runs: list[Run] = [json.loads(line) for line in lines]
    ways = (*WAYS, *NETWORK_WAYS) if options.network else WAYS
    for index in range(options.lenses):
        for photons in options.photons:
            for way in ways:
                key = {"lens": index, "photons": photons, "way": way, "steps": options.steps}
                if not any(key.items() <= run.items() for run in runs):
                    runs.append(measure(options.folder, index, photons, way, options.steps))
                    with options.output.open("a") as file:
                        file.write(json.dumps(runs[-1]) + "\n")
    runs = [run for run in runs if run["steps"] == options.steps]
    sys.stdout.write(as_table(runs))
    if options.write:
        PAGE.with_suffix(".json").write_text(json.dumps(runs, indent=1) + "\n")
        head, _, _ = PAGE.read_text(encoding="utf-8").partition("\n## Table\n")
        PAGE.write_text(f"{head}\n## Table\n\n{as_table(runs)}", encoding="utf-8")


if __name__ == "__main__":
    main()
