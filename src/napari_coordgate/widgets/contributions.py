"""Samples, readers and writers, which napari's menus use without a widget."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_coordgate.config import load_lens, measured_frame
from napari_coordgate.errors import ImageError, ModelError, OutputError, SettingsError
from napari_coordgate.geometry import format_shape
from napari_coordgate.io import find_images, read_image
from napari_coordgate.io.files import check_not_exists, sample_data_folder
from napari_coordgate.io.model_header import MODEL_FORMATS, UNIVERSAL_FORMAT, read_metadata
from napari_coordgate.io.tiff import coordgate_tiff_kind
from napari_coordgate.widgets.layers import (
    LENS,
    MAX_MAP_SIDE,
    SAMPLE,
    LayerData,
    frame_of,
    frame_transform,
    gate_layers,
    metadata,
    provenance,
    psf_field_metadata,
    psf_field_of,
)

Paths = str | list[str]
Reader = Callable[[Paths], list[LayerData]]
Pixels = NDArray[Any]

FRAME_SHAPE = (512, 512)
"""Camera image that a lens is shown on, if it was measured on none."""
NO_LAYER: Any = (None,)
"""What a reader returns that has read a file in which there is no layer."""
PSF_FIELD_SUFFIX = ".psf.tif"


def nuclei_to_train_on() -> list[LayerData]:
    """Sharp images to train on, as one stack for each image size."""
    found = find_images(sample_data_folder() / "train")
    images = sorted((read_image(path).pixels for path in found), key=np.shape)
    stacks = [np.stack(list(same)) for _, same in groupby(images, np.shape)]
    return [
        _sample_layer(stack, f"nuclei to train on, {stack.shape[1]} x {stack.shape[2]}", "train")
        for stack in stacks
    ]


def nuclei_sharp() -> list[LayerData]:
    """Four images that the starter model was not trained on: `nuclei_blurred` without blur."""
    frame_shape = _sample_pixels("blurred/nuclei.tif").shape[-2:]
    images = [read_image(path).pixels for path in find_images(sample_data_folder() / "test")]
    stack = np.stack([_center_crop(image, frame_shape) for image in images])
    return [_sample_layer(stack, "nuclei, sharp", "test")]


def nuclei_blurred() -> list[LayerData]:
    """Four images as a camera records them through the demo lens."""
    source = "blurred/nuclei.tif"
    return [_sample_layer(_sample_pixels(source), "nuclei behind the demo lens", source)]


def beads_blurred() -> list[LayerData]:
    """Beads (points of light) through the demo lens, each an image of the PSF at its position."""
    source = "blurred/beads.tif"
    return [_sample_layer(_sample_pixels(source), "beads behind the demo lens", source)]


def _sample_pixels(source: str) -> Pixels:
    pixels: Pixels = read_image(sample_data_folder() / source).pixels
    return pixels


def _center_crop(image: Pixels, shape: tuple[int, ...]) -> Pixels:
    y0, x0 = ((n - m) // 2 for n, m in zip(image.shape, shape, strict=True))
    return image[y0 : y0 + shape[0], x0 : x0 + shape[1]]


def _sample_layer(pixels: Pixels, name: str, source: str) -> LayerData:
    """Layer of an image or a stack, with the pixel size of the demo lens."""
    lens = load_lens(sample_data_folder() / "lens.yaml")
    options = {
        **frame_transform(("plane",) * (pixels.ndim - 2), lens.pixel_size_um),
        "name": name,
        "colormap": "gray",
        "contrast_limits": (float(pixels.min()), float(np.percentile(pixels, 99.8))),
        "metadata": metadata(SAMPLE, source=source),
    }
    return np.asarray(pixels), options, "image"


def get_psf_field_reader(path: Paths) -> Reader | None:
    """Reader of PSF fields as images of their PSFs; None for any other TIFF file."""
    are_fields = all(coordgate_tiff_kind(file) == "PSF field" for file in _files(path))
    return _read_psf_fields if are_fields else None


def get_image_reader(path: Paths) -> Reader:
    """Reader of the files of microscopes, each scene as a layer; pixels are read when shown."""
    return _read_images


def get_lens_reader(path: Paths) -> Reader | None:
    """Reader of lenses as images of their PSFs; None for other YAML files."""
    return _read_lenses if all(map(_is_lens, _files(path))) else None


def _is_lens(file: Path) -> bool:
    try:
        load_lens(file)
    except SettingsError:
        return False
    return True


def get_model_reader(path: Paths) -> Reader | None:
    """Reader of models as their gating maps; None for intact files of other programs.

    Of a damaged file the reader says what is wrong.
    """
    return None if any(map(_is_foreign, _files(path))) else _read_models


def _say(text: str) -> None:
    from napari.utils.notifications import show_info

    show_info(text)


def _files(path: Paths) -> list[Path]:
    return [Path(name) for name in ([path] if isinstance(path, str) else path)]


def _is_foreign(file: Path) -> bool:
    """Whether a file is intact, and contains tensors of another program."""
    try:
        return {*MODEL_FORMATS, UNIVERSAL_FORMAT}.isdisjoint(read_metadata(file))
    except (OSError, ValueError):
        return False


def _read_images(path: Paths) -> list[LayerData]:
    from napari_coordgate.widgets.opening import read_layers  # imports Qt

    return [layer for file in _files(path) for layer in read_layers(file)]


def _read_psf_fields(path: Paths) -> list[LayerData]:
    from napari_coordgate.optics import PSFField, PSFGrid

    layers: list[LayerData] = []
    for file in _files(path):
        psf_field = PSFField.load(file)
        _say(
            f"{file.name} is the blur of a lens (PSF field): the widgets Deblur and Train offer it "
            "under Lens. The layer shows it over the camera image."
        )
        options = {
            **frame_transform((), psf_field.pixel_size_um),
            "name": f"{file.stem.removesuffix('.psf')} psf field",
            "colormap": "gray",
            "contrast_limits": (0.0, 1.0),
            "metadata": psf_field_metadata(psf_field, file),
        }
        layers.append((PSFGrid.from_psf_field(psf_field).montage(), options, "image"))
    return layers


def _read_lenses(path: Paths) -> list[LayerData]:
    from napari_coordgate.optics import PSFGrid  # imports torch

    layers: list[LayerData] = []
    for file in _files(path):
        lens = load_lens(file)
        shape = measured_frame(lens) or _frame_of_image() or FRAME_SHAPE
        _say(
            f"{file.name} is a lens: the widgets Deblur and Train offer it under Lens once its "
            f"blur is computed, for camera images of {format_shape(shape)} pixels. The layer "
            "shows its PSFs."
        )
        options = {
            **frame_transform((), lens.pixel_size_um),
            "name": f"{file.stem} PSFs",
            "colormap": "magma",
            "blending": "additive",
            "metadata": metadata(LENS, lens=lens, frame_shape=shape, path=str(file)),
        }
        layers.append((PSFGrid.from_lens(lens, shape).montage(), options, "image"))
    return layers


def _frame_of_image() -> tuple[int, int] | None:
    """Height and width of the newest image in the window, which a lens is likely for."""
    from napari import current_viewer

    from napari_coordgate.widgets.choices import Refused, recorded_layers  # imports Qt

    viewer = current_viewer()
    images = [] if viewer is None else [image for _, image in recorded_layers(viewer)]
    return next((frame_of(image) for image in images if not isinstance(image, Refused)), None)


def _read_models(path: Paths) -> list[LayerData]:
    from napari_coordgate.inference import gating_maps
    from napari_coordgate.model import Model, is_universal

    layers: list[LayerData] = []
    for file in _files(path):
        if is_universal(file):
            _offer_universal(file)
            continue
        model = Model.load(file)
        _say(
            f"{file.name} is a model: the widgets Deblur and Gating maps offer it under Model, as "
            f"{file.stem}. The layers show what it learned."
        )
        maps = gating_maps(model, longest_side=MAX_MAP_SIDE)
        if not maps:
            raise ModelError(
                f"{file}: this model has no gates to show; load it in the Deblur widget instead."
            )
        layers += gate_layers(model, maps, file.stem, str(file))
    return layers or [NO_LAYER]


def _offer_universal(file: Path) -> None:
    """Offer a universal model, which has nothing to show without a lens, in every widget."""
    from napari import current_viewer

    from napari_coordgate.widgets.session import session_of  # imports Qt

    viewer = current_viewer()
    if viewer is not None:
        session_of(viewer).load_model(file, is_told=True)
    _say(f"{file.name} is a universal model: Deblur offers it under Model, as {file.stem}.")


def write_image_layer(path: str, data: Any, options: dict[str, Any]) -> list[str]:
    """Save an image with axes, pixel size, channels and our settings; returns the file written.

    napari has asked before ``path`` replaces another file. Images that are not ours are written by
    napari, except those whose name asks for OME metadata and whose axes are known.
    """
    from napari.layers import Image as ImageLayer
    from npe2 import PluginManager

    from napari_coordgate.widgets.opening import layer_image, save_image  # imports Qt

    is_ours = bool(provenance(options.get("metadata", {})))
    if is_ours or path.lower().endswith((".ome.tif", ".ome.tiff", ".zarr")):
        layer = ImageLayer.create(data, options, "image")
        assert isinstance(layer, ImageLayer)
        try:
            image = layer_image(layer)
        except ImageError:
            if is_ours:
                raise
        else:
            save_image(Path(path), image, overwrite=True)
            return [path]
    commands = PluginManager.instance().commands
    written: str | None = commands.execute("napari.write_image", args=(path, data, options))
    return [] if written is None else [written]


def write_psf_field(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Save the PSF field that an image layer carries; returns the file written.

    napari has asked before ``path`` replaces another file; a name completed here replaces none.
    """
    options = next(options for _, options, kind in layers if kind == "image")
    psf_field = psf_field_of(options.get("metadata", {}))
    if psf_field is None:
        raise OutputError(
            f"{options.get('name', 'The layer')} contains no PSF field; save the layer that Lens "
            "PSF makes, or choose another format."
        )
    is_named = Path(path).suffix.lower() in (".tif", ".tiff")
    target = path if is_named else path + PSF_FIELD_SUFFIX
    check_not_exists([target], overwrite=is_named, hint="choose another name")
    psf_field.save(target, overwrite=is_named)
    return [target]
