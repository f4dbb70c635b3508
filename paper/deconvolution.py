"""Supplement: Richardson-Lucy with its default settings and others, at two noise levels."""

import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from matplotlib.figure import Figure

from napari_coordgate.comparison import compare_events
from napari_coordgate.config import (
    Camera,
    ComparisonConfig,
    RichardsonLucyConfig,
    RichardsonLucyMethod,
)
from napari_coordgate.data import Images
from napari_coordgate.events import Event
from paper.lens import CAMERA, SCALES, Scale, flat_rows, lens_psf_field
from paper.results import COLORS, provenance, write_results

METHODS: Mapping[str, RichardsonLucyConfig] = MappingProxyType(
    {
        "Richardson-Lucy, own PSFs": RichardsonLucyConfig(),
        "Richardson-Lucy, mean PSF": RichardsonLucyConfig(psf="mean"),
        "10 iterations without total variation": RichardsonLucyConfig(
            num_iter=10, total_variation=0
        ),
        "total variation 0.01, stopped": RichardsonLucyConfig(
            total_variation=0.01, discrepancy=True
        ),
    }
)
"""Settings by name: the defaults with both kinds of PSF, and others with each pixel's own PSF."""
CAMERAS = (CAMERA, Camera(photons=200, read_noise=3))


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
    """Compare all settings, write the figure and return the rows of its table."""
    size = size or SCALES[scale]
    psf_field = lens_psf_field(size.frame_shape, output, cancel)
    methods = [
        RichardsonLucyMethod(name=name, richardson_lucy=config) for name, config in METHODS.items()
    ]
    rows: list[dict[str, Any]] = []
    for camera in CAMERAS:
        training = size.training.model_copy(update={"camera": camera})
        config = ComparisonConfig(training=training, seeds=seeds or 1)
        folder = output / f"{camera.photons:g}-photons"
        comparison = yield from compare_events(
            methods, images, psf_field, config=config, test=test, output=folder, cancel=cancel
        )
        rows += [{"photons": camera.photons, **row} for row in flat_rows(comparison)]
    data = {
        "scale": scale,
        "rows": rows,
        "settings": comparison.config.model_dump(mode="json"),
        **comparison.model_dump(mode="json", include={"methods"}),
        **provenance(),
    }
    write_results(output, "deconvolution", data, draw(rows))
    return rows


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the PSNR of each method at each number of photons."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    photons = list(dict.fromkeys(row["photons"] for row in rows))
    figure = Figure(figsize=(8, 0.7 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    for number, (light, color) in enumerate(zip(photons, ("blue", "orange"), strict=True)):
        values = [row["psnr"] for row in rows if row["photons"] == light]
        places = [y + 0.4 * number for y in range(len(names))]
        axes.barh(places, values, color=COLORS[color], height=0.38, label=f"{light:g} photons")
    axes.set_yticks([y + 0.2 for y in range(len(names))], names)
    axes.set_xlim(left=0.9 * min(row["psnr"] for row in rows))
    axes.invert_yaxis()
    axes.set_xlabel("PSNR on test images, dB")
    axes.legend(fontsize=8)
    return figure
