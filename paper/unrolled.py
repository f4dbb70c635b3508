"""Supplement: unrolled Richardson-Lucy and its gates, trained for one lens and one noise level."""

import json
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from benchmarks.measuring import bootstrap_interval
from napari_coordgate.comparison import build_method
from napari_coordgate.comparison.context import pairs_config
from napari_coordgate.comparison.evaluation import MetricAccumulator, TestSet
from napari_coordgate.config import (
    Camera,
    CGUNetConfig,
    ComparisonConfig,
    RichardsonLucyConfig,
    RichardsonLucyMethod,
    UniversalConfig,
    UniversalMethod,
    UniversalTrainingConfig,
    UnrolledConfig,
)
from napari_coordgate.data import Images, SimulatedPairs, prepare_pairs
from napari_coordgate.data.universal import scene_operator
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.geometry import frame_coordinates
from napari_coordgate.networks import (
    Deblurred,
    Noise,
    UnrolledNetwork,
    build_network,
    scene_coordinates,
)
from napari_coordgate.optics import PSFField
from napari_coordgate.training.learner import averaging, cosine_factor
from napari_coordgate.training.universal import MAX_GRADIENT, sample_loss
from paper.lens import CAMERA, SCALES, Scale, lens_psf_field
from paper.results import COLORS, provenance, write_results

CAMERAS = (CAMERA, Camera(photons=200, read_noise=3))
BLURRED = "blurred"
RICHARDSON_LUCY = "Richardson-Lucy", "Richardson-Lucy, total variation 0.01, stopped"
"""The default settings, and those that are better at few photons; gains are over the better."""
_STOPPED = RichardsonLucyConfig(total_variation=0.01, discrepancy=True)
NOT_TRAINED: Mapping[str, RichardsonLucyMethod | UniversalMethod] = MappingProxyType(
    {
        RICHARDSON_LUCY[0]: RichardsonLucyMethod(
            name=RICHARDSON_LUCY[0], richardson_lucy=RichardsonLucyConfig()
        ),
        RICHARDSON_LUCY[1]: RichardsonLucyMethod(name=RICHARDSON_LUCY[1], richardson_lucy=_STOPPED),
        "universal model": UniversalMethod(
            name="universal model", universal=UniversalConfig(lens_uncertainty=0.02)
        ),
    }
)
"""Methods that are not trained for this lens."""

_ONE_STAGE = UnrolledConfig(stages=1, depth=3, iterations=(5, 15, 40), coordinates=())
_THREE_STAGES = UnrolledConfig(stages=3, base_channels=20, coordinates=())
NETWORKS: Mapping[str, UnrolledConfig | CGUNetConfig] = MappingProxyType(
    {
        "one stage, gates on position and PSF": _ONE_STAGE.replace(coordinates=("position", "psf")),
        "one stage, no gates": _ONE_STAGE,
        "three stages, gates on position and PSF": _THREE_STAGES.replace(
            coordinates=("position", "psf")
        ),
        "three stages, no gates": _THREE_STAGES,
        "one stage, gates on position": _ONE_STAGE.replace(coordinates=("position",)),
        "one stage, gates on PSF": _ONE_STAGE.replace(coordinates=("psf",)),
        "no Richardson-Lucy: CG U-Net(3)": CGUNetConfig(base_channels=16),
    }
)
"""Networks of about equal size; lens and noise are always the same, so no gate depends on them."""
LEARNING_RATE, WARMUP_STEPS, EMA_DECAY = 1e-3, 100, 0.995


class Experiment(NamedTuple):
    """Pairs of whole frames, and the lens and camera behind them."""

    psf_field: PSFField
    camera: Camera
    pairs: SimulatedPairs
    tests: TestSet


