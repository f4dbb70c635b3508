"""Images: pixels with axes, physical sizes, channels and optics; the pixels may be in a file."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_coordgate.arrays import PixelArray, WritablePixelArray
from napari_coordgate.config import Selection
from napari_coordgate.errors import FrameMismatchError, ImageError
from napari_coordgate.io.imagej_display import select_display
from napari_coordgate.io.lazy import SubsetArray
from napari_coordgate.io.metadata import ImageMetadata, Original, PixelSize
from napari_coordgate.io.ome_xml import read_ome_xml, select_in_ome_xml
from napari_coordgate.io.ome_zarr_attributes import select_in_zarr
from napari_coordgate.io.optical_metadata import OpticalMetadata

AXES = "TCZYXS"
"""Letters of axes: time, channel, depth, row, column and sample of a color pixel."""

PlaneIndex = tuple[int | slice, ...]
"""Index of a plane: an integer for each axis, but a slice for Y and X."""

StackIndex = tuple[int, ...]
"""Index of a plane over the axes other than Y and X."""

_SELECTABLE_AXES = {"C": "channel", "T": "time", "Z": "plane"}
"""Words for the elements of axes."""
_MAX_LISTED_NAMES = 20
_SQUARE_TOLERANCE = 0.02
"""Relative difference up to which the sides of a pixel are considered the same."""


@dataclass(frozen=True, eq=False)
class Image:
    """Image with named axes, physical sizes and channel names.

    The pixels may be any array with NumPy's indexing; those of a file are loaded when they are
    accessed.

    Parameters
    ----------
    data : PixelArray
        Pixels: real numbers or bool, in any byte order.
    axes : str
        One letter of TCZYXS for each axis of ``data``; Y before X. S are the samples of a color
        pixel.
    pixel_size_um : tuple of float, optional
        (y, x) size of a pixel in the object, in um.
    path : Path, optional
        File that the image was read from.
    title : str, optional
        Name of an image without a file, for messages.
    scene : str, optional
        Name of the image in its file, if that has several.
    z_step_um : float, optional
        Distance between planes, in um.
    time_step_s : float, optional
        Time between frames, in seconds.
    channel_names : tuple of str
        One name for each channel (one in total if there is no axis C), or none.
    optics : OpticalMetadata
        Optics and camera as far as the file states them: NA, emission wavelengths, ...
    channel_colors : tuple of str
        Display color of each channel, as RRGGBB in hexadecimal digits, "" where it is unknown; or
        none.
    processing : mapping of str, optional
        How this package made the image; it is written inside the file.
    original : Original
        Metadata as the file of the image has them; what is not used passes through to results.

    Raises
    ------
    ImageError
        If the pixels are not real numbers or there are none, or if the axes or channel names do
        not match the shape.

    Examples
    --------
    >>> import numpy as np
    >>> image = Image(np.zeros((2, 64, 48)), "CYX", channel_names=("DAPI", "GFP"))
    >>> image.frame_shape
    (64, 48)
    >>> from napari_coordgate import Selection
    >>> gfp = image.select(Selection(channels="GFP"))
    >>> gfp.data.shape, gfp.channel_names
    ((1, 64, 48), ('GFP',))
    """

    data: PixelArray
    axes: str
    pixel_size_um: PixelSize | None = None
    path: Path | None = None
    title: str | None = None
    z_step_um: float | None = None
    time_step_s: float | None = None
    channel_names: tuple[str, ...] = ()
    optics: OpticalMetadata = field(default_factory=OpticalMetadata)
    channel_colors: tuple[str, ...] = ()
    processing: Mapping[str, str] | None = None
    original: Original = field(default_factory=Original)
    scene: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the pixels, axes and channel names, which can always be written as UTF-8 then."""
        names = tuple(name.encode(errors="replace").decode() for name in self.channel_names)
        object.__setattr__(self, "channel_names", names)
        if self.data.dtype.kind not in "buif":
            raise ImageError(f"{self.name} has {self.data.dtype} pixels; use real numbers.")
        check_axes(self.axes, self.data.shape, self.name)
        if np.ma.is_masked(self.data):
            raise ImageError(f"{self.name} has masked pixels; fill them, or crop the image.")
        if math.prod(self.data.shape) == 0:
            raise ImageError(f"{self.name} has no pixels; use an image that is not empty.")
        for given, kind in ((self.channel_names, "names"), (self.channel_colors, "colors")):
            if given and len(given) != self._length("C"):
                raise ImageError(
                    f"{self.name} has {self._length('C')} channels, but {len(given)} channel "
                    f"{kind}; give those of all channels or none."
                )

    @property
    def metadata(self) -> ImageMetadata:
        """Physical sizes, channels, optics, and the metadata of the file."""
        return ImageMetadata(*(getattr(self, name) for name in ImageMetadata._fields))

    @property
    def name(self) -> str:
        """Name for messages: the path and the scene, else the title."""
        name = (self.title or "The image") if self.path is None else str(self.path)
        return name if self.scene is None else f"{name}, scene {self.scene}"

    @property
    def pixels(self) -> NDArray[Any]:
        """All pixels, loaded into memory."""
        return np.asarray(self.data)

    def plane(self, index: PlaneIndex) -> NDArray[Any]:
        """Load the pixels (H, W) of one plane; the index is one of `plane_indices`."""
        return np.asarray(self.data[index])

    def view(self, index: PlaneIndex) -> "PlaneView":
        """View of one plane that loads only the windows accessed."""
        return PlaneView(self.data, index)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self._length("Y"), self._length("X")

    def select(self, selection: Selection) -> "Image":
        """Image of the selected channels, times and planes; keeps all axes, loads nothing.

        `read_images` selects scenes. Raises ImageError if a selected element does not exist.
        """
        subset: dict[str, Sequence[int]] = {
            letter: selected_elements(
                text,
                _SELECTABLE_AXES[letter],
                self._length(letter),
                self.channel_names if letter == "C" else (),
                self.name,
            )
            for letter, text in zip(
                "CTZ", (selection.channels, selection.times, selection.planes), strict=True
            )
            if text is not None
        }
        by_axis = {self.axes.index(a): elements for a, elements in subset.items() if a in self.axes}
        if not by_axis:
            return self
        channels = subset.get("C", range(self._length("C")))
        names, colors = (
            tuple(values[channel] for channel in channels if values)
            for values in (self.channel_names, self.channel_colors)
        )
        optics, original = self.optics.select_channels(channels), self.original
        if original.ome:
            original = original._replace(ome=select_in_ome_xml(original.ome, subset))
            optics = optics.at_planes_of(read_ome_xml(original.ome).optics)
        if original.zarr:
            original = original._replace(zarr=select_in_zarr(original.zarr, subset))
        if original.imagej:
            lengths = {axis: self._length(axis) for axis in "TZC"}
            display = select_display(original.imagej, subset, lengths)
            original = original._replace(imagej=display)
        return replace(
            self,
            data=SubsetArray(self.data, by_axis, self.path),
            z_step_um=_step_between(self.z_step_um, subset.get("Z")),
            time_step_s=_step_between(self.time_step_s, subset.get("T")),
            channel_names=names,
            optics=optics,
            channel_colors=colors,
            original=original,
        )

    def _length(self, letter: str) -> int:
        """Length of an axis, 1 if the image does not have it."""
        return self.data.shape[self.axes.index(letter)] if letter in self.axes else 1


