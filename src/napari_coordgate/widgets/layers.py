"""napari layers: as images, their transforms, and the metadata that says how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import GaussianLens, Lens, Selection
from napari_coordgate.errors import CoordGateError, ImageError
from napari_coordgate.io import Image, find_scenes, is_image, open_scene

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer
    from napari.viewer import Viewer

    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField
    from napari_coordgate.universal_model import UniversalModel

KEY = "napari_coordgate"
"""Key in a layer's metadata under which we write how the layer was made."""
PSF_FIELD, LENS, GATES, PREVIEW = "psf field", "lens", "gating maps", "training preview"
FLAT_FIELD, TRUST, BEFORE = "flat field", "trust map", "before"
LENS_PREVIEW = "preview of a lens"
VISUALIZATIONS = (PSF_FIELD, LENS, GATES, PREVIEW, FLAT_FIELD, TRUST, BEFORE, LENS_PREVIEW)
"""Kinds of layers that visualize a lens, model or camera, and are no images to work on."""
OPENED, BLURRED, DEBLURRED, SAMPLE = "image", "blurred", "deblurred", "sample"
"""Kinds of layers that are images: opened from a file, or made from others."""
IMAGE = "image_of_file"
"""Fact in a layer's metadata: the image that its pixels are of, or were made from."""
NO_CHANNEL = -1
MASK_SIDE = 256
"""Pixels along a side that tell whether an image has two values only."""
MAX_MAP_SIDE = 512
"""Maximum side of gating maps that are shown, pixels: the maps are smooth, and there are many."""
AXIS_LETTERS = {
    "time": "T",
    "channel": "C",
    "depth": "Z",
    "plane": "Z",
    "row": "Y",
    "height": "Y",
    "column": "X",
    "width": "X",
}

LayerData = tuple[Any, dict[str, Any], str]
"""Pixels, options of ``viewer.add_image``, and type of a layer."""


def metadata(kind: str, **facts: Any) -> dict[str, Any]:
    """Metadata of a layer of ours; `provenance` reads them."""
    return {KEY: {"kind": kind, **facts}}


def psf_field_metadata(psf_field: PSFField, path: str | Path | None = None) -> dict[str, Any]:
    """Metadata of a layer that carries a PSF field, and so can be saved as one."""
    return metadata(PSF_FIELD, psf_field=psf_field, path=None if path is None else str(path))


def model_facts(name: str, model: Model) -> dict[str, Any]:
    """What a layer's metadata say about the model that made it."""
    return {
        "model": name,
        "network_settings": model.config.network.model_dump(mode="json"),
        "model_step": model.step,
        "model_metrics": dict(model.metrics),
    }


def method_facts(name: str, method: Model | PSFField) -> dict[str, Any]:
    """What a layer's metadata say about the model or PSF field that deblurred it."""
    from napari_coordgate.model import Model  # imports torch

    return model_facts(name, method) if isinstance(method, Model) else {"psf_field": name}