class Deblurrer(nn.Module):
    """Network with the lens and noise of an experiment; maps frames to the result of each stage."""

    def __init__(self, config: UnrolledConfig | CGUNetConfig, experiment: Experiment) -> None:
        super().__init__()
        field, camera = experiment.psf_field, experiment.camera
        assert camera.photons is not None
        self.noise = Noise.of(camera.photons, camera.read_noise)
        self.operator = scene_operator(field)
        self.network: nn.Module
        if isinstance(config, UnrolledConfig):
            self.network = UnrolledNetwork(config)
            self.coordinates = scene_coordinates(config, self.noise, 0.0, field, self.operator)
        else:
            self.network = build_network(config)
            self.coordinates = torch.from_numpy(frame_coordinates(field.frame_shape))[None]

    def forward(self, blurred: Tensor) -> list[Deblurred]:
        """Results of each stage for frames (B, 1, h, w)."""
        if isinstance(self.network, UnrolledNetwork):
            return self.network.all_stages(blurred, self.coordinates, self.operator, self.noise)
        image = self.network(blurred, self.coordinates)
        return [Deblurred(image, torch.zeros_like(image))]


def train(
    config: UnrolledConfig | CGUNetConfig,
    experiment: Experiment,
    steps: int,
    batch_size: int,
    seed: int,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, Deblurrer]:
    """Train a network with the loss of the universal model; the learning rate falls to 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        deblurrer = Deblurrer(config, experiment)
    unrolled = isinstance(config, UnrolledConfig)
    recipe = UniversalTrainingConfig(error_weight=0.1 if unrolled else 0.0)
    averaged = AveragedModel(deblurrer, multi_avg_fn=averaging(EMA_DECAY))
    optimizer = torch.optim.Adam(deblurrer.parameters(), LEARNING_RATE)
    stopwatch, pairs = Stopwatch("training", steps), experiment.pairs
    for step in range(steps):
        raise_if_canceled(cancel, "Stopped while training; finished networks are kept.")
        first = (seed * steps + step) * batch_size  # other samples with each seed
        samples = [pairs.sample(first + n) for n in range(batch_size)]
        batch = pairs.to_batch(samples, torch.device("cpu"), first)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * cosine_factor(step, steps, WARMUP_STEPS)
        optimizer.zero_grad()
        loss = sample_loss(deblurrer(batch.blurred), batch.sharp, recipe)
        loss.backward()
        nn.utils.clip_grad_norm_(deblurrer.parameters(), MAX_GRADIENT)
        optimizer.step()
        averaged.update_parameters(deblurrer)
        yield stopwatch.progress(step + 1, loss=loss.item())
    trained = averaged.module.eval()
    assert isinstance(trained, Deblurrer)
    return trained


@torch.inference_mode()
def measure(method: Any, tests: TestSet) -> dict[str, Any]:
    """Return mean metrics of a function of a scaled image and its window, and each image's PSNR."""
    metrics = MetricAccumulator(tests.frame_shape)
    for pair in tests:
        metrics.update(pair, method(pair.blurred, pair.window))
    return {**metrics.means(), "image_psnr": [image["psnr"] for image in metrics.images]}


def run_events(
    output: Path,
    scale: str = "small",
    cancel: threading.Event | None = None,
    *,
    images: Images,
    test: Images | None = None,
    seeds: int | None = None,
    size: Scale | None = None,
) -> Generator[Event, None, list[dict[str, Any]]]:
    """Train all networks, write the figure and return its rows; finished rows are kept."""
    size = size or SCALES[scale]
    output.mkdir(parents=True, exist_ok=True)
    psf_field = lens_psf_field(size.frame_shape, output, cancel)
    kept = output / "rows.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    experiments = []
    for camera in CAMERAS:
        training = size.training.model_copy(update={"camera": camera})
        training_pairs, _ = yield from prepare_pairs(
            training, images, psf_field, None, test, cancel
        )
        # As in the other figures, the test pairs have a seed of their own.
        testing = pairs_config(ComparisonConfig(training=training))
        _, pairs = yield from prepare_pairs(testing, images, psf_field, None, test, cancel)
        assert isinstance(training_pairs, SimulatedPairs)
        assert isinstance(pairs, SimulatedPairs)
        experiments.append(Experiment(psf_field, camera, training_pairs, TestSet(pairs)))
    try:
        for seed, name, experiment in product(
            range(seeds or size.seeds), (BLURRED, *NOT_TRAINED, *NETWORKS), experiments
        ):
            key = {"photons": experiment.camera.photons, "method": name}
            key["seed"] = seed if name in NETWORKS else None
            if any(key.items() <= row.items() for row in rows):
                continue
            rows.append(key | (yield from _row(name, experiment, size, seed, cancel)))
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    finally:  # all rows take a day: also those of a run that was canceled are worth a figure
        if any(row["method"] in NETWORKS for row in rows):
            _write(output, scale, rows)
    return rows


