"""Methods that are ready for use, compared on one image: the best for this very lens."""

import csv
import io
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.comparison.rows import BLURRED
from napari_coordgate.config import (
    Camera,
    DeblurRuntime,
    RichardsonLucyConfig,
    Scaling,
    WienerConfig,
)
from napari_coordgate.deconvolution import deconvolve_events
from napari_coordgate.errors import CanceledError, CoordGateError, ImageError, PSFError
from napari_coordgate.events import (
    Event,
    Finished,
    Progress,
    pluralize,
    raise_if_canceled,
    reporting_end,
)
from napari_coordgate.geometry import Window, field_radius
from napari_coordgate.inference import FrameAlignment, align_to_frame, deblur_events
from napari_coordgate.io import Image
from napari_coordgate.metrics import quality
from napari_coordgate.model import Model
from napari_coordgate.normalization import check_plane, fit_normalizer
from napari_coordgate.optics import PSFField
from napari_coordgate.simulation import center_crop_window, simulate

__all__ = ["AnyMethod", "MethodDone", "Scene", "as_csv", "blurred_scene", "compare_on_image"]

AnyMethod = Model | WienerConfig | RichardsonLucyConfig
SCALING = Scaling()
FIGURES = ("psnr", "ssim", "psnr_center", "psnr_middle", "psnr_edge")
SEED = 0
"""Of the camera's noise: the same in each comparison."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A blurred image, and the truth if it is known.

    Attributes
    ----------
    blurred : Image
        One plane, in its own units.
    sharp : ndarray, shape of ``blurred``, or None
        The truth, in the same units.
    origin : tuple of int
        Where the blurred image begins in the sharp one that it was made of, pixels.

    Raises
    ------
    ImageError
        If the two are not of one shape, or hold nothing to work with.
    """

    blurred: Image
    sharp: NDArray[Any] | None = None
    origin: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Check the pixels."""
        check_plane(self.blurred.pixels, self.blurred.name)
        if self.sharp is None:
            return
        check_plane(self.sharp, f"The truth of {self.blurred.name}")
        if self.sharp.shape != self.blurred.frame_shape:
            ours, theirs = ("x".join(map(str, s.shape)) for s in (self.blurred.data, self.sharp))
            raise ImageError(
                f"{self.blurred.name} is {ours} pixels, but its truth {theirs}; give a sharp "
                "image of the same part of the specimen."
            )

    def figures(self, restored: NDArray[Any]) -> dict[str, float]:
        """Figures of `quality` of a restored image; none where the truth is unknown."""
        if self.sharp is None:
            return {}
        low, high = fit_normalizer(self.sharp, SCALING, "The truth")
        sharp = self.sharp.astype(np.float32)
        return quality(sharp, restored, field_radius(restored.shape), high - low)


@dataclass(frozen=True, eq=False)
class MethodDone:
    """One method of a comparison has ended, well or badly.

    Attributes
    ----------
    name : str
        What the method is called.
    restored : ndarray of float32, shape (H, W), or None
        Its result in the units of the blurred image; none where it failed.
    figures : mapping of str to float
        Those of `quality`, in the truth's units; empty where the truth is unknown.
    seconds : float or None
        Time for the image, all preparation included.
    parameters : int or None
        Numbers that it learned; none where it learns nothing.
    note : str
        Why it failed, or what its user should know of the result.
    """

    name: str
    restored: NDArray[np.float32] | None
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    seconds: float | None = None
    parameters: int | None = None
    note: str = ""

    @property
    def is_input(self) -> bool:
        """Whether this is the blurred image as it is, and no method."""
        return self.restored is not None and self.seconds is None


def blurred_scene(sharp: Image, psf_field: PSFField, camera: Camera, seed: int = SEED) -> Scene:
    """Sharp image as a camera behind a lens would record it, so that the truth is known.

    Parameters
    ----------
    sharp : Image
        One plane, of the frame's size or larger; of a larger one, the middle is recorded.
    psf_field : PSFField
        The lens's blur.
    camera : Camera
        Its noise.
    seed : int
        Seed of the noise.

    Returns
    -------
    Scene
        The blurred image and the part of the sharp one that it shows.

    Raises
    ------
    FrameMismatchError
        If the image is smaller than the frame.
    ImageError
        If it holds nothing to work with.
    """
    pixels = sharp.pixels
    blurred = simulate(pixels, psf_field, camera, seed, scaling=SCALING, name=sharp.name)
    whole = Window.whole(sharp.frame_shape)
    window = center_crop_window(whole.shape, psf_field.frame_shape, sharp.name)
    recorded = replace(sharp, data=blurred, path=None, title=sharp.name)
    return Scene(recorded, pixels[window.within(whole)], window.origin)


def compare_on_image(
    scene: Scene,
    methods: Mapping[str, AnyMethod],
    psf_field: PSFField | None = None,
    *,
    camera: Camera | None = None,
    runtime: DeblurRuntime | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event | MethodDone]:
    """Restore one image by each method in turn.

    A method that fails is told with its reason, and the others go on. Nothing is trained.

    Parameters
    ----------
    scene : Scene
        The blurred image, and the truth if it is known.
    methods : mapping of str to Checkpoint, WienerConfig or RichardsonLucyConfig
        What to compare, by names.
    psf_field : PSFField, optional
        The lens's blur, which classical methods undo.
    camera : Camera, optional
        Noise of the blurred image, for methods that ask for it.
    runtime : DeblurRuntime, optional
        Tiles and device; results are float32.
    cancel : threading.Event, optional
        Once set, the comparison ends.

    Yields
    ------
    Progress
        Of each method; its stage is the method's name.
    MethodDone
        After each method; where the truth is known, the first is the blurred image as it is.
    Finished
        Once, at the end. If completed, its result is the list of all `MethodDone`.
    """
    bench = _Bench(scene, psf_field, camera, runtime or DeblurRuntime(), cancel)
    return reporting_end(bench.events(methods))


def as_csv(rows: Sequence[MethodDone], delimiter: str = ",") -> str:
    """Table of a comparison on one image, for spreadsheets.

    Parameters
    ----------
    rows : sequence of MethodDone
        Its lines.
    delimiter : str
        What stands between two values.

    Returns
    -------
    str
        A line of headings, then one for each method; what is unknown is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["method", *FIGURES, "seconds", "parameters", "note"])
    for row in rows:
        figures = [row.figures.get(name) for name in FIGURES]
        writer.writerow([row.name, *figures, row.seconds, row.parameters, row.note])
    return text.getvalue()


