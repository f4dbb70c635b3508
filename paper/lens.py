"""Fig. 4b and 5: networks and deconvolution behind a lens whose defocus grows to the edge."""

import threading
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_coordgate.comparison import Comparison, Row, build_method, compare_events
from napari_coordgate.comparison.data_split import split_images
from napari_coordgate.comparison.evaluation import TestSet
from napari_coordgate.config import (
    Camera,
    ComparisonConfig,
    Lens,
    Method,
    NetworkMethod,
    PSFMode,
    RichardsonLucyConfig,
    RichardsonLucyMethod,
    TrainingConfig,
    WienerConfig,
    WienerMethod,
    network_config,
)
from napari_coordgate.data import Images, SimulatedPairs, find_planes, prepare_pairs
from napari_coordgate.events import Event, Stopwatch, raise_if_canceled
from napari_coordgate.metrics import psnr
from napari_coordgate.optics import PSFField, PSFGrid
from paper.results import COLORS, provenance, write_results

# Data

LENS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325, field_curvature_um=8)
"""A 20x objective that is in focus on its axis and 8 um out of focus in the corners."""
CAMERA = Camera(photons=5000, read_noise=3)
ENCLOSED_ENERGY = 0.98
"""Fraction of a PSF's light within its window; the faint rest would double its side."""


@dataclass(frozen=True)
class Scale:
    """Size of the experiment; ``ablation`` holds the training settings that the ablation changes.

    ``base_channels`` are the channels of the networks at full resolution, 32 in the paper.
    """

    frame_shape: tuple[int, int]
    base_channels: int
    training: TrainingConfig
    seeds: int
    ablation_seeds: int
    ablation: Mapping[str, Any]


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "small": Scale(
            (64, 64),
            16,
            TrainingConfig(
                camera=CAMERA, sampling="frame", steps=2000, batch_size=4, validate_every=1000
            ),
            seeds=2,
            ablation_seeds=1,
            ablation={"steps": 800, "validate_every": 400},
        ),
        "full": Scale(
            (256, 256),
            32,
            TrainingConfig.paper(camera=CAMERA, batch_size=16, validate_every=100),
            seeds=3,
            ablation_seeds=3,
            ablation={"epochs": 200},
        ),
    }
)


def lens_psf_field(
    frame_shape: tuple[int, int], folder: Path, cancel: threading.Event | None = None
) -> PSFField:
    """Return the PSF field of the lens, cached in a folder as rounding differs between machines."""
    path = folder / "lens.psf.tif"
    if not path.exists():
        PSFField.from_lens(LENS, frame_shape, enclosed_energy=ENCLOSED_ENERGY, cancel=cancel).save(
            path
        )
    return PSFField.load(path)


# Methods


def networks(base_channels: int) -> list[NetworkMethod]:
    """Return the networks under the paper's names, and our own.

    CG-WienerNet(3) has one channel fewer, so that it has about as many parameters as CG U-Net(3)
    and MultiWienerNet(3).
    """
    architectures = (
        *((f"U-Net({depth})", "unet", depth, 0) for depth in (3, 4, 5, 6)),
        *((f"CG U-Net({depth})", "cg-unet", depth, 0) for depth in (3, 6)),
        ("CoordConv-UNet(6)", "coordconv-unet", 6, 0),
        ("MultiWienerNet(6)", "multi-wiener", 6, 0),
        ("MultiWienerNet(3)", "multi-wiener", 3, 0),
        ("CG-WienerNet(3)", "cg-multi-wiener", 3, -1),
    )
    return [
        *(
            network(
                name, architecture=architecture, depth=depth, base_channels=base_channels + extra
            )
            for name, architecture, depth, extra in architectures
        ),
        network("Weighted Wiener", architecture="weighted-wiener"),
    ]


def network(name: str, **settings: Any) -> NetworkMethod:
    """Return a network to be trained."""
    return NetworkMethod(name=name, network=network_config(**settings))


def _wiener(psf: PSFMode) -> list[WienerConfig]:
    return [WienerConfig(psf=psf, regularization=noise) for noise in (1e-3, 3e-3, 1e-2, 3e-2)]


