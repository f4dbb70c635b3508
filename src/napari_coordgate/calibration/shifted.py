"""The focus of a lens over the frame, from shifted, overlapping images of one sample.

The same content is blurred differently at different places of the frame: the difference tells the
lens, whatever the content is.
"""

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from napari_coordgate.calibration.lens_fit import LensFit
from napari_coordgate.calibration.reading import Images, as_images
from napari_coordgate.calibration.shifted_fields import Field, field_shifts, given_shifts
from napari_coordgate.calibration.shifted_fit import (
    MODEL_ERROR,
    ROUGH_ERROR,
    CrossFit,
    CrossRelation,
)
from napari_coordgate.calibration.shifted_tiles import TilePairs, overlap, tile_pairs
from napari_coordgate.calibration.shifted_transfer import TransferTable, table_of
from napari_coordgate.calibration.spectra import FREQUENCY, TILE, Array, Bools
from napari_coordgate.config import Camera, Lens, LensCalibration
from napari_coordgate.errors import ImageError, SettingsError
from napari_coordgate.events import Event, Stopwatch, pluralize, raise_if_canceled, run
from napari_coordgate.geometry import format_shape
from napari_coordgate.io import Image, calibration_facts, plane_indices
from napari_coordgate.normalization import check_plane

PARAMETERS = ("defocus_um", "field_curvature_um", "tilt_um.y", "tilt_um.x")
FREE = ("defocus_um", "field_curvature_um", "tilt_um")
"""Parameters that shifted images can tell; an axis off the center looks like a tilt."""

_MIN_SIDE = 2 * TILE
_LEAST_LIMIT = 0.25  # Cycles per pixel; lower frequencies are used in any case.
_MIN_TILES = 12
_MAX_TILES = 300
_START_TILES = 40
_PRIOR_DEPTHS = np.array([3.0, 6.0, 3.0, 3.0])  # Prior width, in units of the depth of field.
_REFOCUS_DEPTHS = 0.5  # By which the focus may differ between the images.
_START_CURVATURES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.55, 0.7)  # Of the deepest defocus in the table.
_START_DEFOCUS = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
_STARTS = 4
_SYSTEMATIC = 0.06  # Relative error that the scatter of the tiles cannot show; measured.
_SYSTEMATIC_DEPTHS = 0.1
_MAX_MISFIT = 3.0  # Median of the tiles, beyond which no such lens made the images.
_ALLOWED, _ALLOWED_DEPTHS = 0.1, 0.25  # Error of a curvature that is of use.
_BANDS: Mapping[str, Bools] = {
    "low frequencies": FREQUENCY < 0.2,
    "high frequencies": FREQUENCY > 0.11,
}


@dataclass(frozen=True, eq=False)
class ShiftedFit(LensFit):
    """Lens whose focus over the frame was measured with shifted images of one sample.

    Attributes
    ----------
    is_conclusive : bool
        Whether overlap and detail suffice: the error is small, low and high frequencies
        agree, and the images fit the lens. Otherwise take more fields, or beads.
    second_opinion : mapping of str to float
        Field curvature from the low and from the high frequencies alone, um.
    shifts_px : ndarray, shape (N, 2)
        Shift (y, x) of the content of each image against the first.
    refocus_um : ndarray, shape (N,)
        Defocus that each image adds to that of the first.
    tiles : int
        Number of tiles of 64 x 64 pixels that were compared.
    positions : ndarray, shape (tiles, 2, 2)
        Frame coordinates (y, x) of each tile in both images.
    misfit : ndarray, shape (tiles,)
        Misfit of each tile; about 1 or less if only noise is left.
    """

    is_conclusive: bool = True
    second_opinion: Mapping[str, float] = field(default_factory=dict)
    shifts_px: Array = field(default_factory=lambda: np.zeros((0, 2)))
    refocus_um: Array = field(default_factory=lambda: np.zeros(0))
    tiles: int = 0
    positions: Array = field(default_factory=lambda: np.zeros((0, 2, 2)))
    misfit: Array = field(default_factory=lambda: np.zeros(0))

    def _figures(self) -> dict[str, Figure]:
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = figure.add_subplot()
        y, x = (self.positions[:, 0, i] for i in (0, 1))
        shown = axes.scatter(x, y, c=self.misfit, s=12, vmin=0, vmax=3)
        axes.set(xlim=(-1, 1), ylim=(1, -1), xlabel="x", ylabel="y", aspect="equal")
        figure.colorbar(shown, ax=axes, label="misfit (noise alone: about 1 or less)")
        return {"Tiles in the first image of each pair": figure} | super()._figures()


