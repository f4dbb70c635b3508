"""The first step of the dock: the image to deblur, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Image as ImageLayer, Layer
from napari.layers.utils.stack_utils import split_rgb
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QWidget

from napari_coordgate.config import Lens
from napari_coordgate.errors import CoordGateError
from napari_coordgate.geometry import format_shape
from napari_coordgate.widgets.checking import dotted
from napari_coordgate.widgets.choices import COLOR, image_choice, image_layers, recorded_layers
from napari_coordgate.widgets.docs import help_on
from napari_coordgate.widgets.forms import add_row, build_editor, form_rows
from napari_coordgate.widgets.jobs import DebouncedJob, Job, JobEnd
from napari_coordgate.widgets.layers import (
    channel_of,
    file_image,
    frame_of,
    guess_axes,
    pixel_size_um,
    pixels_of,
    plane_on_view,
    provenance,
)
from napari_coordgate.widgets.panel import GRAY, Links, Panel
from napari_coordgate.widgets.trust import VERDICT_COLORS

if TYPE_CHECKING:
    from napari_coordgate.config import Camera

SAMPLE = ("napari-coordgate", "nuclei_blurred")
AXIS_WORDS = {"T": "times", "C": "channels", "Z": "planes"}
FEW_PHOTONS = 200
"""Photons of a bright pixel below which noise decides what can be deblurred."""


class PlaneFacts(NamedTuple):
    """What pixels tell: how many are no numbers, and the noise; None where it cannot be told."""

    bad: int
    camera: Camera | None


@dataclass(frozen=True, eq=False)
class PlaneRequest:
    """A plane of an image, by its index, that is looked at in the background."""

    pixels: Any
    index: tuple[Any, ...]
    name: str

    def compute(self, _: object) -> PlaneFacts:
        """Pixels that are no numbers, and else the noise relative to a bright pixel."""
        from napari_coordgate.calibration.plane_noise import estimate_plane_camera, middle_of
        from napari_coordgate.config import Scaling
        from napari_coordgate.normalization import fit_normalizer

        plane = np.asarray(self.pixels[self.index])
        if plane.dtype.kind == "f" and (bad := int(np.sum(~np.isfinite(plane)))):
            return PlaneFacts(bad, None)
        plane = plane[middle_of(plane.shape)]
        scaled = fit_normalizer(plane, Scaling(), self.name).normalize(plane)
        return PlaneFacts(0, estimate_plane_camera(scaled))


class ImageStep(Panel):
    """Choice of the image to deblur; frame, pixel size, wavelength and noise in one line each."""

    chosen = Signal()
    """Another image or pixel size."""
    wavelength_typed = Signal(float)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.wavelength_nm: float | None = None
        self.has_bad_pixels = False
        self.image = image_choice(viewer, self._options, takes_newest=True)
        self.add_choice("Image", self.image, "The blurred image or stack.")
        self.facts, self.noise = self.add_note(is_rich=True), self.add_note(is_rich=True)
        self.links = Links()
        self.body.addWidget(self.links)
        self.pixel_size, self.wavelength = (
            build_editor(name, Lens.model_fields[name], none_text="unknown")
            for name in ("pixel_size_um", "wavelength_nm")
        )
        self.corrections, rows = QWidget(), form_rows()
        self.corrections.setLayout(rows)
        add_row(rows, "Pixel size", self.pixel_size, "Width of a pixel in the sample.")
        add_row(rows, "Emission wavelength", self.wavelength, "Of the light that the camera saw.")
        self.corrections.hide()
        self.body.addWidget(self.corrections)
        self.body.addStretch(1)
        self._noise_job = DebouncedJob(self.session.start, self)
        self._noise_job.finished.connect(self._show_noise)
        self.image.changed.connect(self._take_image)
        self.pixel_size.changed.connect(self._set_pixel_size)
        self.wavelength.changed.connect(self._set_wavelength)
        self._take_image()

    @property
    def layer(self) -> ImageLayer | None:
        """The chosen image."""
        layer: ImageLayer | None = self.image.value
        return layer

    @property
    def is_known(self) -> bool:
        """Whether there is an image of a known pixel size."""
        return self.layer is not None and _mean_size(self.layer) is not None

    @property
    def is_doubtful(self) -> bool:
        """Whether something is missing or wrong that makes results wrong."""
        return self.layer is not None and (not self.is_known or self.has_bad_pixels)

    def _options(self) -> list[tuple[str, Any]]:
        """Recorded images first, then results that may be deblurred again."""
        recorded = recorded_layers(self.viewer, color=True)
        return [*recorded, *(o for o in image_layers(self.viewer, color=True) if o not in recorded)]

    def _take_image(self) -> None:
        """Show what is known of another image, and measure its noise."""
        layer = self.layer
        self.wavelength_nm = None if layer is None else _wavelength_nm(layer)
        with QSignalBlocker(self.pixel_size), QSignalBlocker(self.wavelength):
            self.pixel_size.set_value(None if layer is None else _mean_size(layer))
            self.wavelength.set_value(self.wavelength_nm)
        self._say_of_noise("")
        self.has_bad_pixels = False
        self._noise_job.cancel()
        if layer is not None and 0 not in pixels_of(layer).shape:
            index = plane_on_view(self.viewer, layer) + ((..., 0) if layer.rgb else ())
            self._say_of_noise(dotted("Measuring the noise…", GRAY))
            request = PlaneRequest(pixels_of(layer), index, layer.name)
            self._noise_job.request(
                Job.from_function("Measure the noise of an image", request.compute, is_quiet=True)
            )
        self._show_facts()
        self.chosen.emit()

    def _show_facts(self) -> None:
        layer = self.layer
        if layer is None:
            self.corrections.hide()
            self.facts.setText("Open the image that you want to deblur, or try a sample.")
            self.links.offer({"Open a sample": self.open_sample})
            return
        size = _mean_size(layer)
        if size is None:
            text, color = f"{_shape_text(layer)}. Its pixel size is not known: enter it.", "amber"
        else:
            wavelength = self.wavelength_nm
            light = "wavelength not stated" if wavelength is None else f"{wavelength:g} nm"
            text, color = f"{_shape_text(layer)}, {size:.4g} µm, {light}.", "green"
        actions: dict[str, Callable[[], object]] = {"Correct these": self._toggle_corrections}
        if layer.rgb:
            text, color = f"{text} {COLOR}", "amber"
            actions["Split its channels"] = self._split
        self.facts.setText(dotted(text, VERDICT_COLORS[color]))
        self.links.offer({**actions, **help_on("plugin/#coordgate")})
        if size is None:
            self.corrections.show()

    def _split(self) -> None:
        """Show the channels of a color image as layers instead, and choose the first."""
        layer = self.layer
        if layer is not None:
            channels = split_rgb(layer)
            self.viewer.layers.extend(channels)
            layer.visible = False
            self.image.set_value(channels[0])

    def open_sample(self) -> None:
        """Open a sample image."""
        self.viewer.open_sample(*SAMPLE)

    def _toggle_corrections(self) -> None:
        self.corrections.setVisible(self.corrections.isHidden())

    def _set_pixel_size(self) -> None:
        """Give the layer the pixel size that was typed."""
        layer, size = self.layer, self.pixel_size.value()
        if layer is None or size is None:
            return
        is_known = pixel_size_um(layer) is not None
        same = _made_from(self.viewer, layer) if is_known else _on_same_grid(self.viewer, layer)
        for one in (layer, *same):
            one.scale = (*one.scale[:-2], size, size)
            one.units = (*one.units[:-2], "um", "um")
        self._show_facts()
        self.chosen.emit()

    def _set_wavelength(self) -> None:
        self.wavelength_nm = self.wavelength.value()
        self._show_facts()
        if self.wavelength_nm is not None:
            self.wavelength_typed.emit(self.wavelength_nm)

    def _say_of_noise(self, text: str) -> None:
        self.noise.setText(text)
        self.noise.setVisible(bool(text))

    def _show_noise(self, end: JobEnd[PlaneFacts]) -> None:
        bad, camera = (0, None) if end.result is None else end.result
        self.session.image_camera = camera
        if bad:
            self.has_bad_pixels = True
            text = (
                f"{bad:,} pixels are no numbers (NaN or infinite): replace them, for example with "
                "the mean of their neighbors, before you deblur."
            )
            color = VERDICT_COLORS["red"]
            self.chosen.emit()
        elif camera is None or camera.photons is None:
            text, color = "The noise cannot be measured in this image.", GRAY
        elif camera.photons < FEW_PHOTONS:
            text = (
                f"Little light: a bright pixel has about {camera.photons:,.0f} photons. Noise "
                "limits what can be deblurred; a longer exposure helps."
            )
            color = VERDICT_COLORS["amber"]
        else:
            text = f"Noise measured: a bright pixel has about {camera.photons:,.0f} photons."
            color = VERDICT_COLORS["green"]
        self._say_of_noise(dotted(text, color))


def _on_same_grid(viewer: Viewer, layer: ImageLayer) -> list[Layer]:
    """Layers with the pixels of one whose size is not known: its channels, what is drawn on it."""
    frame, scale, units = frame_of(layer), tuple(layer.scale[-2:]), layer.units[-2:]
    return [
        one
        for one in viewer.layers
        if (tuple(one.scale[-2:]), one.units[-2:]) == (scale, units)
        and not (isinstance(one, ImageLayer) and frame_of(one) != frame)
    ]


def _made_from(viewer: Viewer, layer: ImageLayer) -> list[Layer]:
    """Results and maps of an image."""
    return [one for one in viewer.layers if provenance(one.metadata).get("image") == layer.name]


def _mean_size(layer: ImageLayer) -> float | None:
    """Pixel size of a layer, um; None where it is not known."""
    size = pixel_size_um(layer)
    return None if size is None else sum(size) / 2


def _wavelength_nm(layer: ImageLayer) -> float | None:
    """Emission wavelength that the file of a layer states."""
    image = file_image(layer)
    stated = None if image is None else image.optics.wavelength_nm(channel_of(layer, image))
    return None if stated is None else stated.value


def _shape_text(layer: ImageLayer) -> str:
    """Frame and planes of a layer in words."""
    try:
        axes = guess_axes(layer)
    except CoordGateError as error:
        return str(error).rstrip(".")
    shape = pixels_of(layer).shape
    counts = [
        f"{n} {AXIS_WORDS[axis]}" for axis, n in zip(axes, shape, strict=True) if axis in AXIS_WORDS
    ]
    frame = shape[axes.index("Y")], shape[axes.index("X")]
    return ", ".join([f"Whole frame, {format_shape(frame)} pixels", *counts])
