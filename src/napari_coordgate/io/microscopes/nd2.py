"""Nikon ND2 files."""

import contextlib
import math
import re
import threading
import weakref
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from io import FileIO, UnsupportedOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io.lazy import AxisIndex, FileSnapshot, PlaneStackArray, as_index, bounds
from napari_coordgate.io.metadata import ImageMetadata, seconds
from napari_coordgate.io.optical_metadata import OpticalMetadata, stated_optics
from napari_coordgate.io.scenes import Content, Scene
from napari_coordgate.opening import regular

if TYPE_CHECKING:
    from nd2 import ND2File
    from nd2.structures import Channel

_FIRST_FRAME = "ImageMetadataSeqLV|0"
_DAYS_TO_2000 = 2451545
"""Julian day number of noon of the first day of 2000."""
_FIRST_YEAR = 1990
"""An earlier date is that of a file without one."""
_MAX_COMPRESSION = 1032
"""Largest compression ratio of zlib, which ND2 uses."""


def nd2_scenes(path: Path) -> list[Scene]:
    """Positions of a file; ImageError if it has axes other than TCZYX and positions."""
    with _open(path) as nd2:
        if other := nd2.sizes.keys() - set("PTCZYXS"):
            raise ImageError(
                f"{path} has axes other than T, C, Z and positions ({', '.join(sorted(other))}); "
                "export it as a plain stack first."
            )
        count = nd2.sizes.get("P", 1)
        if count > path.stat().st_size:
            raise ValueError("it has more positions than bytes")
        names = _position_names(nd2) or [""] * count
        return [
            Scene(names[position], partial(_read_position, path, position), path)
            for position in range(count)
        ]


@contextlib.contextmanager
def _open(path: Path) -> "Iterator[ND2File]":
    from nd2 import ND2File

    with _UnmappedFile(path, opener=regular) as file, ND2File(file) as nd2:
        yield nd2


class _UnmappedFile(FileIO):
    """File that the library cannot map into memory, where cutting it off would kill the process."""

    def fileno(self) -> int:
        raise UnsupportedOperation("fileno")


def _position_names(nd2: "ND2File") -> list[str]:
    """Names of the positions, empty where there is none; no names if they are not listed."""
    for loop in nd2.experiment:
        if loop.type == "XYPosLoop" and len(loop.parameters.points) == nd2.sizes.get("P", 1):
            return [point.name or "" for point in loop.parameters.points]
    return []


def _read_position(path: Path, position: int) -> Content:
    """Read a position: lazy pixels, axes without those of length 1, and metadata."""
    with contextlib.ExitStack() as stack:
        nd2 = stack.enter_context(_open(path))
        axes = "".join(letter for letter in "TCZYXS" if letter in nd2.sizes or letter in "YX")
        metadata = _read_metadata(nd2, position)
        data = _FramesArray(FileSnapshot(path), nd2, axes, position)
        weakref.finalize(data, stack.pop_all().close)
    return data, axes, metadata