def _write(output: Path, scale: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the figure of these rows."""
    data = {"scale": scale, "rows": rows, "networks": _settings(), **provenance()}
    write_results(output, "unrolled", data, draw(rows))


def _row(
    name: str,
    experiment: Experiment,
    size: Scale,
    seed: int,
    cancel: threading.Event | None,
) -> Generator[Event, None, dict[str, Any]]:
    """Metrics of one method on the test images, after its training."""
    tests = experiment.tests
    if name == BLURRED:
        return measure(lambda blurred, _: blurred, tests)
    if name in NOT_TRAINED:
        field, camera = experiment.psf_field, experiment.camera
        return measure(build_method(NOT_TRAINED[name], field, camera=camera, cancel=cancel), tests)
    steps, batch_size = size.training.steps, size.training.batch_size
    assert steps is not None
    started = time.monotonic()
    deblurrer = yield from train(NETWORKS[name], experiment, steps, batch_size, seed, cancel)
    seconds = time.monotonic() - started

    def restore(blurred: Any, _: Any) -> Any:
        image = deblurrer(torch.from_numpy(np.asarray(blurred))[None, None])[-1].image
        return image[0, 0].numpy()

    parameters = sum(p.numel() for p in deblurrer.parameters())
    row = {"steps": steps, "parameters": parameters, "training_seconds": seconds}
    return row | measure(restore, tests)


def _settings() -> dict[str, Any]:
    return {name: config.model_dump(mode="json") for name, config in NETWORKS.items()}


def gains(rows: Sequence[Mapping[str, Any]], draws: int = 2000) -> list[dict[str, Any]]:
    """Return the gain of each method over Richardson-Lucy, with its 95 % bootstrap interval.

    The interval is over the images, of which each counts with the mean of its seeds.
    """
    images: dict[tuple[float, str], Any] = {}
    for key in dict.fromkeys((row["photons"], row["method"]) for row in rows):
        some = [row for row in rows if (row["photons"], row["method"]) == key]
        images[key] = np.mean([row["image_psnr"] for row in some], axis=0)
    rng, result = np.random.default_rng(0), []
    for (photons, name), psnr in images.items():
        bases = [images[photons, base] for base in RICHARDSON_LUCY]
        gain = psnr - max(bases, key=lambda values: float(values.mean()))
        interval = list(bootstrap_interval(gain, rng, draws))
        some = [row for row in rows if (row["photons"], row["method"]) == (photons, name)]
        row = {"photons": photons, "method": name, "psnr": float(psnr.mean())}
        row |= {"seeds": [r["psnr"] for r in some], "parameters": some[0].get("parameters", 0)}
        result.append(row | {"gain": float(gain.mean()), "interval": interval})
    return result


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the gain of each method over Richardson-Lucy at each number of photons."""
    shown = [gain for gain in gains(rows) if gain["method"] in NETWORKS]
    names = list(dict.fromkeys(gain["method"] for gain in shown))
    figure = Figure(figsize=(8, 0.5 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    for number, (camera, color) in enumerate(zip(CAMERAS, ("blue", "orange"), strict=True)):
        some = [gain for gain in shown if gain["photons"] == camera.photons]
        places = [names.index(gain["method"]) + 0.38 * number for gain in some]
        axes.barh(
            places,
            [gain["gain"] for gain in some],
            xerr=np.transpose([np.abs(np.subtract(g["interval"], g["gain"])) for g in some]),
            color=COLORS[color],
            height=0.36,
            label=f"{camera.photons:g} photons",
        )
    axes.set_yticks([y + 0.19 for y in range(len(names))], names)
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.set_xlabel("PSNR over Richardson-Lucy, dB")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    return figure