def provenance(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """How a layer was made, from its ``metadata``; empty for layers that are not ours."""
    found = metadata.get(KEY)
    return found if isinstance(found, Mapping) else {}


def psf_field_of(metadata: Mapping[str, Any]) -> PSFField | None:
    """PSF field that a layer carries in its ``metadata``, if any."""
    found = provenance(metadata)
    return cast("PSFField", found["psf_field"]) if found.get("kind") == PSF_FIELD else None


def model_path_of(metadata: Mapping[str, Any]) -> Path | None:
    """File of the model whose gating maps a layer shows, if it was opened from one."""
    found = provenance(metadata)
    path = found.get("path") if found.get("kind") == GATES else None
    return None if path is None else Path(path)


def dropped_lens_of(
    metadata: Mapping[str, Any],
) -> tuple[Lens | GaussianLens | None, tuple[int, int]]:
    """Lens whose PSFs a layer shows, if it was opened from a file, and the frame it is shown on."""
    found = provenance(metadata)
    if found.get("kind") != LENS or "frame_shape" not in found:
        return None, (0, 0)
    return found["lens"], found["frame_shape"]


def is_visualization(metadata: Mapping[str, Any]) -> bool:
    """Whether a layer of ours visualizes a lens, model or camera, and is no image to work on."""
    return provenance(metadata).get("kind") in VISUALIZATIONS


def is_recorded(metadata: Mapping[str, Any]) -> bool:
    """Whether a camera may have recorded a layer: it is no result, preview or map of ours."""
    made = (*VISUALIZATIONS, BLURRED, DEBLURRED)
    return provenance(metadata).get("kind") not in made


def why_not_sharp(layer: ImageLayer) -> str:
    """Why a layer is no sharp image as far as is known of it; empty where nothing is."""
    facts = provenance(layer.metadata)
    kind, source = facts.get("kind"), str(facts.get("source", ""))
    if kind == BLURRED or (kind == SAMPLE and source.startswith(BLURRED)):
        return f"{layer.name} is blurred: take an image that is sharp up to the corners."
    image = None if kind == SAMPLE else file_image(layer)
    if kind == DEBLURRED or (image is not None and image.processing):
        return f"{layer.name} is a result of deblurring: take an image that was recorded sharp."
    return ""


def pixels_of(layer: ImageLayer) -> Any:
    """Pixels of a layer at full resolution, as lazy as in the layer."""
    return layer.data[0] if layer.multiscale else layer.data


def frame_of(layer: ImageLayer) -> tuple[int, int]:
    """(height, width) of a layer, in pixels."""
    shape = pixels_of(layer).shape
    height, width = shape[-3:-1] if layer.rgb else shape[-2:]
    return height, width


def channel_of(layer: ImageLayer, image: Image) -> int:
    """Channel of its file that a layer shows, as its name says; `NO_CHANNEL` if it is unclear."""
    if "C" not in image.axes or image.data.shape[image.axes.index("C")] == 1:
        return 0
    named = [n for n, name in enumerate(image.channel_names) if name and name in layer.name]
    return named[0] if len(named) == 1 else NO_CHANNEL


def file_image(layer: ImageLayer) -> Image | None:
    """Image in the file of a layer, or that it was made from; None without a readable file."""
    carried: Image | None = provenance(layer.metadata).get(IMAGE)
    if carried is not None:
        return carried
    if layer not in _files:
        _files[layer] = _read_file(layer)
    return _files[layer]


_files: WeakKeyDictionary[ImageLayer, Image | None] = WeakKeyDictionary()


def _read_file(layer: ImageLayer) -> Image | None:
    path = layer.source.path
    if path is None or not is_image(path):
        return None
    try:
        scenes = find_scenes(Path(path))
        return open_scene(Path(path), scenes, 0) if len(scenes) == 1 else None
    except CoordGateError:
        return None


def stated_image(layer: ImageLayer) -> Image | None:
    """`file_image` if it has the shape of the layer, or has it where its channel is selected."""
    image, shape = file_image(layer), tuple(pixels_of(layer).shape)
    if image is None or image.data.shape == shape:
        return image
    number = channel_of(layer, image)
    if "C" not in image.axes or number == NO_CHANNEL:
        return None
    one = image.select(Selection(channels=str(number)))
    data = np.broadcast_to(np.zeros((), one.data.dtype), _without(one.data.shape, one.axes))
    one = replace(one, data=data, axes=one.axes.replace("C", ""))
    return one if data.shape == shape else None


def _without(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """Shape without the axis of channels."""
    return tuple(length for length, letter in zip(shape, axes, strict=True) if letter != "C")


def without_pixels(image: Image) -> Image:
    """Image with the same metadata, whose pixels take no memory."""
    return replace(image, data=np.broadcast_to(np.zeros((), image.data.dtype), image.data.shape))


def guess_axes(layer: ImageLayer) -> str:
    """Axes of a layer (TCZYX, S for color samples): axis labels, its file, or their number."""
    if layer.ndim > 5:
        raise ImageError(
            f"{layer.name} has {layer.ndim} axes; use an image, or a stack with up to three axes "
            "before height and width."
        )
    letters = [AXIS_LETTERS.get(str(name).lower(), str(name).upper()) for name in layer.axis_labels]
    named = "".join(letters)
    samples = "S" if layer.rgb else ""
    if set(letters) <= set("TCZYX") and len(set(letters)) == layer.ndim and named.endswith("YX"):
        return named + samples
    image = stated_image(layer)
    if image is not None and image.axes.endswith("YX" + samples):
        return image.axes
    # A single axis before the plane is a stack, as where a file leaves it unnamed.
    return {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}[layer.ndim] + samples


def pixel_size_um(layer: ImageLayer) -> tuple[float, float] | None:
    """(y, x) pixel size in um, of a layer with such units, else of its file; None if unknown."""
    height, width = (step_of(layer, axis, "micrometer") for axis in (-2, -1))
    if height is not None and width is not None:
        return height, width
    image = file_image(layer)
    # The file says nothing about a layer that was scaled down, or is a part of it.
    is_whole = image is not None and image.frame_shape == frame_of(layer)
    return image.pixel_size_um if image is not None and is_whole else None


def step_of(layer: ImageLayer, axis: int, unit: str) -> float | None:
    """Distance of neighbors along an axis in a unit; None if the layer's units are of another kind.

    It is that of the whole transform from pixels to the world, which may also turn the axis.
    """
    pixel = np.zeros((2, layer.ndim))
    pixel[1, axis] = 1
    start, end = (np.asarray(layer.data_to_world(point)) for point in pixel)
    own = layer.units[axis]
    if not own.is_compatible_with(unit):
        return None
    return float((np.linalg.norm(end - start) * own).to(unit).magnitude)


def image_of(layer: ImageLayer, axes: str | None = None) -> Image:
    """Layer as an image of the core, with all that its file states; lazy pixels stay lazy."""
    pixels = pixels_of(layer)
    if is_mask(layer):
        raise ImageError(f"{layer.name} is a mask; choose the image that it was made from.")
    axes = guess_axes(layer) if axes is None else axes
    if set(axes) >= set("YX") and not axes.removesuffix("S").endswith("YX"):
        raise ImageError(f'{layer.name}: the axes "{axes}" must end with YX, as napari shows them.')
    stated = stated_image(layer) or Image(np.zeros((1, 1)), "YX")
    units = {"Z": ("micrometer", stated.z_step_um), "T": ("second", stated.time_step_s)}
    z_step_um, time_step_s = (
        (step_of(layer, axes.index(letter), unit) or known) if letter in axes else None
        for letter, (unit, known) in units.items()
    )
    channels = pixels.shape[axes.index("C")] if "C" in axes[: pixels.ndim] else 1
    known = stated.metadata.for_channels(channels)
    known = known._replace(
        pixel_size_um=pixel_size_um(layer), z_step_um=z_step_um, time_step_s=time_step_s
    )
    return Image(pixels, axes, title=layer.name, **known._asdict())


def is_mask(layer: ImageLayer) -> bool:
    """Whether a layer is 0 or one full value everywhere, as far as a plane in memory shows."""
    pixels = pixels_of(layer)
    if pixels.dtype.kind == "b":
        return True
    if pixels.dtype.kind not in "iu" or not isinstance(pixels, np.ndarray) or layer.rgb:
        return False
    if layer not in _masks:
        plane = pixels[tuple(n // 2 for n in pixels.shape[:-2])]
        step = max(1, max(plane.shape) // MASK_SIDE)
        values = np.unique(plane[::step, ::step]).tolist()
        _masks[layer] = values in ([0, 1], [0, 255], [0, np.iinfo(pixels.dtype).max])
    return _masks[layer]


_masks: WeakKeyDictionary[ImageLayer, bool] = WeakKeyDictionary()


def position_px(layer: ImageLayer | None) -> tuple[int, int] | None:
    """(y, x) pixels by which a layer is moved, as a region of the frame is; None if it is not."""
    if layer is None:
        return None
    own = copy_transform(layer, 2)
    y, x = np.rint(own["translate"] / own["scale"]).astype(int).tolist()
    return (y, x) if min(y, x) >= 0 and max(y, x) > 0 else None


def plane_on_view(viewer: Viewer, layer: ImageLayer) -> tuple[int, ...]:
    """Index of the visible plane of a layer over its axes before height and width."""
    point = layer.world_to_data(viewer.dims.point)[: layer.ndim - 2]
    lengths = pixels_of(layer).shape
    return tuple(min(max(round(i), 0), n - 1) for i, n in zip(point, lengths, strict=False))


def frame_transform(
    leading: tuple[str, ...],
    pixel_size_um: float | None,
    pitch_px: tuple[float, float] = (1.0, 1.0),
) -> dict[str, Any]:
    """Layer options that align an image, of pixels of ``pitch_px`` frame pixels, with the frame."""
    side = 1.0 if pixel_size_um is None else pixel_size_um
    unit = "pixel" if pixel_size_um is None else "um"
    n = len(leading)
    # A layer's translate is the *center* of its first pixel; the frame's origin is a corner.
    first_center = tuple(side * (pitch - 1) / 2 for pitch in pitch_px)
    return {
        "scale": (1.0,) * n + tuple(side * pitch for pitch in pitch_px),
        "translate": (0.0,) * n + first_center,
        "units": ("pixel",) * n + (unit,) * 2,
        "axis_labels": (*leading, "y", "x"),
    }


def overlay_transform(
    layer: ImageLayer, options: dict[str, Any], frame: Model | PSFField
) -> dict[str, Any]:
    """Options of a layer aligned with a frame, changed to cover an image of that frame."""
    own = copy_transform(layer, 2)
    frame_pixel = own["scale"] * pixels_of(layer).shape[-2:] / frame.frame_shape
    first_center = own["translate"] + (frame_pixel - own["scale"]) / 2
    pitch, offset = (
        np.asarray(options[name])[-2:] / (frame.pixel_size_um or 1.0)
        for name in ("scale", "translate")
    )
    units = (*options["units"][:-2], *tuple(layer.units)[-2:])
    affine = np.eye(len(units) + 1)
    affine[-3:, -3:] = own["affine"]
    return options | {
        "scale": (*options["scale"][:-2], *pitch * frame_pixel),
        "translate": (*options["translate"][:-2], *first_center + offset * frame_pixel),
        "affine": affine,
        "units": units,
    }


def copy_transform(layer: ImageLayer, ndim: int | None = None) -> dict[str, Any]:
    """Layer options with the transform of another layer, or of its last ``ndim`` axes.

    For the latter, what is not scale and translation (rotation, shear) is an affine transform
    after both, so that ``translate + scale * origin`` is that of a window.
    """
    if ndim is None:
        names = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
        return {name: getattr(layer, name) for name in names}
    zero, steps = np.zeros(layer.ndim), np.eye(layer.ndim)[-ndim:]
    start = np.asarray(layer.data_to_world(zero))[-ndim:]
    linear = (
        np.stack([layer.data_to_world(step) for step in steps], axis=1)[-ndim:] - start[:, None]
    )
    scale = np.linalg.norm(linear, axis=0)
    affine = np.eye(ndim + 1)
    if np.allclose(linear, np.diag(scale)):
        translate = start
    else:
        affine[:-1, :-1], affine[:-1, -1], translate = linear / scale, start, np.zeros(ndim)
    return {
        "scale": scale,
        "translate": translate,
        "affine": affine,
        "units": tuple(layer.units)[-ndim:],
        "axis_labels": tuple(layer.axis_labels)[-ndim:],
    }


def copy_appearance(layer: ImageLayer) -> dict[str, Any]:
    """Layer options with the contrast, colors and blending of another layer."""
    return {
        "contrast_limits": tuple(layer.contrast_limits),
        "colormap": layer.colormap,
        "gamma": layer.gamma,
        "interpolation2d": layer.interpolation2d,
        "blending": layer.blending,
        "opacity": layer.opacity,
    }


def image_transform(image: Image) -> dict[str, Any]:
    """Layer options with the pixel size, steps and axes of an image; unknown steps are 1 pixel."""
    height, width = image.pixel_size_um or (None, None)
    steps = {"T": image.time_step_s, "Z": image.z_step_um, "Y": height, "X": width}
    axes = image.axes.removesuffix("S")
    known = [steps.get(axis) for axis in axes]
    units = [
        "pixel" if step is None else "s" if axis == "T" else "um"
        for axis, step in zip(axes, known, strict=True)
    ]
    return {
        "scale": tuple(1.0 if step is None else step for step in known),
        "units": tuple(units),
        "axis_labels": tuple(axis.lower() for axis in axes),
        "rgb": image.axes.endswith("S"),
    }


def gate_layers(
    model: Model | UniversalModel,
    maps: Mapping[str, NDArray[np.float32]],
    name: str,
    path: str | None = None,
    psf_field: PSFField | None = None,
) -> list[LayerData]:
    """Layer of the maps (n_c, h, w) of each gate over the frame; only the first is visible.

    The frame is that of the model, or of the PSF field that a universal model is used with.
    """
    settings, frame = model.header(), psf_field or cast("Model", model)
    layers: list[LayerData] = []
    for gate, pixels in maps.items():
        pitch = map_pitch_px(gate, maps, frame.frame_shape)
        options = {
            **frame_transform(("channel",), frame.pixel_size_um, pitch),
            "name": f"{name} {gate} ({len(pixels)} channels)",
            "colormap": "viridis",
            "visible": not layers,
            "metadata": metadata(GATES, gate=gate, path=path, settings=settings),
        }
        layers.append((pixels, options, "image"))
    return layers


def map_pitch_px(
    gate: str, maps: Mapping[str, NDArray[np.float32]], frame_shape: tuple[int, int]
) -> tuple[float, float]:
    """Frame pixels (y, x) per pixel of a gate's maps: 1, 2, 4, ... by its level, or more."""
    finest = np.max([gate.shape[1:] for gate in maps.values()], axis=0, initial=1)
    # Frames are padded to a multiple of pixels: such maps are larger, not finer.
    coarser = np.maximum(np.divide(frame_shape, finest), 1)
    height, width = (2.0 ** (int(gate.split()[-1]) - 1) * coarser).tolist()
    return height, width


def _is_open(viewer: Viewer) -> bool:
    """Whether the window of a viewer is open."""
    from qtpy.compat import isalive

    viewer = getattr(viewer, "__wrapped__", viewer)  # widgets get a wrapper
    window = getattr(viewer.window, "_qt_window", None)
    return window is not None and isalive(window)


class LiveLayer:
    """A layer that is added with its first pixels and updated from then on.

    A layer that the user removed does not come back until `remove` resets it.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.layer: ImageLayer | None = None

    @property
    def name(self) -> str:
        """Name of the layer; empty where there is none."""
        return "" if self.layer is None else str(self.layer.name)

    @property
    def is_removed(self) -> bool:
        """Whether the user removed it."""
        return self.layer is not None and self.layer not in self.viewer.layers

    def show(self, pixels: Any, **options: Any) -> bool:
        """Show pixels with options of ``viewer.add_image``; returns whether the layer is new.

        A job may end after its window was closed: then nothing is shown.
        """
        if self.layer is None:
            from napari.layers import Image as ImageLayer

            if not _is_open(self.viewer):
                return False
            self.layer = ImageLayer(pixels, **options)  # known to those who see it added
            self.viewer.add_layer(self.layer)
            return True
        if not self.is_removed:
            self.layer.data = pixels
            if "scale" in options:
                options = {"affine": np.eye(self.layer.ndim + 1), **options}
            names = ("scale", "translate", "rotate", "shear", "affine", "units", "metadata")
            for name in names:
                if name in options:
                    setattr(self.layer, name, options[name])
        return False

    def remove(self) -> None:
        """Remove the layer; the next pixels make a new one."""
        if self.layer is not None and not self.is_removed:
            self.viewer.layers.remove(self.layer)
        self.layer = None

    def move_to_top(self) -> None:
        """Move the layer above all others."""
        if self.layer is not None and not self.is_removed:
            self.viewer.layers.move(self.viewer.layers.index(self.layer), -1)
