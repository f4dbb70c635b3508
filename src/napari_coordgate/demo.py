"""Demo on sample images: blur, deblur, fine-tune, and measure the gain of each step."""

import json
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.comparison import Row, draw_examples, draw_radial_error
from napari_coordgate.comparison.comparison import BLURRED, SHARP
from napari_coordgate.comparison.evaluation import ImagePair, evaluate
from napari_coordgate.comparison.methods import image_method, unchanged
from napari_coordgate.config import DeblurRuntime, DemoConfig, TrainingConfig
from napari_coordgate.devices import bfloat16_is_faster, resolve_device
from napari_coordgate.errors import OutputError
from napari_coordgate.events import Event
from napari_coordgate.geometry import Window
from napari_coordgate.io import Image, find_images, read_image, write_image
from napari_coordgate.io.files import atomic_write, sample_data_folder
from napari_coordgate.model import Model
from napari_coordgate.normalization import fit_normalizer
from napari_coordgate.simulation import center_crop_window, simulate
from napari_coordgate.training import estimate_resources, train_events

STAGES = (BLURRED, "deblurred", "fine-tuned")
SEED = 20
TRIAL_STEPS = 12
TUNING = {"learning_rate": 2e-4, "warmup_steps": 20, "validation_fraction": 0.2, "seed": SEED}
"""Recipe of the fine-tuning, where it is not that of the starter."""


def run_demo_events(
    folder: Path, config: DemoConfig | None = None, cancel: threading.Event | None = None
) -> Generator[Event, None, list[Row]]:
    """Deblur sample images before and after fine-tuning; returns a row for each of `STAGES`."""
    config = config or DemoConfig()
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; choose a folder with -o.")
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty; choose another folder with -o.")
    data = sample_data_folder()
    starter = Model.load(data / "starter.safetensors")
    paths = find_images(data / "test")
    pairs = [blurred_sample(path, starter, SEED + n) for n, path in enumerate(paths)]
    images = {SHARP: [pair.sharp for pair in pairs]}
    rows: list[Row] = []

    def test(stage: str, model: Model | None) -> Generator[Event]:
        method = unchanged()
        if model is not None:
            image = Image(pairs[0].blurred, "YX")
            runtime = DeblurRuntime(device=config.device)
            method = image_method(stage, model, image, runtime=runtime, cancel=cancel)
        frame = starter.frame_shape
        tested = yield from evaluate(method, pairs, frame, keep=len(pairs), cancel=cancel)
        images[stage] = tested.restored
        rows.append(tested.row(method))

    yield from test(BLURRED, None)
    yield from test("deblurred", starter)
    tuned = yield from _fine_tune(data / "train", starter, config, folder, cancel)
    yield from test("fine-tuned", tuned)
    _write(folder, [path.stem for path in paths], images, starter, rows)
    return rows


def blurred_sample(path: Path, starter: Model, seed: int) -> ImagePair:
    """Sharp image (H, W) on the frame, and as the starter's lens and camera record it."""
    assert starter.psf_field is not None
    config, sharp = starter.config, read_image(path).pixels
    shape = (sharp.shape[0], sharp.shape[1])
    window = center_crop_window(shape, starter.frame_shape, path.name)
    blurred = simulate(
        sharp, starter.psf_field, config.camera, seed, scaling=config.scaling, name=path.name
    )
    on_frame = sharp[window.within(Window.whole(shape))].astype(np.float32)
    low, high = fit_normalizer(on_frame, config.scaling, path.name)
    return ImagePair(on_frame, blurred, Window.whole(starter.frame_shape), high - low)


def _fine_tune(
    sharp: Path,
    starter: Model,
    config: DemoConfig,
    folder: Path,
    cancel: threading.Event | None,
) -> Generator[Event, None, Model]:
    """Train the starter further on sample images for about as long as asked for."""
    field, output = starter.psf_field, folder / "fine-tuned.safetensors"
    where: dict[str, Any] = {
        "device": config.device,
        "init": starter,
        "cancel": cancel,
    }
    is_fast = bfloat16_is_faster(resolve_device(config.device))
    recipe = starter.config.model_copy(
        update={"precision": "bfloat16" if is_fast else "float32", **TUNING}
    )
    training = _lasting(recipe, TRIAL_STEPS, TRIAL_STEPS)
    trial = estimate_resources(sharp, field, config=training, steps=TRIAL_STEPS, **where)
    steps = max(TRIAL_STEPS, int(config.seconds / trial.seconds_per_step))
    training = _lasting(recipe, steps, max(1, steps // 4))
    return (yield from train_events(sharp, field, config=training, output=output, **where))


def _lasting(recipe: TrainingConfig, steps: int, validate_every: int) -> TrainingConfig:
    """A recipe with another length."""
    return recipe.model_copy(update={"steps": steps, "validate_every": validate_every})


def _write(
    folder: Path,
    names: Sequence[str],
    images: dict[str, list[NDArray[Any]]],
    starter: Model,
    rows: Sequence[Row],
) -> None:
    """Write images, table and figures."""
    pixel = starter.pixel_size_um
    size = None if pixel is None else (pixel, pixel)
    for number, name in enumerate(names):
        for stage, stack in images.items():
            write_image(folder / f"{name}-{stage}.tif", Image(stack[number], "YX", size))
    metrics = {row.method: row.quality for row in rows}
    report = {"seed": SEED, "images": list(names), **metrics}
    with atomic_write(folder / "table.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    scale = fit_normalizer(images[SHARP][0], starter.config.scaling).normalize
    examples = {stage: scale(stack[0]) for stage, stack in images.items()}
    figures = {
        "figure.png": draw_examples(rows, examples),
        "error-radius.png": draw_radial_error(rows),
    }
    for name, figure in figures.items():
        with atomic_write(folder / name) as temporary:
            figure.savefig(temporary, dpi=120)