DECONVOLUTIONS: Mapping[str, Sequence[WienerConfig | RichardsonLucyConfig]] = MappingProxyType(
    {
        "Wiener, mean PSF": _wiener("mean"),
        "Wiener, own PSFs": _wiener("field"),
        # With a wrong PSF, few iterations are better than the defaults.
        "Richardson-Lucy, mean PSF": [
            RichardsonLucyConfig(psf="mean", num_iter=num_iter) for num_iter in (5, 10, 20, 40)
        ],
        "Richardson-Lucy, own PSFs": [RichardsonLucyConfig()],
    }
)
"""Candidate settings of each deconvolution; Richardson-Lucy has tuned defaults."""
TUNING_IMAGES = 12


def tune_deconvolutions(
    images: Images,
    psf_field: PSFField,
    training: TrainingConfig,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, list[Method]]:
    """Choose the settings of each deconvolution on training images, never on test images."""
    planes = [plane.read() for plane in find_planes(images)[:TUNING_IMAGES]]
    _, pairs = yield from prepare_pairs(training, planes, psf_field, None, planes, cancel)
    assert isinstance(pairs, SimulatedPairs)
    tests = TestSet(pairs)

    def mean_psnr(method: Method) -> float:
        restore = build_method(method, psf_field, camera=training.camera, cancel=cancel)
        values = [psnr(pair.sharp, restore(pair.blurred, pair.window)) for pair in tests]
        return sum(values) / len(values)

    stopwatch, done = Stopwatch("tuning deconvolution", sum(map(len, DECONVOLUTIONS.values()))), 0
    methods = []
    for name, candidates in DECONVOLUTIONS.items():
        scores: list[tuple[float, Method]] = []
        for config in candidates:
            raise_if_canceled(cancel, "Stopped while tuning the deconvolution methods.")
            method: Method
            if isinstance(config, WienerConfig):
                method = WienerMethod(name=name, wiener=config)
            else:
                method = RichardsonLucyMethod(name=name, richardson_lucy=config)
            scores.append((mean_psnr(method), method))
            done += 1
            yield stopwatch.progress(done)
        methods.append(max(scores, key=lambda score: score[0])[1])
    return methods


# Training and measurement


def run_events(
    output: Path,
    scale: str = "small",
    cancel: threading.Event | None = None,
    *,
    images: Images,
    test: Images | None = None,
    seeds: int | None = None,
    size: Scale | None = None,
) -> Generator[Event, None, Comparison]:
    """Train and compare all methods, write the figure and return the comparison."""
    size = size or SCALES[scale]
    psf_field = lens_psf_field(size.frame_shape, output, cancel)
    config = ComparisonConfig(training=size.training, seeds=seeds or size.seeds)
    split = yield from split_images(images, test, config, cancel)
    tuned = yield from tune_deconvolutions(split.training, psf_field, size.training, cancel)
    methods = [*networks(size.base_channels), *tuned]
    folder = output / "methods"
    comparison = yield from compare_events(
        methods, images, psf_field, config=config, test=test, output=folder, cancel=cancel
    )
    data = {
        "scale": scale,
        "lens": LENS.model_dump(mode="json"),
        "rows": flat_rows(comparison),
        "settings": comparison.config.model_dump(mode="json"),
        **comparison.model_dump(mode="json", include={"methods"}),
        **provenance(),
    }
    write_results(output, "lens", data, draw(comparison, psf_field))
    return comparison