@dataclass(frozen=True, eq=False)
class _Problem:
    """What the fits to the same images share."""

    lens: Lens
    table: TransferTable
    pairs: TilePairs
    frame_shape: tuple[int, int]
    images: int
    free: tuple[int, ...]

    @property
    def depth_um(self) -> float:
        """Depth of field of the lens."""
        return self.lens.wavelength_nm * 1e-3 * self.lens.refractive_index / self.lens.na**2

    @property
    def sign(self) -> float:
        """Sign of the field curvature, which one plane cannot tell."""
        return -1.0 if self.lens.field_curvature_um < 0 else 1.0

    def relation(self, number: int, rings: Bools | None = None) -> CrossRelation:
        """Misfit of at most so many of the tiles."""
        count = len(self.pairs)
        part = np.unique(np.linspace(0, count - 1, min(number, count)).astype(np.intp))
        sd = np.append(_PRIOR_DEPTHS, np.full(self.images - 1, _REFOCUS_DEPTHS)) * self.depth_um
        cutoff = 2e3 * self.lens.na * self.lens.pixel_size_um / self.lens.wavelength_nm
        used = max(1.0 - cutoff, _LEAST_LIMIT) > FREQUENCY  # Others are aliased.
        return CrossRelation(
            self.pairs[part],
            self.table,
            self.frame_shape,
            self.lens.axis,
            sd,
            used if rings is None else used & rings,
        )

    def starts(self) -> list[Array]:
        """The most likely points of a grid over defocus and field curvature."""
        held = np.zeros(3 + self.images)
        held[:4] = self.lens.defocus_um, self.lens.field_curvature_um, *self.lens.tilt_um
        depth = self.sign * self.table.max_defocus_um
        curvatures = [c * depth for c in _START_CURVATURES] if 1 in self.free else [held[1]]
        values = [z * depth for z in _START_DEFOCUS] if 0 in self.free else [held[0]]
        points = []
        for curvature in curvatures:
            for defocus in values:
                point = held.copy()
                point[:2] = defocus, curvature
                points.append(point)
        relation = self.relation(_START_TILES)
        return sorted(points, key=relation.start_misfit)[:_STARTS]