class PlaneView:
    """View of one plane (H, W) of an array that reads and writes only the windows accessed."""

    def __init__(self, data: PixelArray | WritablePixelArray, index: PlaneIndex) -> None:
        self._data: Any = data
        self._index = index

    @property
    def index(self) -> PlaneIndex:
        """Index of the plane in the array."""
        return self._index

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = (
            length
            for length, item in zip(self._data.shape, self._index, strict=True)
            if isinstance(item, slice)
        )
        return height, width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        dtype: np.dtype[Any] = self._data.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """Number of axes, always 2."""
        return 2

    def __getitem__(self, window: tuple[int | slice, ...]) -> NDArray[Any]:
        return np.asarray(self._data[self._full_index(window)])

    def __setitem__(self, window: tuple[int | slice, ...], pixels: NDArray[Any]) -> None:
        self._data[self._full_index(window)] = pixels

    def _full_index(self, window: tuple[int | slice, ...]) -> tuple[int | slice, ...]:
        """Index of a window of the plane in the whole array."""
        rows_and_columns = iter(window)
        return tuple(
            next(rows_and_columns) if isinstance(item, slice) else item for item in self._index
        )


def is_pixel_array(value: object) -> TypeGuard[PixelArray]:
    """Whether a value is a `PixelArray`; lists and tensors are not."""
    return isinstance(getattr(value, "dtype", None), np.dtype) and hasattr(value, "__getitem__")