@dataclass(frozen=True, eq=False)
class _Bench:
    """What all methods of a comparison share."""

    scene: Scene
    psf_field: PSFField | None
    camera: Camera | None
    runtime: DeblurRuntime
    cancel: threading.Event | None

    def events(self, methods: Mapping[str, AnyMethod]) -> Iterator[Any]:
        """Events of the comparison, with a cancel raised."""
        done: list[MethodDone] = []
        if self.scene.sharp is not None:
            pixels = self.scene.blurred.pixels.astype(np.float32)
            done.append(MethodDone(BLURRED, pixels, self.scene.figures(pixels)))
            yield done[-1]
        for name, method in methods.items():
            raise_if_canceled(self.cancel, _so_far(done))
            yield Progress(name, 0, 1, 0.0)
            try:
                result = yield from self._run(name, method)
            except CanceledError:
                raise CanceledError(_so_far(done)) from None
            except CoordGateError as error:
                result = MethodDone(name, None, note=str(error))
            done.append(result)
            yield result
        yield Finished("completed", _conclusion(self.scene, done), result=done)

    def _run(self, name: str, method: AnyMethod) -> Generator[Event, None, MethodDone]:
        """Progress of one method, and what came of it."""
        began = time.perf_counter()
        parameters, note, where = None, "", None
        result: Any = None
        if isinstance(method, Model):
            where = align_to_frame(self.scene.blurred, method)
            note = where.note
            parameters = sum(weights.numel() for weights in method.network.parameters())
        restoring = self._restoring(method, where)
        while True:
            try:
                event = next(restoring)
            except StopIteration as end:
                result = end.value
                break
            if isinstance(event, Progress):
                yield replace(event, stage=name)
        seconds = time.perf_counter() - began
        restored = np.asarray(result, np.float32)
        figures = self.scene.figures(restored)
        return MethodDone(name, restored, figures, seconds, parameters, note)

    def _restoring(
        self, method: AnyMethod, where: FrameAlignment | None
    ) -> Generator[Event, None, NDArray[Any]]:
        image, cancel = self.scene.blurred, self.cancel
        if isinstance(method, Model):
            return deblur_events(image, method, origin=where, runtime=self.runtime, cancel=cancel)
        if self.psf_field is None:
            raise PSFError("This method needs the PSF field of the lens; choose one.")
        return deconvolve_events(
            image,
            self.psf_field,
            method,
            camera=self.camera,
            device=self.runtime.device,
            cancel=cancel,
        )


def _so_far(done: Sequence[MethodDone]) -> str:
    count = pluralize(sum(row.seconds is not None for row in done), "method")
    return f"Stopped; {count} had ended by then."


def _conclusion(scene: Scene, done: Sequence[MethodDone]) -> str:
    """What came of the comparison, in one line."""
    ended = [row for row in done if row.seconds is not None]
    failed = [row for row in done if row.restored is None]
    if not ended:
        raise ImageError(f"No method could restore {scene.blurred.name}; the table says why.")
    text = f"Compared {pluralize(len(ended), 'method')} on {scene.blurred.name}"
    if failed:
        text += f" ({len(failed)} failed)"
    if scene.sharp is None:
        return f"{text}; the truth is unknown, so judge by the pictures."
    best = max(done, key=lambda row: row.figures.get("psnr", -np.inf))
    return f"{text}; {best.name} is nearest to the truth: {best.figures['psnr']:.1f} dB."
