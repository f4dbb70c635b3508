"""Fig. 4b and 5: networks and classical methods behind a lens whose defocus grows to the edge."""

import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from napari_coordgate.comparison import Comparison, compare
from napari_coordgate.comparison.splitting import split_images
from napari_coordgate.config import (
    Camera,
    ComparisonConfig,
    Lens,
    Method,
    NetworkConfig,
    PSFMode,
    RichardsonLucyConfig,
    TrainingConfig,
    WienerConfig,
)
from napari_coordgate.data import Images
from napari_coordgate.events import Event, Finished, reporting_end
from napari_coordgate.optics import PSFField
from paper.drawing import draw_lens
from paper.results import completed, flat_rows, origin_of, write_results
from paper.tuning import tuned

__all__ = ["CAMERA", "LENS", "SCALES", "Setting", "methods", "psf_field", "run"]

LENS = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325, field_curvature_um=8)
"""A 20x objective that is in focus on its axis, 8 um out of it at the corners."""
ENCLOSED_ENERGY = 0.98
"""Part of a PSF's light that its window holds: the faint rest would double its side."""
CAMERA = Camera(photons=5000, read_noise=3)


@dataclass(frozen=True)
class Setting:
    """Size of the experiment.

    Attributes
    ----------
    frame_shape : tuple of int
        (height, width) of the sensor, pixels.
    base_channels : int
        Channels of the networks at full resolution; 32 in the paper.
    training : TrainingConfig
        Protocol of the trainings.
    seeds, ablation_seeds : int
        Trainings of each network, where nothing else is asked for.
    ablation_length : mapping
        Settings in which the trainings of the ablation differ: they are shorter.
    memory : bool
        Whether the peak memory of each method is measured.
    """

    frame_shape: tuple[int, int]
    base_channels: int
    training: TrainingConfig
    seeds: int
    ablation_seeds: int
    ablation_length: Mapping[str, Any]
    memory: bool = True


SCALES: Mapping[str, Setting] = MappingProxyType(
    {
        "small": Setting(
            (64, 64),
            16,
            TrainingConfig(
                camera=CAMERA,
                sampling="frame",
                steps=2000,
                batch_size=4,
                validate_every=1000,
            ),
            seeds=2,
            ablation_seeds=1,
            ablation_length={"steps": 800, "validate_every": 400},
        ),
        "full": Setting(
            (256, 256),
            32,
            TrainingConfig.paper(camera=CAMERA, batch_size=16, validate_every=100),
            seeds=3,
            ablation_seeds=3,
            ablation_length={"epochs": 200},
        ),
    }
)


def methods(base_channels: int) -> tuple[Method, ...]:
    """Networks of the figure, with the paper's names, and those we add.

    Parameters
    ----------
    base_channels : int
        Channels at full resolution.

    Returns
    -------
    tuple of Method
        The networks. The gated one on a Wiener bank has a channel less, so that its
        parameters are about as many as those of the gated U-Net and the MultiWienerNet.
    """

    def network(name: str, architecture: str, depth: int, channels: int = base_channels) -> Method:
        settings = {"architecture": architecture, "depth": depth, "base_channels": channels}
        return Method(name=name, network=NetworkConfig.model_validate(settings))

    return (
        *(network(f"U-Net({depth})", "unet", depth) for depth in (3, 4, 5, 6)),
        *(network(f"CG U-Net({depth})", "cg-unet", depth) for depth in (3, 6)),
        network("CoordConv-UNet(6)", "coordconv-unet", 6),
        network("MultiWienerNet(6)", "multi-wiener", 6),
        network("MultiWienerNet(3)", "multi-wiener", 3),
        network("CG-WienerNet(3)", "cg-multi-wiener", 3, base_channels - 1),
        network("Weighted Wiener", "weighted-wiener", 3),
    )


