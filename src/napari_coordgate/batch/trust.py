"""Trust of the results of a batch: figures for the report, and maps beside the results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, Literal, NamedTuple

import numpy as np

from napari_coordgate.arrays import PixelArray
from napari_coordgate.config import BatchConfig, BatchRuntime, DeblurConfig, DeblurRuntime
from napari_coordgate.events import Event
from napari_coordgate.inference import DeblurMethod, FrameAlignment, assess_events
from napari_coordgate.io import Image
from napari_coordgate.trust import TrustVerdict


class TrustFigures(NamedTuple):
    """What the report says about the trust of a result; nothing if it was not asked for."""

    verdict: Literal["", "green", "amber", "red"] = ""
    contradicted: float | None = None
    expected_error: float | None = None


class MapMeans:
    """Takes the planes of a map, passes them on if a file is given, and keeps two means."""

    dtype = np.dtype(np.float32)

    def __init__(self, target: Any = None) -> None:
        self._target = target
        self._pixels, self._sum, self._over = 0, 0.0, 0

    def __setitem__(self, index: Any, values: PixelArray) -> None:
        plane = np.asarray(values)
        self._pixels += plane.size
        self._sum += float(plane.sum(dtype=np.float64))
        self._over += int(np.count_nonzero(plane > 1))
        if self._target is not None:
            self._target[index] = plane

    @property
    def mean(self) -> float:
        """Mean of the map."""
        return self._sum / max(self._pixels, 1)

    @property
    def share_over_1(self) -> float:
        """Fraction of the pixels above 1."""
        return self._over / max(self._pixels, 1)


def wants_trust(config: BatchConfig) -> bool:
    """Whether the trust of the results was asked for."""
    return config.trust or config.trust_maps


def assess_file(
    image: Image,
    method: DeblurMethod,
    alignment: FrameAlignment,
    config: BatchConfig,
    runtime: BatchRuntime,
    out: Any,
    create_map: Callable[[str], Any] | None,
    cancel: threading.Event,
) -> Generator[Event, None, tuple[TrustFigures, TrustVerdict]]:
    """Deblur an image into ``out``; ``create_map`` returns the file of a map of this name."""
    maps: dict[str, MapMeans] = {}

    def create(name: str) -> MapMeans:
        maps[name] = MapMeans(None if create_map is None else create_map(name))
        return maps[name]

    result = yield from assess_events(
        image,
        method,
        origin=alignment,
        config=config.select(DeblurConfig),
        runtime=runtime.select(DeblurRuntime),
        out=out,
        create_map=create,
        cancel=cancel,
    )
    contradiction, error = maps.get("contradiction_map"), maps.get("error_map")
    figures = TrustFigures(
        result.verdict.color,
        None if contradiction is None else round(contradiction.share_over_1, 5),
        None if error is None else float(f"{error.mean:.4g}"),
    )
    return figures, result.verdict