def as_pixel_array(array: ArrayLike | PixelArray) -> PixelArray:
    """Array itself if it is a `PixelArray`, else a NumPy array of it."""
    return array if is_pixel_array(array) else np.asarray(array)


def as_image(image: PixelArray | Image, axes: str | None = None) -> Image:
    """Image with the given axes, by default its own, for arrays the last letters of TCZYX."""
    if isinstance(image, Image):
        if axes is None or "C" in axes:
            return image if axes is None else replace(image, axes=axes)
        return replace(image, axes=axes, channel_names=(), channel_colors=())
    array = as_pixel_array(image)
    if axes is None:
        if not 2 <= array.ndim <= 5:
            raise ImageError(
                f"An array of shape {array.shape} is not an image; use (H, W) with up to three "
                "axes before."
            )
        axes = "TCZYX"[-array.ndim :]
    return Image(array, axes)


def check_square_pixels(image: Image, square_um: float | None, what: str) -> None:
    """Raise FrameMismatchError if pixels are not square, as those of a blur of known size are."""
    if image.pixel_size_um is None or square_um is None:
        return
    y, x = image.pixel_size_um
    if not math.isclose(y, x, rel_tol=_SQUARE_TOLERANCE):
        raise FrameMismatchError(
            f"{image.name} has pixels of {y:g} x {x:g} um, but the {what} is for square ones of "
            f"{square_um:g} um; resample the image, or give the lens (psf_field, --lens) without "
            "an origin, for which that is done."
        )


def alpha_sample(image: Image) -> int | None:
    """Index of the color sample that is an alpha channel; None if there is none."""
    samples = image.data.shape[image.axes.index("S")] if "S" in image.axes else 0
    return samples - 1 if samples in (2, 4) and image.data.dtype.kind == "u" else None


def color_warning(image: Image) -> str:
    """What may be wrong if a file that can also hold a stack is read as colors; else empty."""
    suffix = "" if image.path is None else image.path.suffix.lower()
    if "S" not in image.axes or suffix not in (".tif", ".tiff", ".npy"):
        return ""
    samples = image.data.shape[image.axes.index("S")]
    stack, planes = image.axes.replace("S", "Z"), f"each of its {samples} samples is a plane"
    if alpha_sample(image) is not None:
        planes = f"{planes}, and the last one is alpha, which is copied"
    return (
        f"{image.name} is read as a color image: {planes}; if it is a stack, pass --axes {stack}."
    )


def plane_indices(image: Image) -> Iterator[PlaneIndex]:
    """Iterate over the indices of all planes; each color sample is a plane of its own."""
    choices: list[Sequence[int | slice]] = [
        [slice(None)] if letter in "YX" else range(length)
        for letter, length in zip(image.axes, image.data.shape, strict=True)
    ]
    yield from _product(choices)


