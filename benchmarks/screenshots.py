"""Screenshots of every widget in each of its states, made from the sample images.

Run: ``python -m benchmarks.screenshots FOLDER`` on a screen, or under ``xvfb-run -a -s
"-screen 0 1280x800x24"``. The docs use ``python -m
benchmarks.screenshots docs/images --kept``. The training takes a minute or two on two CPU cores.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from qtpy.QtWidgets import QWidget
from superqt import QCollapsible

from benchmarks.window import wait
from napari_coordgate.config import PRESETS, Camera, Lens, load_lens
from napari_coordgate.events import FileChanged
from napari_coordgate.io import Image, write_image
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.batch import BatchWidget
from napari_coordgate.widgets.compare import CompareWidget
from napari_coordgate.widgets.contributions import (
    beads_blurred,
    nuclei_blurred,
    nuclei_sharp,
    nuclei_to_train_on,
)
from napari_coordgate.widgets.deblur import DeblurWidget
from napari_coordgate.widgets.flat_field import ESTIMATE
from napari_coordgate.widgets.gating_maps import GatingMapsWidget
from napari_coordgate.widgets.lens_psf import LensPSFWidget
from napari_coordgate.widgets.measure_request import BEADS, FOCUS, IMAGES
from napari_coordgate.widgets.panel import JobBar
from napari_coordgate.widgets.train import TrainWidget

WINDOW = (1280, 800)
STEPS = 400
FOCUS_LENS = Lens(
    na=0.5, wavelength_nm=520, pixel_size_um=0.325, field_curvature_um=8, tilt_um=(1.5, -1)
)
Z_STEP_UM = 2.0
KEPT = (
    "lens-filled",
    "lens-measured",
    "train-running",
    "gates-filled",
    "deblur-done",
    "deblur-trust",
    "deblur-deconvolved",
    "batch-running",
    "compare-done",
)


class Album:
    """Screenshots of viewers with one widget each."""

    def __init__(self, folder: Path, names: tuple[str, ...] | None) -> None:
        self.folder, self.names = folder, names
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, widget: Callable[[Viewer], QWidget], name: str, *samples: Any) -> Any:
        """Open a viewer with sample images and one widget."""
        self.viewer = napari.Viewer()
        self.viewer.window.resize(*WINDOW)
        for sample in samples:
            for pixels, options, _ in sample():
                self.viewer.add_image(pixels, **options)
        opened = widget(self.viewer)
        self.viewer.window.add_dock_widget(opened, name=name)
        wait(500)
        return opened

    def take(self, name: str) -> None:
        """Take a screenshot after a short wait."""
        wait(800)
        if self.names is None or name in self.names:
            self.viewer.window.screenshot(
                str(self.folder / f"widget-{name}.png"), canvas_only=False
            )

    def close(self) -> None:
        """Close the viewer."""
        self.viewer.close()
        wait(200)


def until(condition: Callable[[], object]) -> None:
    """Run the event loop until a condition holds."""
    while not condition():
        wait(100)


def end_of(bar: JobBar) -> None:
    """Run the event loop until a job has ended."""
    until(lambda: bar.job is not None and bar.job.end is not None)


def lens(album: Album) -> None:
    """Lens PSF: empty, filled, with an invalid setting, done."""
    widget: LensPSFWidget = album.open(LensPSFWidget, "Lens PSF")
    album.take("lens-empty")
    album.close()
    widget = album.open(LensPSFWidget, "Lens PSF", nuclei_to_train_on)
    widget.load_file(sample_data_folder() / "lens.yaml")
    until(lambda: not widget.preview.is_busy)
    album.take("lens-filled")
    widget.forms["pupil"].editors["na"].set_value(1.2)
    album.take("lens-mistake")
    widget.forms["pupil"].editors["na"].set_value(0.5)
    widget.bar.run.click()
    end_of(widget.bar)
    album.take("lens-done")
    album.close()


def measure(album: Album) -> None:
    """Lens PSF, Measure: empty, detected beads, measured lens, own images; Deblur with it."""
    widget: LensPSFWidget = album.open(LensPSFWidget, "Lens PSF")
    unfold(widget, widget.measure)
    album.take("lens-measure-empty")
    album.close()
    widget = album.open(LensPSFWidget, "Lens PSF", nuclei_blurred, beads_blurred)
    widget.show_blurred.setChecked(False)
    unfold(widget, widget.measure)
    section = widget.measure
    album.viewer.layers[0].visible = False
    section.detect.click()
    end_of(section.bar)
    album.take("lens-detected")
    section.bar.run.click()
    end_of(section.bar)
    until(lambda: not widget.preview.is_busy)
    widget.area.ensureWidgetVisible(section.deblur)
    album.take("lens-measured")
    section.source.setCurrentText(IMAGES)
    album.take("lens-from-images")
    section.source.setCurrentText(BEADS)
    section.noise.click()
    end_of(section.bar)
    widget.area.ensureWidgetVisible(section.noise_note)
    album.take("lens-noise")
    section.deblur.click()
    until(lambda: shown_deblur(album) is not None)
    deblurring = shown_deblur(album)
    assert deblurring is not None
    album.take("deblur-deconvolution")
    deblurring.bar.run.click()
    end_of(deblurring.bar)
    for layer in list(album.viewer.layers):
        if not layer.name.startswith("nuclei"):
            album.viewer.layers.remove(layer)
    album.viewer.layers[0].visible = True
    side_by_side(album.viewer)
    album.take("deblur-deconvolved")
    album.close()


def unfold(widget: LensPSFWidget, part: QWidget) -> None:
    """Unfold the section of a part of the form, and fold the others."""
    for section in widget.findChildren(QCollapsible):
        if section.isAncestorOf(part):
            section.expand(animate=False)
        else:
            section.collapse(animate=False)


def focus(album: Album) -> None:
    """Lens PSF, Measure: a focus series, and the lens measured from it; flat field."""
    widget: LensPSFWidget = album.open(LensPSFWidget, "Lens PSF", focus_series)
    widget.show_blurred.setChecked(False)
    widget.set_lens(FOCUS_LENS.replace(field_curvature_um=0, tilt_um=(0, 0)))
    unfold(widget, widget.measure)
    section = widget.measure
    section.source.setCurrentText(FOCUS)
    section.z_step.set_value(None)
    album.take("lens-focus-step")
    section.z_step.set_value(Z_STEP_UM)
    section.bar.run.click()
    end_of(section.bar)
    until(lambda: not widget.preview.is_busy)
    widget.area.ensureWidgetVisible(section.noise)
    album.take("lens-focus")
    widget.area.ensureWidgetVisible(widget.image)
    album.take("lens-focus-form")
    flat_field = widget.flat_field
    unfold(widget, flat_field)
    wait(300)
    widget.area.ensureWidgetVisible(flat_field)
    album.take("lens-flat-field-none")
    flat_field.choice.set_value(ESTIMATE)
    wait(300)
    widget.area.ensureWidgetVisible(flat_field)
    album.take("lens-flat-field-estimate")
    flat_field.images.tick(*album.viewer.layers)
    flat_field.offset.set_value(0.0)
    flat_field.bar.run.click()
    end_of(flat_field.bar)
    widget.area.ensureWidgetVisible(flat_field)
    album.take("lens-flat-field")
    album.close()


def focus_series() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a stack of nuclei at nine planes through the focus of a curved lens."""
    from napari_coordgate import PSFField, simulate

    ((sharp, options, _),) = nuclei_sharp()
    planes = []
    for number in range(-4, 5):
        lens = FOCUS_LENS.replace(defocus_um=-3 + number * Z_STEP_UM)
        field = PSFField.from_lens(lens, sharp.shape[-2:], 0.05, 0.95)
        planes.append(simulate(sharp[0], field, Camera(photons=1000, read_noise=2), rng=number + 9))
    side = FOCUS_LENS.pixel_size_um
    options = {
        "name": "focus series",
        "scale": (Z_STEP_UM, side, side),
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
    }
    return [(np.stack(planes), options, "image")]