def calibrate_shifted(
    images: Images,
    lens: Lens,
    *,
    shifts_px: ArrayLike | None = None,
    shifts_um: ArrayLike | None = None,
    camera: Camera | None = None,
    free: Sequence[str] = FREE,
    axes: str | None = None,
    callback: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> ShiftedFit:
    """Measure the focus of a lens over the frame with shifted images of one sample.

    The stage moves the sample between the images, so that the same content is seen at other places
    of the frame. Its blur there differs, and the difference tells the defocus, field
    curvature and tilt. Nothing is assumed of the sample. Two images suffice, one shifted along
    both sides of the frame by a quarter to half of it; three are better.

    Parameters
    ----------
    images : array, Image, str or Path, or sequence of them
        Two or more images of the whole frame that overlap with the first, in one channel and one
        focal plane; or their files, or a folder of them.
    lens : Lens
        What is known: NA, wavelength, pixel size, refractive index; and the values of other
        parameters, which are held.
    shifts_px : array_like of shape (N - 1, 2), optional
        How far (y, x) the content of the first image moved in each of the others, pixels. They are
        refined by registration. Default: from the positions of the stage where the files state
        them, else found by registration.
    shifts_um : array_like of shape (N - 1, 2), optional
        The same in um.
    camera : Camera, optional
        Noise of the camera, with ``electrons_per_count``; default: measured in the images.
    free : sequence of str
        Parameters to estimate, of "defocus_um", "field_curvature_um" and "tilt_um".
    axes : str, optional
        Axes of the images, as letters of TCZYX, if they do not state them.
    callback : callable, optional
        Called with each event of `calibrate_shifted_events`.
    cancel : threading.Event, optional
        Set it from another thread to stop the work.

    Returns
    -------
    ShiftedFit
        The lens with error bars, and whether overlap and detail suffice.

    Raises
    ------
    ImageError
        If there is one image only, if they differ in size or pixel size, are smaller than 128 x 128
        pixels, in color or of several channels, do not overlap, are not shifted, cannot be
        registered, or have too little detail above the noise.
    SettingsError
        If the lens has no NA, shifts are not pairs, or a parameter cannot be estimated.
    CanceledError
        If canceled.

    Notes
    -----
    One plane cannot tell on which side of the focus it is: the field curvature is assumed to
    have the sign of that of ``lens``, or to be positive. An axis off the center cannot be told
    from a tilt; the axis of ``lens`` is kept. The focus may differ a little between the images.

    References
    ----------
    G. Xu, H. Liu, L. Tong and T. Kailath, "A least-squares approach to blind channel
    identification", IEEE Trans. Signal Process. 43, 2982 (1995).

    Examples
    --------
    >>> import numpy as np
    >>> from napari_coordgate import Lens, PSFField, calibrate_shifted
    >>> lens = Lens(na=0.5, wavelength_nm=520, pixel_size_um=0.325)
    >>> psf_field = PSFField.from_lens(lens.replace(field_curvature_um=4), (200, 200), 0.1)
    >>> scene = np.random.default_rng(0).random((300, 300)) > 0.99
    >>> origins = (-20, -20), (-80, -70)
    >>> fields = [psf_field.blur(10.0 * scene, origin=origin) for origin in origins]
    >>> fit = calibrate_shifted(np.stack(fields), lens, shifts_px=(-60, -50))
    >>> bool(3 < fit.lens.field_curvature_um < 5)
    True
    """
    events = calibrate_shifted_events(
        images,
        lens,
        shifts_px=shifts_px,
        shifts_um=shifts_um,
        camera=camera,
        free=free,
        axes=axes,
        cancel=cancel,
    )
    return run(events, callback)


def calibrate_shifted_events(
    images: Images,
    lens: Lens,
    *,
    shifts_px: ArrayLike | None = None,
    shifts_um: ArrayLike | None = None,
    camera: Camera | None = None,
    free: Sequence[str] = FREE,
    axes: str | None = None,
    cancel: threading.Event | None = None,
) -> Generator[Event, None, ShiftedFit]:
    """Generator form of `calibrate_shifted`, with the same parameters and errors.

    Yields
    ------
    Progress
        After each pair of images, and each fit.

    Returns
    -------
    ShiftedFit
        The lens with error bars.
    """
    free_index = _free_parameters(lens, free)
    raise_if_canceled(cancel, "Stopped before reading the images.")
    sources = as_images(images, axes)
    fields = sample_fields(sources)
    given = given_shifts(shifts_px, shifts_um, lens.pixel_size_um, len(fields))
    shifts = field_shifts(fields, sources[0], given)
    numbers = [
        pair for pair in combinations(range(len(fields)), 2) if _overlaps(fields, shifts, pair)
    ]
    stopwatch, parts = Stopwatch("comparing images", len(numbers)), []
    for count, (i, j) in enumerate(numbers):
        raise_if_canceled(cancel, f"Stopped after {pluralize(count, 'pair')} of images.")
        planes = fields[i].plane, fields[j].plane
        parts.append(tile_pairs(planes, (i, j), shifts[j] - shifts[i], camera))
        yield stopwatch.progress(count + 1)
    pairs = _enough(TilePairs.concatenate(parts), sources[0])
    frame_shape = sources[0].frame_shape
    problem = _Problem(lens, table_of(lens), pairs, frame_shape, len(fields), free_index)
    fits = Stopwatch("fitting the lens", _STARTS + 3)
    every = (*free_index, *range(4, 3 + len(fields)))
    rough: list[CrossFit] = []
    for start in problem.starts():
        raise_if_canceled(cancel, "Stopped while fitting the lens.")
        rough.append(
            problem.relation(_START_TILES).fit(
                start, every, steps=12, model_errors=(ROUGH_ERROR,) * 2
            )
        )
        yield fits.progress(len(rough))
    raise_if_canceled(cancel, "Stopped while fitting the lens.")
    relation = problem.relation(_MAX_TILES)
    closest = min(rough, key=lambda fit: float(np.median(fit.misfit)))
    best = relation.fit(closest.focus, every)
    yield fits.progress(_STARTS + 1)
    opinions = {}
    for number, (name, rings) in enumerate(_BANDS.items(), _STARTS + 2):
        raise_if_canceled(cancel, "Stopped while fitting the lens.")
        part = problem.relation(_MAX_TILES // 2, rings)
        opinions[name] = float(
            part.fit(best.focus, every, steps=8, model_errors=(MODEL_ERROR,) * 2).focus[1]
        )
        yield fits.progress(number)
    return _result(problem, relation, best, opinions, sources, shifts)


def _free_parameters(lens: Lens, free: Sequence[str]) -> tuple[int, ...]:
    """Indices of free parameters into `PARAMETERS`."""
    if not isinstance(lens, Lens):
        raise SettingsError(
            f"lens must be a Lens with an NA, got {type(lens).__name__}; images of a lens without "
            "one can be deblurred with PSFs measured on beads."
        )
    unknown = set(free) - set(FREE)
    if unknown or not free:
        raise SettingsError(
            f"{', '.join(sorted(unknown)) or 'Nothing'} cannot be estimated from shifted images; "
            f"choose of {', '.join(FREE)}, or take beads (calibrate beads)."
        )
    return tuple(i for i, name in enumerate(PARAMETERS) if name.partition(".")[0] in free)


def sample_fields(images: Sequence[Image]) -> list[Field]:
    """Planes of images of one sample, which are checked."""
    fields = []
    for image in images:
        _check_image(image, images[0])
        stage = image.optics.stage_y_um, image.optics.stage_x_um
        known = [item.value for item in stage if item is not None]
        position = np.array(known) if len(known) == 2 else None
        indices = list(plane_indices(image))
        for number, index in enumerate(indices):
            plane = image.plane(index)
            check_plane(plane, image.name)
            alone = len(indices) == 1
            name = image.name if alone else f"plane {number} of {image.name}"
            fields.append(Field(plane.astype(np.float32), name, position if alone else None))
    if len(fields) < 2:
        raise ImageError(
            f"{images[0].name} is one image; give two or more of the same sample, shifted by a "
            "quarter to half of the frame, or use calibrate_images (calibrate images)."
        )
    return fields


def _check_image(image: Image, first: Image) -> None:
    """Raise ImageError unless an image shows the frame in one color and focus, as the first."""
    lengths = dict(zip(image.axes, image.data.shape, strict=True))
    if lengths.get("C", 1) > 1:
        raise ImageError(f"{image.name} has several channels, whose blur differs; select one.")
    if lengths.get("Z", 1) > 1 and image.z_step_um is not None:
        raise ImageError(
            f"{image.name} is a z stack, whose planes differ in focus; select the plane in focus, "
            "or use calibrate_focus (calibrate focus)."
        )
    if image.frame_shape != first.frame_shape:
        raise ImageError(
            f"{image.name} is {format_shape(image.frame_shape)} pixels, but {first.name} is "
            f"{format_shape(first.frame_shape)}; give whole frames of one camera."
        )
    if min(image.frame_shape) < _MIN_SIDE:
        raise ImageError(
            f"{image.name} is {format_shape(image.frame_shape)} pixels; use the whole frame, of at "
            f"least {_MIN_SIDE} x {_MIN_SIDE} pixels."
        )
    size, first_size = image.pixel_size_um, first.pixel_size_um
    if size and first_size and not np.allclose(size, first_size, rtol=0.01):
        raise ImageError(
            f"{image.name} and {first.name} have different pixel sizes; give images of one "
            "objective and camera setting."
        )


def _overlaps(fields: Sequence[Field], shifts: Array, pair: tuple[int, int]) -> bool:
    """Whether two fields share tiles that are shifted enough to differ in blur."""
    shape = fields[0].plane.shape
    shift = shifts[pair[1]] - shifts[pair[0]]
    window = overlap((shape[0], shape[1]), shift)[0]
    return min(window.shape) >= TILE and bool(np.abs(shift).max() >= min(shape) / 20)


def _enough(pairs: TilePairs, image: Image) -> TilePairs:
    """Tiles with detail; ImageError if they are too few."""
    usable = pairs.with_detail()
    if len(usable) < _MIN_TILES:
        raise ImageError(
            f"Not enough overlap or detail: {len(usable)} of {len(pairs)} tiles that {image.name} "
            f"and the others share have detail above the noise, at least {_MIN_TILES} are needed; "
            "use images with structure all over the frame, or beads (calibrate beads)."
        )
    return usable


def _result(
    problem: _Problem,
    relation: CrossRelation,
    best: CrossFit,
    opinions: dict[str, float],
    images: list[Image],
    shifts: Array,
) -> ShiftedFit:
    """Lens with error bars, and whether it can be trusted."""
    focus, lens = best.focus.copy(), problem.lens
    is_even = not any((lens.spherical_waves, lens.coma_waves, *lens.axial_coma_waves))
    if is_even and 1 in problem.free and focus[1] * problem.sign < 0:
        focus = -focus
        opinions = {name: -value for name, value in opinions.items()}
    errors = _standard_errors(problem, best)
    misfit = float(np.median(best.misfit))
    is_conclusive, notes = _judge(problem, focus, errors, opinions, misfit)
    text = ", ".join(image.name for image in images[:3])
    calibration = LensCalibration(
        method="shifted images",
        standard_errors=errors,
        date=date.today().isoformat(),
        images=text if len(images) <= 3 else f"{text}, ...",
        notes=notes,
        **calibration_facts(images[0]),
    )
    values = focus.tolist()
    fitted = lens.replace(
        defocus_um=values[0],
        field_curvature_um=values[1],
        tilt_um=(values[2], values[3]),
        calibration=calibration,
    )
    return ShiftedFit(
        lens=fitted,
        frame_shape=problem.frame_shape,
        standard_errors=errors,
        notes=notes,
        is_conclusive=is_conclusive,
        second_opinion=opinions,
        shifts_px=shifts,
        refocus_um=np.append(0.0, focus[4:]),
        tiles=len(problem.pairs),
        positions=relation.pairs.positions.mean(axis=2),
        misfit=best.misfit,
    )


def _standard_errors(problem: _Problem, best: CrossFit) -> dict[str, float]:
    """Standard errors by name: of the scatter of the tiles, and what it cannot show."""
    statistical = np.sqrt(np.diag(best.covariance))[:4]
    relative = _SYSTEMATIC * np.array([0.5, 1.0, 0.5, 0.5]) * abs(best.focus[1])
    systematic = np.hypot(relative, _SYSTEMATIC_DEPTHS * problem.depth_um)
    total = np.hypot(statistical, systematic)
    return {PARAMETERS[i]: float(total[i]) for i in problem.free}


def _judge(
    problem: _Problem,
    focus: Array,
    errors: Mapping[str, float],
    opinions: Mapping[str, float],
    misfit: float,
) -> tuple[bool, tuple[str, ...]]:
    """Whether the curvature can be trusted, and what the images cannot tell."""
    curvature, error = float(focus[1]), errors.get("field_curvature_um", 0.0)
    allowed = max(_ALLOWED * abs(curvature), _ALLOWED_DEPTHS * problem.depth_um)
    spread = max(abs(value - curvature) for value in opinions.values())
    is_conclusive = 1 not in problem.free or (spread <= 2.0 * allowed and error <= allowed)
    notes = [
        "One plane cannot tell on which side of the focus it is: all signs may be reversed.",
        "A tilt of the focal plane may also be an optical axis off the center.",
    ]
    if not is_conclusive:
        low, high = opinions.values()
        notes.insert(
            0,
            f"Not enough overlap or detail: the field curvature is {curvature:.1f} um, but "
            f"{low:.1f} from low and {high:.1f} from high frequencies, with an error of "
            f"{error:.1f} um; add images shifted along the other side of the frame, or take beads.",
        )
    if misfit > _MAX_MISFIT:
        notes.insert(
            0,
            f"The images do not fit a lens of this kind (misfit {misfit:.0f}, at most 1 if only "
            "noise is left): check NA, wavelength and pixel size, and that the sample did not "
            "move; or take beads.",
        )
    return is_conclusive and misfit <= _MAX_MISFIT, tuple(notes)
