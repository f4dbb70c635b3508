"""Proof of a deblurring by two shifted images of one sample.

The same cells are seen once at the edge of the frame and once in the middle. The lens blurs them
differently; after the right deblurring they agree.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.arrays import PixelArray
from napari_coordgate.calibration.reading import as_images
from napari_coordgate.calibration.shifted import sample_fields
from napari_coordgate.calibration.shifted_fields import Field, field_shifts, given_shifts
from napari_coordgate.calibration.shifted_tiles import overlap, overlap_power, tile_pairs
from napari_coordgate.calibration.spectra import TILE, Array
from napari_coordgate.config import Camera, DeblurConfig, DeblurRuntime, Device, as_settings
from napari_coordgate.errors import ImageError
from napari_coordgate.events import Event, raise_if_canceled, run
from napari_coordgate.geometry import Window
from napari_coordgate.inference import AnyBlur, AnyMethod, deblur_events
from napari_coordgate.io import Image, plane_indices
from napari_coordgate.io.files import atomic_write, check_not_exists
from napari_coordgate.validation.agreement import (
    FREQUENCIES,
    ZoneAgreement,
    compare_zones,
    usable_pairs,
)
from napari_coordgate.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Float32 = NDArray[np.float32]
Outcome = Literal["better", "no better", "worse"]

CONFIG = DeblurConfig()
RUNTIME = DeblurRuntime()
PICTURE, FIGURES = "agreement.png", "agreement.json"
"""Files that `ShiftedValidation.save` writes."""
_LOST_DETAIL = 0.9


@dataclass(frozen=True, eq=False)
class ShiftedValidation:
    """By how much two shifted images of one sample agree better after deblurring.

    The agreement is 1 for equal images. Noise lowers that of the deblurred images only, and
    a deblurred image counts as far as the detail that both share is kept: neither smoothing nor
    removing noise raises it.

    Attributes
    ----------
    zones : tuple of ZoneAgreement
        Agreement of the content whose distance from the center of the frame differs little,
        more, and most between the images ("edge and middle").
    shift_px : ndarray, shape (2,)
        How far (y, x) the content of the first image moved in the second, pixels.
    names : tuple of str
        Names of the images.
    blurred, deblurred : ndarray of float32, shape (2, h, w)
        The part that both images show, in register to whole pixels, in each of them.

    Examples
    --------
    >>> import numpy as np
    >>> zone = ZoneAgreement("edge and middle", 35, 0.4, 0.8, (0.3, 0.5), 1.9)
    >>> result = ShiftedValidation((zone,), np.array([0.0, 256.0]), ("a.tif", "b.tif"))
    >>> result.outcome
    'better'
    """

    zones: tuple[ZoneAgreement, ...]
    shift_px: Array
    names: tuple[str, str]
    blurred: Float32 = field(default_factory=lambda: np.zeros((2, 0, 0), np.float32))
    deblurred: Float32 = field(default_factory=lambda: np.zeros((2, 0, 0), np.float32))

    @property
    def edge(self) -> ZoneAgreement:
        """Agreement of the edge with the middle, on which the outcome depends."""
        return self.zones[-1]

    @property
    def outcome(self) -> Outcome:
        """Whether edge and middle agree better, beyond the 95 % interval of the change."""
        low, high = self.edge.interval
        return "better" if low > 0 else "worse" if high < 0 else "no better"

    @property
    def verdict(self) -> str:
        """One sentence with numbers, and what to do if deblurring did not help."""
        edge, (low, high) = self.edge, self.edge.interval
        text = (
            f"Edge and middle agree {self.outcome} than before: {edge.before:.2f} -> "
            f"{edge.after:.2f} (change {edge.change:+.2f}, 95 % interval {low:+.2f} to {high:+.2f})"
        )
        if self.outcome == "better":
            return f"{text}, with {edge.detail:.1f} times the detail that both share."
        reason = "check the lens (calibrate, check) and the noise before using these results"
        if edge.detail < _LOST_DETAIL:
            reason = f"only {edge.detail:.0%} of the detail that both share is left; {reason}"
        return f"{text}; {reason}."

    def lines(self) -> list[str]:
        """Shift, agreement in each zone, and the verdict, as lines of text."""
        y, x = self.shift_px
        rows = [
            f"{zone.name} ({zone.tiles} tiles): {zone.before:.2f} -> {zone.after:.2f} "
            f"({zone.interval[0]:+.2f} to {zone.interval[1]:+.2f}), detail x {zone.detail:.1f}"
            for zone in self.zones
        ]
        return [f"Shift (y, x) of the content, pixels: {y:.1f}, {x:.1f}", *rows, self.verdict]

    def figures(self) -> dict[str, Any]:
        """All numbers, as JSON values."""
        return {
            "version": __version__,
            "images": list(self.names),
            "shift_px": [round(float(shift), 3) for shift in self.shift_px],
            "outcome": self.outcome,
            "verdict": self.verdict,
            "zones": [_zone_figures(zone) for zone in self.zones],
        }

    def draw(self) -> Figure:
        """Both images where they differ most, before and after, and the agreement by frequency."""
        from napari_coordgate.validation.drawing import draw_validation

        first, second = (Path(name).name for name in self.names)
        titles = (self.verdict, f"first: {first}", f"second: {second}")
        return draw_validation(self.zones, titles, self.blurred, self.deblurred, self.shift_px)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> tuple[Path, Path]:
        """Write the picture ``agreement.png`` and the numbers ``agreement.json`` into a folder.

        Parameters
        ----------
        folder : str or Path
            Folder, which is made if it is missing.
        overwrite : bool
            Replace files of these names.

        Returns
        -------
        tuple of Path
            The picture and the numbers.

        Raises
        ------
        OutputError
            If a file exists, or cannot be written.
        """
        picture, numbers = output_paths(folder)
        check_not_exists([picture, numbers], overwrite)
        with atomic_write(picture, overwrite) as temporary:
            self.draw().savefig(temporary, dpi=150)
        with atomic_write(numbers, overwrite) as temporary:
            temporary.write_text(json.dumps(self.figures(), indent=1) + "\n", encoding="utf-8")
        return picture, numbers


def output_paths(folder: str | Path) -> tuple[Path, Path]:
    """Picture and numbers of a validation in a folder."""
    return Path(folder) / PICTURE, Path(folder) / FIGURES


def validate_shifted(
    first: PixelArray | Image | str | Path,
    second: PixelArray | Image | str | Path,
    model: AnyMethod = "universal",
    *,
    psf_field: AnyBlur | None = None,
    camera: Camera | None = None,
    shifts_px: ArrayLike | None = None,
    axes: str | None = None,
    config: DeblurConfig = CONFIG,
    runtime: DeblurRuntime = RUNTIME,
    device: Device | None = None,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> ShiftedValidation:
    """Validate a deblurring without ground truth, by two shifted images of one sample.

    The stage moved the sample by about half of the frame along one side, so that the same cells are
    seen once at the edge and once in the middle. Both images are registered and deblurred. The
    right deblurring makes them agree better; a wrong lens does not.

    Parameters
    ----------
    first, second : array, shape (H, W), Image, str or Path
        The two images of the whole frame, or their files, in one channel and one focal plane.
    model : Model, UniversalModel, PSFField, Lens, GaussianLens, str or Path
        What deblurs, as for `deblur`.
    psf_field : PSFField, Lens, GaussianLens, str or Path, optional
        Blur of the lens, as for `deblur`.
    camera : Camera, optional
        Noise of the images, with ``electrons_per_count``; default: measured in the images.
    shifts_px : array_like of shape (2,), optional
        How far (y, x) the content of the first image moved in the second, pixels; it is refined by
        registration. Default: from the positions of the stage, where the files state them, else
        found by registration.
    axes : str, optional
        Axes of the images, as letters of TCZYX, if they do not state them.
    config : DeblurConfig
        Precision and method of deconvolution.
    runtime : DeblurRuntime
        Device, tile size and memory.
    device : {"auto", "cpu", "cuda", "mps"}, optional
        Device to compute on, instead of the one of ``runtime``.
    callback : callable, optional
        Called with each event of `validate_shifted_events`.
    cancel : threading.Event, optional
        Set it from another thread to stop the work.

    Returns
    -------
    ShiftedValidation
        Agreement before and after with intervals, verdict, and picture.

    Raises
    ------
    ImageError
        If the images differ in size or pixel size, are stacks, smaller than 128 x 128 pixels, share
        no content or too little, are not shifted, saturated, or without detail above the noise.
    FrameMismatchError, ModelError, PSFError, SettingsError, DeviceMemoryError
        As for `deblur`.
    CanceledError
        If canceled.

    Warns
    -----
    FrameMismatchWarning, LensMismatchWarning
        As for `deblur`.

    Notes
    -----
    The agreement is the mean over frequencies of 2 C / (P1 + P2), with the cross spectrum C and the
    power spectra P1 and P2 of both images in tiles of 64 x 64 pixels [1]_, from the coarsest
    frequency to that where the coherence before deblurring falls below 1/7. The noise is subtracted
    before deblurring only, and loss of shared detail counts as loss of agreement. The intervals are
    from a bootstrap over blocks of 64 x 64 pixels, with Student's t.

    References
    ----------
    .. [1] L. I.-K. Lin, "A concordance correlation coefficient to evaluate reproducibility",
       Biometrics 45, 255 (1989).

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import GaussianLens, PSFField, validate_shifted
    >>> lens = GaussianLens(sigma_center_px=0.6, sigma_edge_px=2.5)
    >>> psf_field = PSFField.from_lens(lens, (256, 256), 0.03)
    >>> rng = np.random.default_rng(0)
    >>> scene = 5000.0 * (rng.random((400, 520)) > 0.99) + 20
    >>> images = [rng.poisson(psf_field.blur(scene, origin=(-70, x))) for x in (-200, -80)]
    >>> validate_shifted(*images, "richardson-lucy", psf_field=psf_field).outcome
    'better'
    """
    events = validate_shifted_events(
        first,
        second,
        model,
        psf_field=psf_field,
        camera=camera,
        shifts_px=shifts_px,
        axes=axes,
        config=config,
        runtime=runtime,
        device=device,
        cancel=cancel,
    )
    return run(events, callback)


def validate_shifted_events(
    first: PixelArray | Image | str | Path,
    second: PixelArray | Image | str | Path,
    model: AnyMethod = "universal",
    *,
    psf_field: AnyBlur | None = None,
    camera: Camera | None = None,
    shifts_px: ArrayLike | None = None,
    axes: str | None = None,
    config: DeblurConfig = CONFIG,
    runtime: DeblurRuntime = RUNTIME,
    device: Device | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, ShiftedValidation]:
    """Generator form of `validate_shifted`, with the same parameters, warnings and errors.

    Yields
    ------
    Progress
        After each tile or iteration of the deblurring.
    PlaneDone
        After each image.
    Note
        Why the lens was not checked, if it was not.

    Returns
    -------
    ShiftedValidation
        Agreement before and after.
    """
    raise_if_canceled(cancel, "Stopped before reading the images.")
    config = as_settings(config, DeblurConfig, "config")
    if camera is not None:
        config = config.replace(camera=as_settings(camera, Camera, "camera"))
    images = as_images([first, second], axes)
    fields = _two_fields(images)
    names = f"{fields[0].name} and {fields[1].name}"
    shift = field_shifts(fields, images[0], given_shifts(shifts_px, None, 1.0, 2))[1]
    windows = _shared_windows(fields, shift, names)
    raise_if_canceled(cancel, "Stopped before deblurring the images.")
    planes = fields[0].plane, fields[1].plane
    before = usable_pairs(tile_pairs(planes, (0, 1), shift, config.camera), names)
    stack = Image(np.stack(planes), "TYX", images[0].pixel_size_um, title=names)
    deblurred = yield from deblur_events(
        stack,
        model,
        psf_field=psf_field,
        config=config.replace(keep_dtype=False),
        runtime=runtime,
        device=device,
        cancel=cancel,
    )
    raise_if_canceled(cancel, "Stopped before comparing the images.")
    after = overlap_power((deblurred[0], deblurred[1]), shift)[before.number]
    zones = compare_zones(before, after, stack.frame_shape, names)
    return ShiftedValidation(
        zones,
        shift,
        (fields[0].name, fields[1].name),
        _shared(planes, windows),
        _shared(deblurred, windows),
    )


def _two_fields(images: Sequence[Image]) -> list[Field]:
    """Planes of both images, which are checked."""
    for image in images:
        if (count := sum(1 for _ in plane_indices(image))) != 1:
            raise ImageError(
                f"{image.name} has {count} planes; give two images of one plane each, of the same "
                "sample before and after it was moved."
            )
    if len(images) != 2:
        raise ImageError(f"{len(images)} images were given; give two, not folders.")
    return sample_fields(images)


def _shared_windows(fields: Sequence[Field], shift: Array, names: str) -> tuple[Window, Window]:
    """Windows of both images that show the same; ImageError if they are too small for tiles."""
    height, width = fields[0].plane.shape
    windows = overlap((height, width), shift)
    if min(windows[0].shape) < TILE:
        raise ImageError(
            f"{names} share only {windows[0].height} x {windows[0].width} pixels, at least {TILE} "
            f"on each side are needed; shift the sample by a quarter to half of the frame."
        )
    return windows


def _shared(planes: Sequence[Float32] | Float32, windows: tuple[Window, Window]) -> Float32:
    """What both planes show, (2, h, w)."""
    height, width = planes[0].shape
    whole = Window.whole((height, width))
    parts = [plane[window.within(whole)] for plane, window in zip(planes, windows, strict=True)]
    return np.stack(parts)


def _zone_figures(zone: ZoneAgreement) -> dict[str, Any]:
    """Numbers of a zone, as JSON values."""
    curves = {
        "frequency_per_px": FREQUENCIES[: len(zone.before_by_frequency)],
        "before_by_frequency": zone.before_by_frequency,
        "after_by_frequency": zone.after_by_frequency,
    }
    return {
        "name": zone.name,
        "tiles": zone.tiles,
        "before": round(zone.before, 4),
        "after": round(zone.after, 4),
        "change": round(zone.change, 4),
        "interval": [round(end, 4) for end in zone.interval],
        "detail": round(zone.detail, 4),
        **{name: [round(float(v), 4) for v in values] for name, values in curves.items()},
    }
