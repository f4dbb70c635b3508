"""napari layers: as images, their transforms, and the metadata that says how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.errors import ImageError
from napari_coordgate.io import Image

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer
    from napari.viewer import Viewer

    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField
    from napari_coordgate.universal_model import UniversalModel

KEY = "napari_coordgate"
"""Key in a layer's metadata under which we write how the layer was made."""
PSF_FIELD, LENS, GATES, PREVIEW = "psf field", "lens", "gating maps", "training preview"
FLAT_FIELD, TRUST = "flat field", "trust map"
VISUALIZATIONS = (PSF_FIELD, LENS, GATES, PREVIEW, FLAT_FIELD, TRUST)
"""Kinds of layers that visualize a lens, model or camera, and are no images to work on."""
BLURRED, DEBLURRED = "blurred", "deblurred"
"""Kinds of layers that are images made from others."""
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


def is_visualization(metadata: Mapping[str, Any]) -> bool:
    """Whether a layer of ours visualizes a lens, model or camera, and is no image to work on."""
    return provenance(metadata).get("kind") in VISUALIZATIONS


def is_recorded(metadata: Mapping[str, Any]) -> bool:
    """Whether a camera may have recorded a layer: it is no result, preview or map of ours."""
    made = (*VISUALIZATIONS, BLURRED, DEBLURRED)
    return provenance(metadata).get("kind") not in made


def pixels_of(layer: ImageLayer) -> Any:
    """Pixels of a layer at full resolution, as lazy as in the layer."""
    return layer.data[0] if layer.multiscale else layer.data


def guess_axes(layer: ImageLayer) -> str:
    """Axes of a layer (TCZYX, S for color samples), from its axis labels or else their number."""
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
    # A single axis before the plane is a stack, as where a file leaves it unnamed.
    return {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}[layer.ndim] + samples


def pixel_size_um(layer: ImageLayer) -> tuple[float, float] | None:
    """(y, x) pixel size of a layer in um; None where its units are pixels."""
    height, width = (step_of(layer, axis, "micrometer") for axis in (-2, -1))
    return None if height is None or width is None else (height, width)


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
    """Layer as an image of the core, with its pixel size and steps; lazy pixels stay lazy."""
    axes = guess_axes(layer) if axes is None else axes
    units = {"Z": "micrometer", "T": "second"}
    steps = {
        letter: step_of(layer, axes.index(letter), unit) if letter in axes else None
        for letter, unit in units.items()
    }
    return Image(
        pixels_of(layer),
        axes,
        pixel_size_um(layer),
        title=layer.name,
        z_step_um=steps["Z"],
        time_step_s=steps["T"],
    )


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
    scale = np.asarray(layer.scale)[-2:]
    frame_pixel = scale * pixels_of(layer).shape[-2:] / frame.frame_shape
    first_center = np.asarray(layer.translate)[-2:] + (frame_pixel - scale) / 2
    pitch, offset = (
        np.asarray(options[name])[-2:] / (frame.pixel_size_um or 1.0)
        for name in ("scale", "translate")
    )
    # napari shows units only where all layers have the same ones along an axis.
    units = (*options["units"][:-2], *layer.units)[-len(options["units"]) :]
    return options | {
        "scale": (*options["scale"][:-2], *pitch * frame_pixel),
        "translate": (*options["translate"][:-2], *first_center + offset * frame_pixel),
        "units": units,
    }


def copy_transform(layer: ImageLayer, ndim: int | None = None) -> dict[str, Any]:
    """Layer options with the transform of another layer, or of its last ``ndim`` axes."""
    last = slice(layer.ndim - (ndim or layer.ndim), None)
    options = {
        "scale": np.asarray(layer.scale)[last],
        "translate": np.asarray(layer.translate)[last],
        "units": tuple(layer.units)[last],
        "axis_labels": tuple(layer.axis_labels)[last],
    }
    if last.start == 0:  # rotation and shear are those of all axes
        options |= {"rotate": layer.rotate, "shear": layer.shear, "affine": layer.affine}
    return options


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


class LiveLayer:
    """A layer that is added with its first pixels and updated from then on.

    A layer that the user removed does not come back until `remove` resets it.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.layer: ImageLayer | None = None

    @property
    def is_removed(self) -> bool:
        """Whether the user removed it."""
        return self.layer is not None and self.layer not in self.viewer.layers

    def show(self, pixels: Any, **options: Any) -> bool:
        """Show pixels with options of ``viewer.add_image``; returns whether the layer is new."""
        if self.layer is None:
            self.layer = self.viewer.add_image(pixels, **options)
            return True
        if not self.is_removed:
            self.layer.data = pixels
            for name in ("scale", "translate", "units", "metadata"):
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