class _FramesArray(PlaneStackArray):
    """Pixels of a position; a frame of the file has all channels."""

    def __init__(self, file: FileSnapshot, nd2: "ND2File", axes: str, position: int) -> None:
        sizes = dict.fromkeys("CYXS", 1) | dict(nd2.sizes)
        super().__init__(
            file.path,
            tuple(sizes[letter] for letter in axes),
            nd2.dtype,
            range(axes.index("Y")),
        )
        self._file = file
        self._nd2 = nd2
        self._position = position
        self._outer = axes[: axes.index("Y")]
        self._loops = {letter: n for letter, n in sizes.items() if letter not in "CYXS"}
        self._frame_shape = [sizes[letter] for letter in "CYXS"]
        self._lock = threading.Lock()
        if math.prod(self._frame_shape) * self.dtype.itemsize > file.size * _MAX_COMPRESSION:
            raise ValueError("the file is smaller than the frames that it claims")

    def _load_plane(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        at = {letter: bounds(item)[0] for letter, item in zip(self._outer, indices, strict=False)}
        at["P"] = self._position
        loop_indices = [at.get(letter, 0) for letter in self._loops]
        shape = tuple(self._loops.values())
        number = int(np.ravel_multi_index(loop_indices, shape)) if shape else 0
        rows, columns, *samples = map(as_index, indices[len(self._outer) :])
        with self._lock:
            # The library drops axes of length 1.
            frame = self._nd2.read_frame(number).reshape(self._frame_shape)
        self._file.check()  # the library reads what is not there as 0
        return frame[at.get("C", 0), rows, columns, samples[0] if samples else 0].copy()


def _read_metadata(nd2: "ND2File", position: int) -> ImageMetadata:
    stated = nd2.metadata
    channels = (None if isinstance(stated, dict) else stated.channels) or []
    names = [channel.channel.name for channel in channels]
    sizes: list[float | None] = [None, None, None]
    if channels:
        volume = channels[0].volume
        calibration = zip(volume.axesCalibration, volume.axesCalibrated, strict=True)
        sizes = [size if is_known else None for size, is_known in calibration]
    x, y, z = sizes
    colors = [channel.channel.color for channel in channels]
    return ImageMetadata.sanitized(
        (y, x),
        z,
        _time_step_s(nd2),
        names,
        _optics(nd2, channels, position),
        [bytes((color.r, color.g, color.b)).hex().upper() for color in colors],
    )


def _stage_um(nd2: "ND2File", position: int) -> Sequence[float | None]:
    """Place of the stage (x, y, z) of a position, if positions are listed."""
    for loop in nd2.experiment:
        if loop.type == "XYPosLoop" and position < len(loop.parameters.points):
            return loop.parameters.points[position].stagePositionUm
    return (None, None, None)


def _optics(nd2: "ND2File", channels: "list[Channel]", position: int) -> OpticalMetadata:
    """Optics of the first channel, and the camera that NIS-Elements names in its text."""
    if not channels:
        return OpticalMetadata()
    microscope = channels[0].microscope
    text = "\n".join(str(part) for part in nd2.text_info.values())
    camera = re.search(r"Camera Name: *(.+)", text)
    exposures = re.findall(r"Exposure: *([\d.]+) *(ms|s)\b", text)
    stage = zip("xyz", _stage_um(nd2, position), strict=True)
    return stated_optics(
        acquired=(_acquired(nd2), "ND2 TimeAbsolute"),
        **{f"stage_{axis}_um": (place, "ND2 stagePositionUm") for axis, place in stage},
        magnification=(microscope.objectiveMagnification, "ND2 objectiveMagnification"),
        na=(microscope.objectiveNumericalAperture, "ND2 objectiveNumericalAperture"),
        refractive_index=(microscope.immersionRefractiveIndex, "ND2 immersionRefractiveIndex"),
        objective=(microscope.objectiveName, "ND2 objectiveName"),
        camera=(camera and camera[1], "ND2 text Camera Name"),
        exposures_s=[(seconds(*exposure), "ND2 text Exposure") for exposure in exposures],
        wavelengths_nm=[
            (channel.channel.emissionLambdaNm, "ND2 emissionLambdaNm") for channel in channels
        ],
        excitations_nm=[
            (channel.channel.excitationLambdaNm, "ND2 excitationLambdaNm") for channel in channels
        ],
    )


def _acquired(nd2: "ND2File") -> str | None:
    """Date of the first frame; the text of NIS-Elements has it in the format of its country."""
    with contextlib.suppress(Exception):  # old files, and those without a date, have no such record
        (record,) = nd2.unstructured_metadata(include={_FIRST_FRAME}).values()
        days = record["SLxPictureMetadata"]["TimeAbsolute"] - _DAYS_TO_2000
        date = datetime(2000, 1, 1, 12, tzinfo=UTC) + timedelta(days=days)
        return date.isoformat(timespec="milliseconds") if date.year > _FIRST_YEAR else None
    return None


def _time_step_s(nd2: "ND2File") -> float | None:
    """Time between frames, or None if it varies."""
    for loop in nd2.experiment:
        if loop.type == "TimeLoop":
            return loop.parameters.periodMs / 1e3
        if loop.type == "NETimeLoop":
            periods = {period.periodMs for period in loop.parameters.periods}
            return periods.pop() / 1e3 if len(periods) == 1 else None
    return None
