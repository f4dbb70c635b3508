"""Latency of the event loop of the napari window during a training, and its longest turns.

Run the second part alone: ``xvfb-run -a -s "-screen 0 1280x800x24" python -m benchmarks.window``.
It opens each widget over a sample image, and runs a comparison, a training and a batch; of each it
takes the CPU time of the longest turn of the event loop, imports included. The results are in
``docs/measurements/window.md``.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QEventLoop, QTimer

from benchmarks.figures import Figure
from benchmarks.training import SAMPLE_LENS
from napari_coordgate.config import PRESETS
from napari_coordgate.io import Image, write_image
from napari_coordgate.io.files import sample_data_folder
from napari_coordgate.optics import PSFField
from napari_coordgate.widgets.batch.widget import BATCH, BatchWidget
from napari_coordgate.widgets.compare.widget import COMPARING, SHARP, CompareWidget
from napari_coordgate.widgets.contributions import nuclei_blurred, nuclei_sharp, nuclei_to_train_on
from napari_coordgate.widgets.menu import PLUGIN
from napari_coordgate.widgets.session import session_of
from napari_coordgate.widgets.train import ESTIMATE, TRAINING, TrainWidget

FRAME = (256, 256)
TICK_MS = 10
WIDGETS = ("CoordGate", "Lens PSF", "Deblur", "Train", "Gating maps", "Compare", "Batch deblur")
MOST_MS = 200
STEPS = 60
JOBS = (COMPARING, ESTIMATE, TRAINING, BATCH)
Sample = Callable[[], list[Any]]


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


class Turns:
    """CPU time of the main thread between events of a fast timer: its longest turn, in ms."""

    def __init__(self) -> None:
        self.longest_ms, self._last = 0.0, time.thread_time()
        self._timer = QTimer()
        self._timer.timeout.connect(self._note)
        self._timer.start(1)

    def _note(self) -> None:
        now = time.thread_time()
        self.longest_ms, self._last = max(self.longest_ms, 1000 * (now - self._last)), now

    def take(self) -> float:
        """Longest turn since the last call."""
        longest, self.longest_ms = self.longest_ms, 0.0
        return longest


def longest_turns(seconds: float = 4.0) -> dict[str, float]:
    """Open each widget over a sample image; returns its longest turn, ms."""
    viewer = napari.Viewer()
    for pixels, options, _ in nuclei_blurred():
        viewer.add_image(pixels, **options)
    wait(3000)
    turns, longest = Turns(), {}
    for name in WIDGETS:
        turns.take()
        QTimer.singleShot(0, lambda n=name: viewer.window.add_plugin_dock_widget(PLUGIN, n, True))
        wait(int(1000 * seconds))
        longest[name] = turns.take()
        viewer.window.remove_dock_widget("all")
        wait(500)
    viewer.close()
    return longest


def turns_of_job(name: str, sample: Sample, prepare: Callable[[Any], object]) -> float:
    """Longest turn of a job, ms: from the click that starts it to the end, all its layers shown."""
    viewer = napari.Viewer()
    for pixels, options, _ in sample():
        viewer.add_image(pixels, **options)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
    wait(2000)
    session_of(viewer).load_model(sample_data_folder() / "starter.safetensors")
    prepare(widget)
    wait(3000)
    turns = Turns()
    QTimer.singleShot(0, widget.bar.run.click)
    wait(500)
    while any(list(session_of(viewer).running(title)) for title in JOBS):
        wait(100)
    wait(1000)
    longest = turns.take()
    viewer.close()
    return longest


def running_turns() -> dict[str, float]:
    """Longest turns of a comparison, a training and a batch of the sample images, ms."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def compare(widget: CompareWidget) -> None:
            widget.state.setCurrentText(SHARP)

        def train(widget: TrainWidget) -> None:
            lens = PSFField.from_lens(SAMPLE_LENS, FRAME)
            widget.session.psf_fields["lens"] = lens
            widget.inputs.layers.tick(*widget.viewer.layers)
            update = {"steps": STEPS, "validate_every": STEPS // 10, "validation_images": 2}
            widget.form.set_settings(PRESETS["quick"].model_copy(update=update))
            widget.output.value = folder / "model.safetensors"

        def batch(widget: BatchWidget) -> None:
            fill(folder / "night")
            widget.folder.value = folder / "night"

        return {
            "Compare, running": turns_of_job("Compare", nuclei_sharp, compare),
            "Train, running": turns_of_job("Train", nuclei_to_train_on, train),
            "Batch deblur, running": turns_of_job("Batch deblur", nuclei_blurred, batch),
        }


def fill(folder: Path) -> None:
    """Write images behind the demo lens."""
    folder.mkdir()
    ((stack, _, _),) = nuclei_blurred()
    for number, plane in enumerate([*stack, *stack]):
        write_image(folder / f"{number}.tif", Image(plane, "YX", (0.325, 0.325)))


def main() -> None:
    """Write the longest turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.window", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("docs/measurements"))
    folder = parser.parse_args().folder
    longest = longest_turns() | running_turns()
    (folder / "window.json").write_text(json.dumps(longest, indent=1) + "\n", encoding="utf-8")
    rows = [
        f"| {name} | {value:.0f} | {'yes' if value <= MOST_MS else 'no'} |"
        for name, value in longest.items()
    ]
    lines = [
        "# Longest turns of the event loop",
        "",
        "CPU time of the longest turn while a widget is opened and its first previews are drawn,",
        "imports (of compiled files) included; each is opened for the first time in one napari.",
        "A running job is measured from the click that starts it to its end, with all its layers.",
        f"Target: {MOST_MS} ms. Made by `python -m benchmarks.window`.",
        "",
        "| widget | longest turn, ms | in target |",
        "|---|---|---|",
        *rows,
    ]
    (folder / "window.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