def _product(choices: Sequence[Sequence[int | slice]]) -> Iterator[PlaneIndex]:
    """As `itertools.product`, which would list them first: a damaged file may claim any number."""
    if not choices:
        yield ()
        return
    for first in choices[0]:
        for rest in _product(choices[1:]):
            yield (first, *rest)


def stack_index(index: PlaneIndex) -> StackIndex:
    """Index of a plane over the axes other than Y and X."""
    return tuple(i for i in index if isinstance(i, int))


def middle_plane_index(image: Image) -> PlaneIndex:
    """Index of the plane in the middle of a stack."""
    return tuple(
        slice(None) if letter in "YX" else length // 2
        for letter, length in zip(image.axes, image.data.shape, strict=True)
    )


def subsample(plane: PlaneView, side: int) -> NDArray[Any]:
    """Pixels of a plane on a regular grid, less than twice ``side`` long; loads single rows."""
    step = max(1, max(plane.shape) // side)
    if step == 1:
        return plane[:, :]
    rows = range(0, plane.shape[0], step)
    return np.concatenate([plane[row : row + 1, ::step] for row in rows])


def check_axes(axes: str, shape: tuple[int, ...], name: str) -> None:
    """Raise ImageError unless the axes are one letter for each length, Y before X."""
    lengths = " x ".join(str(length) for length in shape)
    problem = None
    if len(axes) != len(shape):
        problem = f"are {len(axes)} letters for {len(shape)} axes ({lengths})"
    elif not set(axes) <= set(AXES):
        problem = f"have letters other than {AXES}"
    elif len(set(axes)) != len(axes):
        problem = "name an axis twice"
    elif not 0 <= axes.find("Y") < axes.find("X"):
        problem = "do not contain Y and then X"
    elif "S" in axes and shape[axes.index("S")] == 1:
        problem = "have one color sample, so leave out S"
    if problem:
        raise ImageError(f'{name}: the axes "{axes}" {problem}; use axes such as "TCYX".')


def selected_elements(
    text: str, kind: str, length: int, names: Sequence[str], image: str
) -> Sequence[int]:
    """Elements of a kind that a text selects, without duplicates; ImageError if there are none.

    The text has numbers from 0, ranges such as ``0:10`` or ``::2`` (end excluded) and names,
    separated by commas.
    """
    names = list(names)
    if text in names:
        return [names.index(text)]
    selected: list[int] = []
    for item in map(str.strip, text.split(",")):
        try:
            selected += [names.index(item)] if item in names else _parse_range(item, length)
        except (IndexError, ValueError):
            raise _no_such_element(item, kind, length, names, image) from None
    if not selected:
        raise _no_such_element(text, kind, length, names, image)
    return list(dict.fromkeys(selected))


def _parse_range(item: str, length: int) -> Sequence[int]:
    """Elements that a number or a range selects."""
    if re.fullmatch(r"-?\d*(:-?\d*){1,2}", item):
        return range(length)[slice(*(int(part) if part else None for part in item.split(":")))]
    return [range(length)[int(item)]]


def _no_such_element(
    item: str, kind: str, length: int, names: Sequence[str], image: str
) -> ImageError:
    last = f" (0 to {length - 1})" if length > 1 else " (0)"
    shown = [*names[:_MAX_LISTED_NAMES], *(["..."] if len(names) > _MAX_LISTED_NAMES else [])]
    named = f", named {', '.join(shown)}" if names else ""
    plural = "" if length == 1 else "s"
    return ImageError(
        f'{image} has no {kind} "{item}"; it has {length} {kind}{plural}{last}{named}.'
    )


def _step_between(step: float | None, selected: Sequence[int] | None) -> float | None:
    """Step between selected elements of an axis; None if it varies."""
    if step is None or selected is None or len(selected) == 1:
        return step
    steps = {abs(after - before) for before, after in itertools.pairwise(selected)}
    return step * steps.pop() if len(steps) == 1 else None
