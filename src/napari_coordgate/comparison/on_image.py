"""Compare trained models and classical methods on one image."""

import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.comparison.comparison import Row
from napari_coordgate.comparison.evaluation import Evaluation, ImagePair, evaluate
from napari_coordgate.comparison.methods import (
    AnyMethod,
    ReadyMethod,
    image_method,
    kind_of,
    unchanged,
)
from napari_coordgate.config import Camera, DeblurRuntime, Scaling
from napari_coordgate.errors import CanceledError, CoordGateError, ImageError
from napari_coordgate.events import Event, Progress, pluralize, raise_if_canceled
from napari_coordgate.geometry import Window
from napari_coordgate.inference import DeblurResult
from napari_coordgate.io import Image
from napari_coordgate.normalization import check_plane, fit_normalizer
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import center_crop_window, simulate

SCALING, DEFAULT_RUNTIME = Scaling(), DeblurRuntime()
SEED = 0
"""Seed of the camera's noise, the same in each comparison."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Blurred plane, and the sharp one (h, w) in the same units if it is known."""

    blurred: Image
    sharp: NDArray[Any] | None = None
    origin: tuple[int, int] = (0, 0)
    """First pixel of the blurred image in the sharp image that it was simulated from."""

    def __post_init__(self) -> None:
        """Check the pixels."""
        check_plane(self.blurred.pixels, self.blurred.name)
        if self.sharp is None:
            return
        check_plane(self.sharp, f"The sharp image of {self.blurred.name}")
        if self.sharp.shape != self.blurred.frame_shape:
            ours, theirs = ("x".join(map(str, s.shape)) for s in (self.blurred.data, self.sharp))
            raise ImageError(
                f"{self.blurred.name} is {ours} pixels, but its sharp image {theirs}; choose a "
                "sharp image of the same part of the specimen."
            )

    def pair(self) -> ImagePair:
        """Pair to evaluate methods on; metrics relate to the range of the sharp image."""
        window = Window.whole(self.blurred.frame_shape)
        if self.sharp is None:
            return ImagePair(np.empty((0, 0), np.float32), self.blurred.pixels, window)
        low, high = fit_normalizer(self.sharp, SCALING, "The sharp image")
        sharp = self.sharp.astype(np.float32)
        return ImagePair(sharp, self.blurred.pixels, window, high - low)


@dataclass(frozen=True, eq=False)
class MethodDone:
    """Event: one method has ended, with its restored image (h, w) unless it failed."""

    row: Row
    restored: NDArray[np.float32] | None


def blurred_scene(sharp: Image, psf_field: PSFField, camera: Camera, seed: int = SEED) -> Scene:
    """Simulate how a camera records a sharp plane; of a larger one the center is recorded."""
    pixels = sharp.pixels
    blurred = simulate(pixels, psf_field, camera, seed, scaling=SCALING, name=sharp.name)
    whole = Window.whole(sharp.frame_shape)
    window = center_crop_window(whole.shape, psf_field.frame_shape, sharp.name)
    recorded = replace(sharp, data=blurred, path=None, title=sharp.name)
    return Scene(recorded, pixels[window.within(whole)], window.origin)


def compare_on_image_events(
    scene: Scene,
    methods: Mapping[str, AnyMethod],
    psf_field: PSFField | None = None,
    *,
    camera: Camera | None = None,
    runtime: DeblurRuntime = DEFAULT_RUNTIME,
    cancel: threading.Event | None = None,
) -> Generator[Event | MethodDone, None, list[MethodDone]]:
    """Restore one image by each method in turn; a method that fails does not stop the others.

    If the sharp image is not known, each result is judged instead, as by `assess`.

    Yields `Progress` whose stage is the method's name, and `MethodDone` after each method; if
    the sharp image is known, the first is the blurred image as it is.
    """
    pair, done = scene.pair(), list[MethodDone]()
    if pair.sharp.size:
        done.append((yield from _evaluate(unchanged(), pair, cancel)))
        yield done[-1]
    for name, method in methods.items():
        raise_if_canceled(cancel, _canceled(done))
        yield Progress(name, 0, 1, 0.0)
        try:
            ready = image_method(
                name,
                method,
                scene.blurred,
                psf_field,
                camera=camera,
                runtime=runtime,
                trust=not pair.sharp.size,
                cancel=cancel,
            )
            result = yield from _evaluate(ready, pair, cancel)
        except CanceledError:
            raise CanceledError(_canceled(done)) from None
        except CoordGateError as error:
            row = Row(method=name, kind=kind_of(method), quality={}, note=str(error))
            result = MethodDone(row, None)
        done.append(result)
        yield result
    if not _succeeded(done):
        raise ImageError(f"No method could restore {scene.blurred.name}; the table says why.")
    return done


def _evaluate(
    method: ReadyMethod, pair: ImagePair, cancel: threading.Event | None
) -> Generator[Event, None, MethodDone]:
    """Evaluate a method on one pair; its progress carries its name."""
    is_method = method.kind != "blurred"
    events = evaluate(method, [pair], pair.window.shape, cancel=cancel)
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            result: Evaluation = end.value
            break
        if is_method and isinstance(event, Progress):
            yield replace(event, stage=method.name)
    seconds = result.seconds[0] if is_method else None
    row = result.row(method).model_copy(update={"inference_seconds": seconds})
    if method.assessed:
        row = _judged(row, method.assessed[0])
    return MethodDone(row, np.asarray(result.restored[0], np.float32))


def _judged(row: Row, result: DeblurResult) -> Row:
    """Row with the verdict on its result, and why it is red."""
    error, compared = result.error_map, result.contradiction_map
    red = (finding.message for finding in result.verdict.findings if finding.color == "red")
    trust = {
        "verdict": result.verdict.color,
        "contradicted": None if compared is None else float(np.mean(compared > 1)),
        "expected_error": None if error is None else float(np.mean(error)),
        "note": " ".join(filter(None, [row.note, *red])),
    }
    return row.model_copy(update=trust)


def _succeeded(done: Sequence[MethodDone]) -> list[MethodDone]:
    """Methods that restored the image."""
    return [one for one in done if one.row.inference_seconds is not None]


def _canceled(done: Sequence[MethodDone]) -> str:
    return f"Canceled after {pluralize(len(_succeeded(done)), 'method')}."


def summarize_methods(name: str, rows: Sequence[Row]) -> str:
    """Sentence on a comparison on the image of this name."""
    methods = [row for row in rows if row.kind != "blurred"]
    failed = sum(row.inference_seconds is None for row in methods)
    text = f"Compared {pluralize(len(methods) - failed, 'method')} on {name}"
    if failed:
        text += f" ({failed} failed)"
    best = best_row(rows)
    if best is None:
        return f"{text}; the sharp image is unknown, so compare the images by eye."
    reached = best.quality["psnr"]
    if best.kind == "blurred":
        return f"{text}; none is better than the blurred image ({reached:.1f} dB)."
    blurred = ", ".join(f"{row.quality['psnr']:.1f}" for row in rows if row.kind == "blurred")
    return f"{text}; {best.method} is best: {reached:.1f} dB, blurred {blurred} dB."


def best_row(rows: Sequence[Row]) -> Row | None:
    """Row of the highest PSNR; None where the sharp image is unknown."""
    measured = (row for row in rows if "psnr" in row.quality)
    return max(measured, key=lambda row: row.quality["psnr"], default=None)
