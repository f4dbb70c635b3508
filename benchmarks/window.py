"""Latency of the event loop of the napari window during a training."""

import statistics
import tempfile
import time
from pathlib import Path

import napari
from qtpy.QtCore import QEventLoop, QTimer

from benchmarks.figures import Figure
from benchmarks.training import SAMPLE_LENS
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.contributions import nuclei_to_train_on
from napari_coordgate.widgets.train import TrainWidget

FRAME = (256, 256)
TICK_MS = 10


class Latency:
    """Record how late a timer of the main thread fires: the delay of the answer to a click."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._due = 0.0
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._fired)
        self._start()

    def _start(self) -> None:
        self._due = time.perf_counter() + TICK_MS / 1000
        self._timer.start(TICK_MS)

    def _fired(self) -> None:
        self.late_ms.append(max(0.0, 1000 * (time.perf_counter() - self._due)))
        self._start()


def wait(milliseconds: int) -> None:
    """Run the event loop for a while."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def measure(seconds: float = 60.0, idle_seconds: float = 5.0) -> list[Figure]:
    """Measure the latency, idle and during a training of the sample images started by a click."""
    viewer = napari.Viewer()
    for pixels, options, _ in nuclei_to_train_on():
        viewer.add_image(pixels, **options)
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Train")
    wait(int(400 * idle_seconds))
    idle = Latency()
    wait(int(1000 * idle_seconds))
    with tempfile.TemporaryDirectory() as folder:
        widget.session.psf_fields["lens"] = PSFField.from_lens(SAMPLE_LENS, FRAME)
        widget.inputs.layers.tick(*viewer.layers)
        widget.output.value = Path(folder) / "model.safetensors"
        training = Latency()
        widget.bar.run.click()
        while not widget.curves.isVisible() or widget.bar.bar.value() < 2:
            wait(50)
        wait(int(1000 * seconds))
        widget.bar.cancel.click()
        while widget.bar.job is not None and widget.bar.job.is_running:
            wait(50)
    viewer.close()
    return [
        Figure("latency of the event loop, idle, median", statistics.median(idle.late_ms), "ms"),
        Figure("latency of the event loop, idle, maximum", max(idle.late_ms), "ms"),
        Figure(
            "latency of the event loop, training, median",
            statistics.median(training.late_ms),
            "ms",
            at_most=50,
        ),
        Figure(
            "latency of the event loop, training, maximum",
            max(training.late_ms),
            "ms",
            at_most=200,
        ),
    ]
