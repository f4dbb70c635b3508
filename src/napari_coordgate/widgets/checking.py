"""Check of the chosen image against the chosen lens, shown before it is deblurred."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_coordgate.config import Camera, DeblurRuntime
from napari_coordgate.io import Image
from napari_coordgate.widgets.jobs import DebouncedJob, Job, JobEnd
from napari_coordgate.widgets.panel import GRAY, Links, word_wrapped_label
from napari_coordgate.widgets.trust import VERDICT_COLORS, findings_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_coordgate.inference import FrameAlignment
    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField
    from napari_coordgate.trust import TrustVerdict

CHECKING = "Check lens and noise"
FITS = {
    "green": "Fits.",
    "amber": "Take care:",
    "red": "The image does not fit the lens:",
}


@dataclass(frozen=True, eq=False)
class CheckRequest:
    """An image, and the lens or model that it is to be deblurred with."""

    image: Image
    method: Model | PSFField
    camera: Camera
    alignment: FrameAlignment

    def compute(self, _: object) -> TrustVerdict:
        """Check lens and noise, for the background thread."""
        from napari_coordgate.inference.assessment import is_measured_blur  # imports torch
        from napari_coordgate.inference.mismatch import check_image
        from napari_coordgate.model import Model
        from napari_coordgate.trust import verdict_of

        window = self.alignment.window
        checked = check_image(self.image, self.method, self.camera, window, DeblurRuntime())
        is_measured = isinstance(self.method, Model) or is_measured_blur(self.method)
        return verdict_of(checked, (), is_measured=is_measured)


class CheckLine(QObject):
    """Line that says in color whether an image fits the lens, from a check in the background."""

    finished = Signal()

    def __init__(self, parent: QWidget, start: Callable[[Job], None]) -> None:
        super().__init__(parent)
        self.label: QLabel = word_wrapped_label(is_rich=True)
        self.links = Links()
        self.verdict: TrustVerdict | None = None
        self._asked: tuple[object, ...] = ()
        self._job = DebouncedJob(start, self)
        self._job.finished.connect(self._show)

    def ask(self, key: tuple[object, ...], request: Callable[[], CheckRequest] | None) -> None:
        """Check what ``key`` identifies, unless that was done; None: there is nothing to check."""
        if request is None:
            self._asked, self.verdict = (), None
            self._job.cancel()
            self.label.setText("")
            self.links.clear()
        elif key != self._asked:
            self._asked, self.verdict = key, None
            self.label.setText(dotted("Checking whether the image fits the lens…", GRAY))
            self.links.clear()
            self._job.request(Job.from_function(CHECKING, request().compute, is_quiet=True))

    def is_of(self, key: tuple[object, ...]) -> bool:
        """Whether what is shown is the check of this."""
        return key == self._asked

    def _show(self, end: JobEnd[TrustVerdict]) -> None:
        self.verdict = end.result
        if self.verdict is None:
            self.label.setText(dotted(f"Not checked: {end.message}", GRAY))
        elif not self.verdict.findings:
            self.label.setText(dotted(" ".join(self.verdict.notes), GRAY))
        else:
            color = self.verdict.color
            text = f"{FITS[color]} {findings_text(self.verdict)}"
            self.label.setText(dotted(text, VERDICT_COLORS[color]))
        self.finished.emit()


def dotted(text: str, color: str) -> str:
    """Text behind a dot of a color, as rich text."""
    return f'<span style="color: {color};">●</span> {html.escape(text)}'
