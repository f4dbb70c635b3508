"""Zeiss CZI files, read by Zeiss's own library."""

import contextlib
import re
import threading
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io.lazy import (
    AxisIndex,
    FileSnapshot,
    PlaneStackArray,
    as_index,
    bounds,
    relative_index,
)
from napari_coordgate.io.metadata import ImageMetadata, micrometers, seconds
from napari_coordgate.io.ome_xml import referenced
from napari_coordgate.io.optical_metadata import OpticalMetadata, stated_optics
from napari_coordgate.io.scenes import Content, Scene

_Tile = tuple[dict[str, int], str]
"""Position along the axes other than Y and X, and pixel type."""

_DTYPES = {
    "Gray8": "u1",
    "Gray16": "u2",
    "Gray32Float": "f4",
    "Bgr24": "u1",
    "Bgr48": "u2",
    "Bgr96Float": "f4",
}
_UNSUPPORTED_AXES = {
    "R": "rotation",
    "I": "illumination",
    "H": "phase",
    "V": "view",
    "B": "block",
}


def czi_scenes(path: Path) -> list[Scene]:
    """Scenes of a file, from its tiles: the XML may be wrong or missing."""
    from pylibCZIrw.czi import open_czi

    with open_czi(str(path)) as czi:
        tiles = _tiles(czi)
        names = _scene_names(ElementTree.fromstring(czi.raw_metadata))
    found = sorted({position["S"] for position, _ in tiles if "S" in position})
    numbers: list[int | None] = [*found] or [None]
    return [
        Scene(
            names.get(number, ""),
            partial(_read_scene, path, number, [t for t in tiles if t[0].get("S") == number]),
            path,
        )
        for number in numbers
    ]


def _tiles(czi: Any) -> list[_Tile]:
    """Position of each different tile along the axes other than Y and X, and its pixel type."""
    found: set[tuple[tuple[tuple[str, int], ...], str]] = set()

    def collect(_: int, tile: Any) -> bool:
        found.add((tuple(tile.coordinate.to_dict().items()), tile.pixelType.name))
        return True

    czi.enumerate_subblocks(collect)
    return [(dict(position), pixel_type) for position, pixel_type in found]


def _scene_names(xml: ElementTree.Element) -> dict[int | None, str]:
    """Names of the scenes by their number."""
    scenes = xml.findall("./Metadata/Information/Image/Dimensions/S/Scenes/Scene")
    return {int(scene.get("Index", -1)): scene.get("Name", "") for scene in scenes}


def _read_scene(path: Path, number: int | None, tiles: Sequence[_Tile]) -> Content:
    """Read a scene: lazy pixels, axes without those of length 1, and metadata.

    ImageError if it has axes other than TCZYX, or channels of different types.
    """
    from pylibCZIrw.czi import open_czi

    scene = _Scene.of_tiles(path, number, tiles)
    with contextlib.ExitStack() as stack:
        czi = stack.enter_context(open_czi(str(path)))
        xml = ElementTree.fromstring(czi.raw_metadata)
        data = _SceneArray(FileSnapshot(path), czi, scene)
        weakref.finalize(data, stack.pop_all().close)
    axes = scene.stack_axes + "YXS"[: 3 if scene.is_color else 2]
    return data, axes, _read_metadata(xml, number)


class _Scene(NamedTuple):
    """Number of a scene (None if the file has no scenes), range of each axis, and pixel type."""

    number: int | None
    ranges: dict[str, range]
    pixel_type: str

    @classmethod
    def of_tiles(cls, path: Path, number: int | None, tiles: Sequence[_Tile]) -> "_Scene":
        """Scene with these tiles."""
        types = {pixel_type for _, pixel_type in tiles}
        if len(types) != 1 or not types <= _DTYPES.keys():
            raise ImageError(
                f"{path} has pixels of type {', '.join(sorted(types)) or 'none'}; "
                "export it with one type of pixels, gray or color."
            )
        ranges = {}
        for letter in {letter for position, _ in tiles for letter in position}:
            indices = {position[letter] for position, _ in tiles if letter in position}
            ranges[letter] = range(min(indices), max(indices) + 1)
            if len(indices) != len(ranges[letter]):
                raise ValueError("planes are missing")
        for letter, name in _UNSUPPORTED_AXES.items():
            if len(ranges.get(letter, "")) > 1:
                raise ImageError(
                    f"{path} has {len(ranges[letter])} images for each plane ({name}); "
                    "process it in ZEN, or export it as a plain stack."
                )
        return cls(number, ranges, types.pop())

    @property
    def stack_axes(self) -> str:
        """Axes before Y that are longer than 1."""
        return "".join(letter for letter in "TCZ" if len(self.ranges.get(letter, "")) > 1)

    @property
    def is_color(self) -> bool:
        """Whether a pixel has three samples."""
        return self.pixel_type.startswith("Bgr")


