"""The whole job on sample images: blur, deblur, fine-tune, and show by how much it helped."""

import json
import threading
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_coordgate.config import DemoConfig, Device, RuntimeConfig, TrainingConfig
from napari_coordgate.errors import OutputError
from napari_coordgate.events import Event, Finished, Stopwatch, finish, reporting_end
from napari_coordgate.geometry import Window, field_radius
from napari_coordgate.inference import deblur
from napari_coordgate.io import Image, find_images, read_image, write_image
from napari_coordgate.io.files import atomic_write, sample_data_folder
from napari_coordgate.metrics import ZONES, quality
from napari_coordgate.model import Model
from napari_coordgate.normalization import fit_normalizer
from napari_coordgate.simulation import center_crop_window, simulate
from napari_coordgate.training import estimate_resources, train

__all__ = ["STAGES", "Sample", "blurred_sample", "run_demo"]

STAGES = ("blurred", "deblurred", "fine-tuned")
SEED = 20
TRIAL_STEPS = 12
SHOWN = 2

Pixels = NDArray[np.float32]


class Sample(NamedTuple):
    """One sample image on its way.

    Attributes
    ----------
    name : str
        Name of its file.
    images : dict of str to ndarray, each (H, W)
        ``sharp`` and each of `STAGES`, in the sharp image's units.
    data_range : float
        Range of the sharp intensities, between the scaling's percentiles.
    """

    name: str
    images: dict[str, Pixels]
    data_range: float


def run_demo(
    folder: Path,
    config: DemoConfig | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event]:
    """Deblur sample images that no network has seen, before and after fine-tuning.

    Parameters
    ----------
    folder : Path
        Where images, table and figure are written; must not exist, or be empty.
    config : DemoConfig, optional
        How long to fine-tune, and where to compute.
    cancel : threading.Event, optional
        Once set, the demonstration ends.

    Yields
    ------
    Progress, Preview
        Of the fine-tuning.
    Finished
        Once, at the end. If completed, its result is the table: for each stage its
        name and the mean figures of `quality`.
    """
    return reporting_end(_demo(folder, config or DemoConfig(), cancel))


def _demo(folder: Path, config: DemoConfig, cancel: threading.Event | None) -> Iterator[Event]:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; choose a folder with -o.")
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty; choose another folder with -o.")
    data = sample_data_folder()
    starter = Model.load(data / "starter.safetensors")
    paths = find_images(data / "test")
    samples = [blurred_sample(path, starter, SEED + n) for n, path in enumerate(paths)]
    yield from _deblurred(samples, "deblurred", starter, config.device)
    tuning = _tuning(data / "train", starter, config, cancel)
    tuned = yield from _fine_tuned(data / "train", starter, tuning, config.device, folder, cancel)
    yield from _deblurred(samples, "fine-tuned", tuned, config.device)
    table = quality_table(samples, starter.frame_shape)
    outputs = _write(folder, samples, starter, table)
    reached = ", ".join(f"{stage} {figures['psnr']:.1f} dB" for stage, figures in table)
    sentence = reached[0].upper() + reached[1:]
    message = f"{sentence}; images, table.json and figure.png are in {folder}."
    yield Finished("completed", message, outputs=outputs, result=table)


def blurred_sample(path: Path, starter: Model, seed: int) -> Sample:
    """Sharp image on the frame, and as the starter's lens and camera record it.

    Parameters
    ----------
    path : Path
        The sharp image, one plane of the frame's size or larger.
    starter : Checkpoint
        Trained on simulated pairs; its PSF field, camera and scaling are used.
    seed : int
        Seed of the camera's noise.

    Returns
    -------
    Sample
        With the images ``sharp`` and ``blurred``.
    """
    assert starter.psf_field is not None
    sharp = read_image(path).pixels
    window = center_crop_window((sharp.shape[0], sharp.shape[1]), starter.frame_shape, path.name)
    blurred = simulate(
        sharp,
        starter.psf_field,
        starter.config.camera,
        seed,
        scaling=starter.config.scaling,
        name=path.name,
    )
    on_frame = sharp[window.within(Window.whole((sharp.shape[0], sharp.shape[1])))]
    low, high = fit_normalizer(on_frame, starter.config.scaling, path.name)
    images = {"sharp": on_frame.astype(np.float32), "blurred": blurred}
    return Sample(path.stem, images, high - low)


def _deblurred(
    samples: list[Sample], stage: str, checkpoint: Model, device: Device
) -> Iterator[Event]:
    stopwatch = Stopwatch(f"images: {stage}", len(samples))
    for number, sample in enumerate(samples, start=1):
        sample.images[stage] = deblur(sample.images["blurred"], checkpoint, device=device)
        yield stopwatch.progress(number)