def shown_deblur(album: Album) -> DeblurWidget | None:
    """Deblur widget that another widget opened in the window."""
    widgets = album.viewer.window.dock_widgets.values()
    return next((widget for widget in widgets if isinstance(widget, DeblurWidget)), None)


def train(album: Album) -> None:
    """Train: empty, filled, running, stopped, failed."""
    widget: TrainWidget = album.open(TrainWidget, "Train")
    album.take("train-empty")
    album.close()
    widget = album.open(TrainWidget, "Train", nuclei_to_train_on)
    widget.session.psf_fields["20x 0.5"] = demo_psf_field()
    widget.inputs.layers.tick(*widget.viewer.layers)
    widget.camera.set_settings(Camera(photons=5000, read_noise=3))
    settings = PRESETS["quick"].model_copy(update={"steps": STEPS, "validate_every": 40})
    widget.form.set_settings(settings)
    with tempfile.TemporaryDirectory() as folder:
        widget.output.value = Path(folder) / "nuclei.safetensors"
        album.take("train-filled")
        widget.bar.run.click()
        until(lambda: widget.curves.isVisible() and widget.bar.bar.value() > STEPS * 0.7)
        album.take("train-running")
        widget.bar.stop.click()
        end_of(widget.bar)
        album.take("train-stopped")
        flat = widget.viewer.add_image(np.ones((256, 256)), name="flat", contrast_limits=(0, 1))
        widget.inputs.layers.tick(flat)
        widget.output.value = Path(folder) / "other.safetensors"
        widget.bar.run.click()
        end_of(widget.bar)
        album.take("train-failed")
        album.close()


