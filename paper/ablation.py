"""Which parts of the CG U-Net matter (paper, supplement): each changed alone, all else the same."""

import threading
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from napari_coordgate.comparison import compare
from napari_coordgate.config import Camera, ComparisonConfig, Method, NetworkConfig, TrainingConfig
from napari_coordgate.data import Images
from napari_coordgate.events import Event, Finished, reporting_end
from paper.drawing import draw_ablation
from paper.lens import SCALES, Setting, psf_field
from paper.results import completed, flat_rows, origin_of, write_results

__all__ = ["NETWORKS", "TRAININGS", "run"]

BASE = "CG U-Net(3)"
PLAIN = "U-Net(3)"

NETWORKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        BASE: {},
        PLAIN: {"architecture": "unet"},
        "encoder 8 wide": {"encoder_width": 8},
        "encoder 128 wide": {"encoder_width": 128},
        "encoder of 1 layer": {"encoder_layers": 1},
        "encoder of 3 layers": {"encoder_layers": 3},
        "GELU": {"activation": "gelu"},
        "gate g": {"gate_output": "identity"},
        "gate ReLU(g)": {"gate_output": "relu"},
        "gates down only": {"gate_points": "down"},
        "gates up only": {"gate_points": "up"},
        "no residual output": {"residual": False},
        "as in the paper: gate g, no residual": {"gate_output": "identity", "residual": False},
        "U-Net(3), no residual": {"architecture": "unet", "residual": False},
    }
)
"""Networks by name, each told by its difference from the base."""

TRAININGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "whole frames": {},
        "windows of the frame": {"sampling": "window", "batch_size": 16, "window_size": 32},
        "no noise": {"camera": Camera()},
        "noise of 200 photons": {"camera": Camera(photons=200, read_noise=3)},
    }
)
"""Trainings by name, each told by its difference from the base; windows hold as many pixels."""


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
    """Train and compare all variants, and draw the figure.

    Parameters
    ----------
    scale, seeds, output, images, test, cancel, setting
        As for `paper.lens.run`.

    Yields
    ------
    Progress, Preview
        Of the trainings and tests.
    Finished
        Once, at the end. If completed, its result are the rows of the table.
    """
    size = setting or SCALES[scale]

    def events() -> Iterator[Event]:
        rows: list[dict[str, Any]] = []
        field = psf_field(size.frame_shape, output, cancel)
        for name in TRAININGS:
            config = ComparisonConfig(
                training=_training(name, size),
                seeds=seeds or size.ablation_seeds,
                memory=False,
            )
            comparison = yield from completed(
                compare(
                    _methods(name, size),
                    images,
                    field,
                    config,
                    test=test,
                    output=output / name.replace(" ", "-"),
                    cancel=cancel,
                )
            )
            rows += [{"training": name, **row} for row in flat_rows(comparison)]
        data = {"scale": scale, "base": BASE, "rows": rows, **origin_of(comparison)}
        written = write_results(output, "ablation", data, draw_ablation(rows, BASE))
        yield Finished("completed", f"Wrote {written[-1]}.", outputs=written, result=rows)

    return reporting_end(events())


def _training(name: str, setting: Setting) -> TrainingConfig:
    """Settings of one of the trainings."""
    return setting.training.model_copy(update={**setting.ablation_length, **TRAININGS[name]})


def _methods(training: str, setting: Setting) -> list[Method]:
    """All networks for the base's training, the base and the plain U-Net for the others."""
    names = NETWORKS if training == next(iter(TRAININGS)) else (BASE, PLAIN)
    basis = {"depth": 3, "base_channels": setting.base_channels}
    return [
        Method(name=name, network=NetworkConfig.model_validate({**basis, **NETWORKS[name]}))
        for name in names
    ]