class _SceneArray(PlaneStackArray):
    """Pixels of a scene; the gaps between its tiles are black."""

    def __init__(self, file: FileSnapshot, czi: Any, scene: _Scene) -> None:
        scenes = czi.scenes_bounding_rectangle_no_pyramid
        whole = czi.total_bounding_rectangle_no_pyramid
        self._region = whole if scene.number is None else scenes[scene.number]
        stack = [len(scene.ranges[letter]) for letter in scene.stack_axes]
        samples = [3] if scene.is_color else []
        super().__init__(
            file.path,
            (*stack, self._region.h, self._region.w, *samples),
            np.dtype(_DTYPES[scene.pixel_type]),
            range(len(stack)),
        )
        self._file = file
        self._czi = czi
        self._scene = scene
        self._lock = threading.Lock()

    def _load_plane(self, indices: tuple[AxisIndex, ...]) -> NDArray[Any]:
        ranges, stack_axes = self._scene.ranges, self._scene.stack_axes
        plane = {letter: ranges[letter][0] for letter in "TCZ" if letter in ranges}
        for letter, index in zip(stack_axes, indices, strict=False):
            plane[letter] = ranges[letter][bounds(index)[0]]
        rows, columns, *samples = indices[len(stack_axes) :]
        (top, bottom), (left, right) = bounds(rows), bounds(columns)
        region = (self._region.x + left, self._region.y + top, right - left, bottom - top)
        with self._lock, self._file.open():
            pixels = self._czi.read(
                region, plane, self._scene.number, pixel_type=self._scene.pixel_type
            )
        window = (relative_index(rows), relative_index(columns), *map(as_index, samples or [0]))
        rgb: NDArray[Any] = pixels[..., ::-1][window]
        return rgb


def _read_metadata(xml: ElementTree.Element, scene: int | None) -> ImageMetadata:
    x, y, z = (
        micrometers(xml.findtext(f".//Scaling/Items/Distance[@Id='{letter}']/Value"), "m")
        for letter in "XYZ"
    )
    dimensions = "./Metadata/Information/Image/Dimensions"
    interval = xml.findtext(f"{dimensions}/T/Positions/Interval/Increment")
    channels = xml.findall(f"{dimensions}/Channels/Channel")
    shown = {
        channel.get("Id"): channel.findtext("Color", "")
        for channel in xml.findall("./Metadata/DisplaySetting/Channels/Channel")
    }
    return ImageMetadata.sanitized(
        (y, x),
        z,
        seconds(interval, "s"),
        [channel.get("Name", "") for channel in channels],
        _optics(xml).completed_by(_stage(xml, scene)),
        [_rrggbb(shown.get(channel.get("Id"), "")) for channel in channels],
    )


def _rrggbb(color: str) -> str:
    """Color of "#AARRGGBB" or "#RRGGBB" as RRGGBB; empty if it is none."""
    found = re.fullmatch(r"#(?:[0-9A-Fa-f]{2})?([0-9A-Fa-f]{6})", color.strip())
    return found[1].upper() if found else ""


def _stage(xml: ElementTree.Element, scene: int | None) -> OpticalMetadata:
    """Place of the stage of a scene, which Zeiss states in um."""
    scenes = xml.findall("./Metadata/Information/Image/Dimensions/S/Scenes/Scene")
    own = [one for one in scenes if scene is None or one.get("Index") == str(scene)]
    if not own:
        return OpticalMetadata()
    position = own[0].find("Positions/Position")
    place = {} if position is None else position.attrib
    x, _, y = own[0].findtext("CenterPosition", "").partition(",")
    return stated_optics(
        stage_x_um=(x or place.get("X"), "CZI Scene position"),
        stage_y_um=(y or place.get("Y"), "CZI Scene position"),
        stage_z_um=(place.get("Z"), "CZI Scene position"),
    )


def _optics(xml: ElementTree.Element) -> OpticalMetadata:
    """Optics and camera; Zeiss states the exposure in ns."""
    information = "./Metadata/Information"
    settings = f"{information}/Image/ObjectiveSettings"
    reference = xml.find(f"{settings}/ObjectiveRef")
    objective = referenced(
        xml.findall(f"{information}/Instrument/Objectives/Objective"),
        None if reference is None else reference.get("Id"),
    )
    channels = xml.findall(f"{information}/Image/Dimensions/Channels/Channel")
    used = xml.find(f"{information}/Image/Dimensions/Channels/Channel/DetectorSettings/Detector")
    camera = referenced(
        xml.findall(f"{information}/Instrument/Detectors/Detector"),
        None if used is None else used.get("Id"),
    )
    return stated_optics(
        na=(objective.findtext("LensNA"), "CZI Objective LensNA"),
        refractive_index=(
            xml.findtext(f"{settings}/RefractiveIndex"),
            "CZI ObjectiveSettings RefractiveIndex",
        ),
        immersion=(
            f"{xml.findtext(f'{settings}/Medium')} {objective.findtext('Immersion')}",
            "CZI Objective Immersion",
        ),
        objective=_name_of(objective, "CZI Objective"),
        magnification=(
            objective.findtext("NominalMagnification"),
            "CZI Objective NominalMagnification",
        ),
        acquired=(
            xml.findtext(f"{information}/Image/AcquisitionDateAndTime"),
            "CZI Image AcquisitionDateAndTime",
        ),
        camera=_name_of(camera, "CZI Detector"),
        wavelengths_nm=[
            (channel.findtext("EmissionWavelength"), "CZI Channel EmissionWavelength")
            for channel in channels
        ],
        excitations_nm=[
            (channel.findtext("ExcitationWavelength"), "CZI Channel ExcitationWavelength")
            for channel in channels
        ],
        exposures_s=[
            (seconds(channel.findtext("ExposureTime"), "ns"), "CZI Channel ExposureTime")
            for channel in channels
        ],
    )


def _name_of(device: ElementTree.Element, source: str) -> tuple[str | None, str]:
    """Model of a device, else its name, and the source."""
    if model := device.findtext("Manufacturer/Model"):
        return model, f"{source} Model"
    return device.get("Name"), f"{source} Name"