def demo_psf_field() -> PSFField:
    """Return the PSF field of the demo lens."""
    return PSFField.from_lens(load_lens(sample_data_folder() / "lens.yaml"), (256, 256))


def gates(album: Album) -> None:
    """Gating maps: empty, filled."""
    widget: GatingMapsWidget = album.open(GatingMapsWidget, "Gating maps", nuclei_blurred)
    album.take("gates-empty")
    widget.session.load_model(sample_data_folder() / "starter.safetensors")
    until(lambda: widget.maps)
    widget.show_maps.click()
    widget.inspect(20, 200)
    until(lambda: not widget.inspection.is_busy)
    album.take("gates-filled")
    album.close()


def deblur(album: Album) -> None:
    """Deblur: empty, an image with another frame shape, filled, done."""
    widget: DeblurWidget = album.open(DeblurWidget, "Deblur")
    album.take("deblur-empty")
    album.close()
    widget = album.open(DeblurWidget, "Deblur", nuclei_to_train_on)
    widget.session.load_model(sample_data_folder() / "starter.safetensors")
    until(lambda: widget.method.value is not None)
    album.take("deblur-mismatch")
    album.close()
    widget = album.open(DeblurWidget, "Deblur", nuclei_blurred)
    widget.session.load_model(sample_data_folder() / "starter.safetensors")
    until(lambda: widget.method.value is not None)
    album.take("deblur-filled")
    widget.bar.run.click()
    end_of(widget.bar)
    side_by_side(album.viewer)
    album.take("deblur-done")
    album.close()
    widget = album.open(DeblurWidget, "Deblur", nuclei_blurred)
    widget.session.psf_fields["20x 0.5"] = demo_psf_field()
    widget.trust.setChecked(True)
    widget.bar.run.click()
    end_of(widget.bar)
    album.take("deblur-trust")
    album.close()


