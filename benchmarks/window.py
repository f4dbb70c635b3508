"""How late the window is while a network trains: the main thread's event loop under load."""

import statistics
import tempfile
import time
from pathlib import Path

import napari
from qtpy.QtCore import QEventLoop, QTimer

from benchmarks.figures import Figure
from benchmarks.training import SAMPLE_LENS
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.contributions.samples import nuclei_to_train_on
from napari_coordgate.widgets.train import TrainWidget

FRAME = (256, 256)
TICK_MS = 10


class Lateness:
    """A timer in the main thread that notes how late it is rung.

    A window that is busy rings it late; so late is also its answer to a click.
    """

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._due = 0.0
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._ring)
        self._wind()

    def _wind(self) -> None:
        self._due = time.perf_counter() + TICK_MS / 1000
        self._timer.start(TICK_MS)

    def _ring(self) -> None:
        self.late_ms.append(max(0.0, 1000 * (time.perf_counter() - self._due)))
        self._wind()


def wait(milliseconds: int) -> None:
    """Let the window live for a while."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def measure(seconds: float = 60.0) -> list[Figure]:
    """Train on the sample images in a window, as a user would, for a while."""
    viewer = napari.Viewer()
    for pixels, options, _ in nuclei_to_train_on():
        viewer.add_image(pixels, **options)
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Train")
    wait(2000)
    idle = Lateness()
    wait(5000)
    with tempfile.TemporaryDirectory() as folder:
        widget.session.psf_fields["lens"] = PSFField.from_lens(SAMPLE_LENS, FRAME)
        widget.inputs.layers.tick(layer for layer in viewer.layers)
        widget.output.value = Path(folder) / "model.safetensors"
        training = Lateness()
        widget.bar.run.click()
        while not widget.curves.isVisible() or widget.bar.bar.value() < 2:
            wait(50)
        wait(int(1000 * seconds))
        widget.bar.cancel.click()
        while widget.bar.job is not None and widget.bar.job.is_running:
            wait(50)
    viewer.close()
    return [
        Figure("window's event loop late, idle, median", statistics.median(idle.late_ms), "ms"),
        Figure("window's event loop late, idle, at most", max(idle.late_ms), "ms"),
        Figure(
            "window's event loop late, in training, median",
            statistics.median(training.late_ms),
            "ms",
            at_most=50,
        ),
        Figure(
            "window's event loop late, in training, at most",
            max(training.late_ms),
            "ms",
            at_most=200,
        ),
    ]