def psf_field(
    frame_shape: tuple[int, int], folder: Path, cancel: threading.Event | None = None
) -> PSFField:
    """PSF field of the lens, kept in a folder: rounding differs from machine to machine.

    Parameters
    ----------
    frame_shape : tuple of int
        (height, width) of the sensor, pixels.
    folder : Path
        Where it is kept, for the rows of a later start to rest on the same numbers.
    cancel : threading.Event, optional
        Once set, the work ends.

    Returns
    -------
    PSFField
        The field.
    """
    path = folder / "lens.psf.tif"
    if not path.exists():
        made = PSFField.from_lens(LENS, frame_shape, enclosed_energy=ENCLOSED_ENERGY, cancel=cancel)
        made.save(path)
    return PSFField.load(path)


def _wiener(psf: PSFMode) -> tuple[WienerConfig, ...]:
    return tuple(WienerConfig(psf=psf, regularization=noise) for noise in (1e-3, 3e-3, 1e-2, 3e-2))


def _richardson_lucy(psf: PSFMode) -> tuple[RichardsonLucyConfig, ...]:
    return tuple(
        RichardsonLucyConfig(psf=psf, iterations=iterations, total_variation=smoothing)
        for iterations in (5, 15, 40)
        for smoothing in (0.0, 0.003)
    )


CLASSICAL: Mapping[str, tuple[WienerConfig | RichardsonLucyConfig, ...]] = MappingProxyType(
    {
        "Wiener, mean PSF": _wiener("mean"),
        "Wiener, own PSFs": _wiener("field"),
        "Richardson-Lucy, mean PSF": _richardson_lucy("mean"),
        "Richardson-Lucy, own PSFs": _richardson_lucy("field"),
    }
)
"""Classical methods, and the settings among which training images choose."""


def run(
    scale: Literal["small", "full"],
    seeds: int | None,
    output: Path,
    images: Images,
    test: Images | None = None,
    cancel: threading.Event | None = None,
    *,
    setting: Setting | None = None,
) -> Generator[Event]:
    """Train and compare all methods, and draw the figure.

    Parameters
    ----------
    scale : {"small", "full"}
        For two CPU cores, or the paper's on a GPU.
    seeds : int or None
        Trainings of each network; none: as the scale has it.
    output : Path
        Folder of the comparison, the figure and its data; a second start does what is missing.
    images, test : path, array or sequence of either
        Sharp images to train on, and to test on; see `compare`.
    cancel : threading.Event, optional
        Once set, the run is saved as it is and ends.
    setting : Setting, optional
        Size of the experiment, instead of the scale's.

    Yields
    ------
    Progress, Preview
        Of the trainings and tests.
    Finished
        Once, at the end. If completed, its result is the `Comparison`.
    """
    setting = setting or SCALES[scale]
    return reporting_end(_events(setting, scale, seeds, output, images, test, cancel))


def _events(
    setting: Setting,
    scale: str,
    seeds: int | None,
    output: Path,
    images: Images,
    test: Images | None,
    cancel: threading.Event | None,
) -> Iterator[Event]:
    field = psf_field(setting.frame_shape, output, cancel)
    config = ComparisonConfig(
        training=setting.training, seeds=seeds or setting.seeds, memory=setting.memory
    )
    material = yield from split_images(images, test, config, cancel)
    classical = yield from tuned(CLASSICAL, material.training, field, setting.training, cancel)
    compared = [*methods(setting.base_channels), *classical]
    comparison = yield from completed(
        compare(
            compared, images, field, config, test=test, output=output / "methods", cancel=cancel
        )
    )
    assert isinstance(comparison, Comparison)
    data = {"scale": scale, "lens": LENS.model_dump(mode="json"), "rows": flat_rows(comparison)}
    data |= origin_of(comparison)
    written = write_results(output, "lens", data, draw_lens(comparison, field))
    yield Finished("completed", f"Wrote {written[-1]}.", outputs=written, result=comparison)