def batch(album: Album) -> None:
    """Batch deblur: empty, filled, running with an opened file, done, with errors."""
    widget: BatchWidget = album.open(BatchWidget, "Batch deblur")
    album.take("batch-empty")
    widget.session.load_model(sample_data_folder() / "starter.safetensors")
    until(lambda: widget.method.value is not None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "night"
        fill(folder)
        widget.folder.value = folder
        album.take("batch-filled")
        widget.bar.run.click()
        until(lambda: len(done(widget)) > 2)
        widget.table.open_requested.emit(done(widget)[-1])
        until(lambda: len(album.viewer.layers) == 2)
        side_by_side(album.viewer)
        album.take("batch-running")
        end_of(widget.bar)
        album.take("batch-done")
        widget.table.only_failed.click()
        album.take("batch-failed")
        widget.names.editors["pattern"].set_value("*.czi")
        widget.bar.run.click()
        end_of(widget.bar)
        album.take("batch-nothing")
        album.close()


def fill(folder: Path) -> None:
    """Write a folder of images behind the demo lens, one of them truncated."""
    ((stack, _, _),) = nuclei_blurred()
    side = load_lens(sample_data_folder() / "lens.yaml").pixel_size_um
    assert side is not None
    for plate in ("plate 1", "plate 2"):
        (folder / plate).mkdir(parents=True)
        for number in range(12):
            image = Image(stack[number % len(stack)], "YX", (side, side))
            write_image(folder / plate / f"well {number:02}.tif", image)
    whole = (folder / "plate 1" / "well 00.tif").read_bytes()
    (folder / "plate 1" / "well 01.tif").write_bytes(whole[:20_000])


def done(widget: BatchWidget) -> list[FileChanged]:
    """Return the files that are done."""
    files = widget.status.files.values() if widget.status is not None else ()
    return [file for file in files if file.status == "done"]


def compare(album: Album) -> None:
    """Compare: empty, filled, running, done, one method selected, without ground truth."""
    widget: CompareWidget = album.open(CompareWidget, "Compare")
    album.take("compare-empty")
    album.close()
    widget = album.open(CompareWidget, "Compare", nuclei_sharp)
    widget.session.load_model(sample_data_folder() / "starter.safetensors")
    until(lambda: widget.psf_field.value is not None)
    widget.state.setCurrentIndex(1)
    album.take("compare-filled")
    widget.bar.run.click()
    until(lambda: len(widget.results.rows) > 2)
    album.take("compare-running")
    end_of(widget.bar)
    album.take("compare-done")
    widget.side_by_side.setChecked(False)
    widget.results.picked.emit(1)
    album.take("compare-one")
    album.close()
    widget = album.open(CompareWidget, "Compare", nuclei_to_train_on)
    widget.session.load_model(sample_data_folder() / "starter.safetensors")
    until(lambda: widget.psf_field.value is not None)
    widget.bar.run.click()
    end_of(widget.bar)
    album.take("compare-failed")
    album.close()
    widget = album.open(CompareWidget, "Compare", nuclei_blurred)
    widget.session.load_model(sample_data_folder() / "starter.safetensors")
    until(lambda: widget.psf_field.value is not None)
    widget.bar.run.click()
    end_of(widget.bar)
    album.take("compare-truth-unknown")
    album.close()


def side_by_side(viewer: Viewer) -> None:
    """Show the deblurred image beside the blurred one."""
    blurred, deblurred = (layer for layer in viewer.layers if isinstance(layer, ImageLayer))
    width = blurred.extent.world[1][-1]
    deblurred.translate = (*deblurred.translate[:-1], width * 1.02)
    viewer.reset_view()


PARTS = {
    part.__name__: part for part in (lens, measure, focus, train, gates, deblur, batch, compare)
}


def main() -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kept", action="store_true", help="only those used in the docs")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    album = Album(options.folder, KEPT if options.kept else None)
    for part in options.parts:
        PARTS[part](album)


if __name__ == "__main__":
    main()
