"""The demonstration in a window: an image of an unknown lens, its lens estimated, and deblurred.

Run: ``python -m napari_coordgate.widgets.demo``, or ``napari-coordgate demo``.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import napari
import numpy as np
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QObject

from napari_coordgate.config import Camera, Lens, RichardsonLucyConfig
from napari_coordgate.events import Event, Progress, raise_if_canceled
from napari_coordgate.geometry import Window
from napari_coordgate.widgets.contributions import nuclei_sharp
from napari_coordgate.widgets.deblur import DEBLURRING, DeblurredLayer
from napari_coordgate.widgets.dock import LENS, TRUST, CoordGateWidget
from napari_coordgate.widgets.jobs import Job, weak_connect
from napari_coordgate.widgets.layers import frame_transform, metadata, plane_on_view
from napari_coordgate.widgets.lens_psf import COMPUTING
from napari_coordgate.widgets.menu import PLUGIN
from napari_coordgate.widgets.methods import RICHARDSON_LUCY
from napari_coordgate.widgets.parts import Part
from napari_coordgate.widgets.session import session_of

RECORDING, REFERENCE = "Record the sample", "Deblur by Richardson-Lucy"
NEXT = {RECORDING: COMPUTING, COMPUTING: DEBLURRING, DEBLURRING: REFERENCE, REFERENCE: ""}
"""The job that ends after each; no others are looked at."""
NAME = "nuclei of an unknown lens"
DEMO_LENS = Lens(
    na=0.5, wavelength_nm=520, pixel_size_um=0.325, field_curvature_um=7, tilt_um=(1.5, -1)
)
"""Another lens than that of the starter model; the demonstration has to estimate it."""
CAMERA = Camera(photons=2000, read_noise=3)
SIDE = 256
TOLERANCE, ENCLOSED = 0.05, 0.95
CORNER_ZOOM = 2.2
SEED = 5


@dataclass(frozen=True, eq=False)
class Recording:
    """Sharp planes (N, H, W), recorded through the lens of the demonstration."""

    sharp: NDArray[Any]

    def events(self, job: Job) -> Generator[Event, None, NDArray[np.float32]]:
        """Events of the simulation, for the background thread."""
        from napari_coordgate.optics import PSFField  # imports torch
        from napari_coordgate.simulation import simulate

        shape, cancel = self.sharp.shape[-2:], job.cancel_requested
        field = PSFField.from_lens(DEMO_LENS, shape, TOLERANCE, ENCLOSED, cancel=cancel)
        planes = []
        for number, plane in enumerate(self.sharp):
            raise_if_canceled(cancel, "Stopped.")
            planes.append(simulate(plane, field, CAMERA, rng=SEED + number))
            yield Progress("recording", number + 1, len(self.sharp), 0.0)
        return np.stack(planes)


class Demo(QObject):
    """Goes through the steps of the CoordGate dock; each starts when the one before has ended."""

    def __init__(self, viewer: Viewer, sharp: NDArray[Any]) -> None:
        _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "CoordGate")
        assert isinstance(dock, CoordGateWidget)
        super().__init__(dock)
        self.viewer, self.dock = viewer, dock
        self._reference: DeblurredLayer | None = None
        self._awaited = RECORDING
        weak_connect(dock.session.job_ended, self._go_on)
        dock.session.start(Job(RECORDING, Recording(sharp).events))

    @property
    def is_running(self) -> bool:
        """Whether steps are still to come."""
        return bool(self._awaited)

    def _go_on(self, job: Job) -> None:
        """Start the next step; a step without a result is the last."""
        end = job.end
        if job.title != self._awaited or end is None:
            return
        self._awaited = "" if end.result is None else NEXT[job.title]
        if end.result is None:
            return
        if job.title == RECORDING:
            self._add_image(end.result)
            self.dock.go(LENS)
            self.dock.lens.estimate.click()
        elif job.title == COMPUTING:
            self.dock.deblur.run()
        elif job.title == DEBLURRING:
            self._deblur_by_reference()
        elif job.title == REFERENCE:
            self._show_side_by_side()

    def _add_image(self, pixels: NDArray[np.float32]) -> None:
        self.viewer.add_image(
            pixels,
            **frame_transform(("plane",), DEMO_LENS.pixel_size_um),
            name=NAME,
            contrast_limits=(float(pixels.min()), float(np.percentile(pixels, 99.8))),
            metadata=metadata("sample", source="simulated"),
        )

    def _deblur_by_reference(self) -> None:
        """Deblur the visible plane by Richardson-Lucy with the same lens."""
        deblur = self.dock.deblur
        layer = deblur.image.value
        settings = deblur.method.settings() | {"deconvolution": RichardsonLucyConfig()}
        height, width = layer.data.shape[-2:]
        plane = plane_on_view(self.viewer, layer)
        request = deblur.request_for(Part(layer, plane, Window(0, 0, height, width)))
        request = replace(request, settings=request.settings.replace(**settings), maps=None)
        self._reference = shown = DeblurredLayer(self.viewer, request, RICHARDSON_LUCY)
        shown.options["name"] = f"{layer.name} {RICHARDSON_LUCY}"
        job = Job(REFERENCE, request.events)
        job.happened.connect(shown.show)
        job.finished.connect(shown.end)
        deblur.bar.follow(job)
        self.dock.session.start(job)

    def _show_side_by_side(self) -> None:
        """Enlarge a corner of the image, Richardson-Lucy, the result, and its expected error."""
        result = self.dock.deblur.result
        assert result is not None and self._reference is not None
        layers = (result.of, self._reference.layer.layer, result.layer.layer)
        shown = [*layers, result.map_layer("error_map")]
        for layer in self.viewer.layers:
            layer.visible = layer in shown
        self.viewer.canvas.grid.enabled = True
        self.viewer.reset_view()
        corner = np.asarray(result.of.extent.world)[1, -2:]
        camera = self.viewer.scene.camera
        camera.zoom *= CORNER_ZOOM
        camera.center = (*camera.center[:-2], *(corner * (1 - 0.5 / CORNER_ZOOM)))
        self.dock.go(TRUST)


def show_demo(viewer: Viewer) -> Demo:
    """Run the demonstration in a viewer, unless it runs; its steps run in the background."""
    dock = session_of(viewer).widgets.get(CoordGateWidget)
    for demo in [] if dock is None else dock.findChildren(Demo):
        if demo.is_running:
            return demo
    ((sharp, _, _),) = nuclei_sharp()
    return Demo(viewer, np.asarray(sharp))


def main() -> None:
    """Open napari with the demonstration, and stay until it is closed."""
    viewer = napari.Viewer(title="napari-coordgate")
    show_demo(viewer)
    napari.run()


if __name__ == "__main__":
    main()