def _tuning(
    sharp: Path,
    starter: Model,
    config: DemoConfig,
    cancel: threading.Event | None,
) -> TrainingConfig:
    """Settings of a fine-tuning that takes about as long as asked for on this machine."""
    trial = starter.config.model_copy(
        update={
            "steps": TRIAL_STEPS,
            "validate_every": TRIAL_STEPS,
            "learning_rate": 2e-4,
            "warmup_steps": 20,
            "validation_fraction": 0.2,
            "seed": SEED,
        }
    )
    events = estimate_resources(
        trial,
        sharp,
        starter.psf_field,
        runtime=RuntimeConfig(device=config.device),
        init=starter,
        cancel=cancel,
        steps=TRIAL_STEPS,
    )
    steps = max(TRIAL_STEPS, int(config.seconds / finish(events).result.seconds_per_step))
    return trial.model_copy(update={"steps": steps, "validate_every": max(1, steps // 4)})


def _fine_tuned(
    sharp: Path,
    starter: Model,
    config: TrainingConfig,
    device: Device,
    folder: Path,
    cancel: threading.Event | None,
) -> Generator[Event, None, Model]:
    """Starter network trained further on the sample images for training."""
    output = folder / "fine-tuned.safetensors"
    events = train(
        config,
        sharp,
        starter.psf_field,
        runtime=RuntimeConfig(device=device),
        output=output,
        init=starter,
        cancel=cancel,
    )
    for event in events:
        if not isinstance(event, Finished):
            yield event
        else:
            event.raise_unless_completed()
    return Model.load(output)


Table = list[tuple[str, dict[str, float]]]


def quality_table(samples: list[Sample], frame_shape: tuple[int, int]) -> Table:
    """Mean figures of each stage over the samples.

    Parameters
    ----------
    samples : list of Sample
        Images at all stages.
    frame_shape : tuple of int
        (height, width) of the frame, in pixels.

    Returns
    -------
    list of (str, dict)
        Stage, and the mean of each figure of `quality`.
    """
    radius = field_radius(frame_shape)
    table = []
    for stage in STAGES:
        rows = [
            quality(sample.images["sharp"], sample.images[stage], radius, sample.data_range)
            for sample in samples
        ]
        table.append(
            (stage, {name: float(np.mean([row[name] for row in rows])) for name in rows[0]})
        )
    return table


def _write(folder: Path, samples: list[Sample], starter: Model, table: Table) -> tuple[Path, ...]:
    """Images, table and figure on disk."""
    pixel = starter.pixel_size_um
    outputs = []
    for sample in samples:
        for stage, pixels in sample.images.items():
            path = folder / f"{sample.name}-{stage}.tif"
            write_image(path, Image(pixels, "YX", None if pixel is None else (pixel, pixel)))
            outputs.append(path)
    report: Mapping[str, Any] = {"seed": SEED, "images": [s.name for s in samples], **dict(table)}
    with atomic_write(folder / "table.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    with atomic_write(folder / "figure.png") as temporary:
        draw(samples, table).savefig(temporary, dpi=120)
    return (*outputs, folder / "table.json", folder / "figure.png")


def draw(samples: list[Sample], table: Table) -> Figure:
    """Figure of the first samples at all stages, and PSNR by zone of the field.

    Parameters
    ----------
    samples : list of Sample
        Images at all stages.
    table : list of (str, dict)
        From `quality_table`.

    Returns
    -------
    Figure
        A row for each sample shown, and a plot below them.
    """
    stages = ("sharp", *STAGES)
    shown = samples[:SHOWN]
    figure = Figure(figsize=(3 * len(stages), 3 * len(shown) + 2.6), layout="constrained")
    grid = figure.add_gridspec(len(shown) + 1, len(stages), height_ratios=[3] * len(shown) + [2.4])
    for row, sample in enumerate(shown):
        low = float(sample.images["sharp"].min())
        for column, stage in enumerate(stages):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(sample.images[stage], cmap="gray", vmin=low, vmax=low + sample.data_range)
            axes.set_axis_off()
            if row == 0:
                axes.set_title(stage)
    axes = figure.add_subplot(grid[-1, :])
    for stage, figures in table:
        values = [figures[f"psnr_{zone}"] for zone in ZONES]
        axes.plot(range(len(ZONES)), values, "o-", label=stage)
    axes.set_xticks(range(len(ZONES)), list(ZONES))
    axes.set_xlabel("thirds of the field radius")
    axes.set_ylabel("PSNR, dB")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, ncols=len(STAGES), loc="upper right")
    return figure