def flat_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the rows of a comparison as JSON values, with the quality metrics at the top level."""
    large = {"fingerprint", "quality", "image_psnr", "stem", "note"}
    return [
        {**row.model_dump(mode="json", exclude=large), **row.quality} for row in comparison.rows
    ]


# Drawing

FAMILY_COLORS = {
    "U-Net": COLORS["blue"],
    "CG U-Net": COLORS["red"],
    "CoordConv-UNet": COLORS["pink"],
    "MultiWienerNet": COLORS["green"],
    "CG-WienerNet": COLORS["orange"],
    "Weighted Wiener": COLORS["light blue"],
}
GRAY = "#7f7f7f"
SHOWN = ("U-Net(3)", "U-Net(6)", "CG U-Net(3)", "CG U-Net(6)", "MultiWienerNet(6)")
"""Networks whose error is drawn over the field radius."""
DEEP, SHALLOW = "U-Net(6)", "CG U-Net(3)"
"""Networks whose error maps are drawn."""


def draw(comparison: Comparison, psf_field: PSFField) -> Figure:
    """Draw the PSFs, PSNR over parameters, error over field radius, and error maps."""
    figure = Figure(figsize=(13, 8.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.15, 1))[:, 0]
    psfs, parameters = upper.subplots(1, 2, width_ratios=(1, 2.1))
    _draw_psfs(psfs, psf_field)
    _draw_parameters(parameters, comparison)
    radius, *maps = lower.subplots(1, 4, width_ratios=(1.9, 1, 1, 1.08))
    _draw_radius(radius, comparison)
    if {DEEP, SHALLOW} <= set(comparison.names):
        _draw_maps(lower, maps, comparison)
    return figure


def _draw_psfs(axes: Axes, psf_field: PSFField) -> None:
    axes.imshow(np.sqrt(PSFGrid.from_psf_field(psf_field, 5).montage()), cmap="magma")
    height, width = psf_field.frame_shape
    center, corner = psf_field.fwhm_px(height // 2, width // 2), psf_field.fwhm_px(0, 0)
    axes.set_title(
        f"PSFs over the frame of {height}x{width} pixels\n"
        f"FWHM {center:.1f} pixels in the middle, {corner:.1f} at the corners",
        fontsize=9,
    )
    axes.set_axis_off()


def _family(name: str) -> str:
    return name.partition("(")[0]


def _psnr(rows: Iterable[Row]) -> list[float]:
    return [row.quality["psnr"] for row in rows]


def _draw_parameters(axes: Axes, comparison: Comparison) -> None:
    """Draw networks as points with the range over their seeds, other methods as lines."""
    families = defaultdict(list)
    for name in comparison.names:
        rows = comparison.of(name)
        if rows[0].parameters:
            families[_family(name)].append((rows[0].parameters, _psnr(rows), name))
            continue
        mean = float(np.mean(_psnr(rows)))
        axes.axhline(mean, color=GRAY, lw=0.8, ls=":")
        end: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
        axes.annotate(name, (1, mean), fontsize=7, color=GRAY, **end)
    for family, members in families.items():
        members.sort()
        counts = [count for count, _, _ in members]
        means, low, high = (
            np.array([f(values) for _, values, _ in members]) for f in (np.mean, min, max)
        )
        color, spread = FAMILY_COLORS.get(family, "black"), [means - low, high - means]
        axes.errorbar(counts, means, spread, fmt="o-", color=color, label=family, capsize=3)
        for count, mean, (_, _, name) in zip(counts, means, members, strict=True):
            depth = name.removeprefix(family)
            axes.annotate(depth, (count, mean), (5, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("parameters")
    axes.set_ylabel("PSNR on test images, dB")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8)


def _draw_radius(axes: Axes, comparison: Comparison) -> None:
    for name in (name for name in SHOWN if name in comparison.names):
        rows = comparison.of(name)
        decibels = -10 * np.log10(np.array([row.radial_error for row in rows], float))
        style, color = "--" if name.endswith("(6)") else "-", FAMILY_COLORS[_family(name)]
        axes.plot(rows[0].radius, decibels.mean(0), style, color=color, label=name)
    axes.set_xlabel("field radius (1: corner)")
    axes.set_ylabel("PSNR of all pixels there, dB")
    axes.legend(fontsize=8)


def _draw_maps(figure: Any, cells: Sequence[Axes], comparison: Comparison) -> None:
    """Draw the error of the deep U-Net and the shallow gated one over the frame."""
    deep, shallow = (
        np.sqrt(np.mean([comparison.error_map(row) for row in comparison.of(name)], axis=0))
        for name in (DEEP, SHALLOW)
    )
    top = float(np.nanpercentile([deep, shallow], 99))
    gain = 20 * np.log10(deep / shallow)
    most = max(1.0, float(np.nanpercentile(np.abs(gain), 98)))
    errors: dict[str, Any] = {"vmin": 0, "vmax": top, "cmap": "viridis"}
    gains: dict[str, Any] = {"vmin": -most, "vmax": most, "cmap": "RdBu"}
    for axes, title, values, style, has_bar in (
        (cells[0], f"{DEEP}: error (RMS)", deep, errors, False),
        (cells[1], f"{SHALLOW}: error (RMS)", shallow, errors, True),
        (cells[2], f"gain of {SHALLOW}, dB", gain, gains, True),
    ):
        shown = axes.imshow(values, **style)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
        if has_bar:
            figure.colorbar(shown, ax=axes, shrink=0.8)
