"""The CoordGate dock: from an image to a result that can be trusted, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_coordgate.geometry import format_shape
from napari_coordgate.widgets.choices import Choice
from napari_coordgate.widgets.hosting import Host, show_widget
from napari_coordgate.widgets.image_step import ImageStep
from napari_coordgate.widgets.jobs import Job, weak_connect
from napari_coordgate.widgets.layers import frame_of, pixels_of
from napari_coordgate.widgets.menu import run_demo
from napari_coordgate.widgets.methods import UNIVERSAL
from napari_coordgate.widgets.panel import DockWidget, Links, scrolled, word_wrapped_label
from napari_coordgate.widgets.trust_step import TrustStep

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer

    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField
    from napari_coordgate.widgets.deblur import DeblurWidget
    from napari_coordgate.widgets.lens_psf import LensPSFWidget

IMAGE, LENS, DEBLUR, TRUST, MORE = range(5)
NAMES = ("Image", "Lens", "Deblur", "Trust", "More")
DONE, DOUBTFUL = "✓", "!"
LENS_TEXT = "Use this lens, or estimate it from the image."
MISSING_LINES = 2
"""Lines for what a step lacks, which are kept free so that no button moves."""
PAUSE_MS = 20
"""Time between the parts of opening the dock, in which the window answers."""
TAB_STYLE = "QTabBar::tab { padding: 4px 5px; min-width: 0; height: 18px; }"
MORE_WIDGETS = {
    "Train": ("train:TrainWidget", "Train a model for your lens; worth it for many images."),
    "Gating maps": ("gating_maps:GatingMapsWidget", "See what a model learned of its lens."),
    "Compare": ("compare:CompareWidget", "Compare methods on one image."),
    "Batch deblur": ("batch:BatchWidget", "Deblur a folder of images."),
}
"""Widgets that few need at once: their class, and what they are for."""


class CoordGateWidget(DockWidget):
    """Tabs for the steps from an image to a trusted result, each with what it lacks and *Next*."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.image = ImageStep(viewer)
        self.lens_page = Host(viewer, "Lens PSF", "lens_psf:LensPSFWidget")
        self.deblur_page = Host(viewer, "Deblur", "deblur:DeblurWidget")
        self.trust = TrustStep(viewer)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.setStyleSheet(TAB_STYLE)
        pages = (self.image, self.lens_page, self.deblur_page, self.trust, self._more_page())
        for page, name in zip(pages, NAMES, strict=True):
            self.tabs.addTab(page, name)
        self.missing, self.links = word_wrapped_label(), Links()
        self.next = QPushButton("Next ▸")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(scrolled(MISSING_LINES, self.missing))
        foot = QHBoxLayout()
        foot.addWidget(self.links, 1)
        foot.addStretch()
        foot.addWidget(self.next)
        layout.addLayout(foot)
        self._connect()
        self._lenses: WeakKeyDictionary[ImageLayer, Model | PSFField] = WeakKeyDictionary()
        self.reset_choices()
        QTimer.singleShot(PAUSE_MS, self._prepare)

    def _prepare(self) -> None:
        """Make the step after the image where that is known, and show it a little later."""
        if self._can_begin:
            assert self.lens is not None
            QTimer.singleShot(PAUSE_MS, self._begin)

    def _begin(self) -> None:
        if self._can_begin:
            self.go(LENS)

    @property
    def _can_begin(self) -> bool:
        return self.image.is_known and self.tabs.currentIndex() == IMAGE

    def _connect(self) -> None:
        self.image.chosen.connect(self._take_image)
        self.image.wavelength_typed.connect(self._take_wavelength)
        self.lens_page.arrived.connect(self._adopt_lens)
        self.deblur_page.arrived.connect(self._adopt_deblur)
        self.lens_page.reveal.connect(lambda: self.go(LENS))
        self.deblur_page.reveal.connect(lambda: self.go(DEBLUR))
        self.trust.again.connect(lambda: self.go(DEBLUR))
        self.tabs.currentChanged.connect(self.refresh)
        self.next.clicked.connect(self._go_on)
        weak_connect(self.session.job_ended, self._note_end)

    @property
    def deblur(self) -> DeblurWidget:
        """The Deblur widget."""
        return cast("DeblurWidget", self.deblur_page.widget)

    @property
    def lens(self) -> LensPSFWidget:
        """The Lens PSF widget."""
        return cast("LensPSFWidget", self.lens_page.widget)

    def _more_page(self) -> QWidget:
        page = QWidget()
        layout = QVBoxLayout(page)
        for name, (path, words) in MORE_WIDGETS.items():
            button = QPushButton(name)
            button.clicked.connect(lambda _, n=name, p=path: show_widget(self.viewer, n, p))
            layout.addWidget(button)
            layout.addWidget(word_wrapped_label(words))
        self.demo = QPushButton("Demonstration")
        self.demo.clicked.connect(lambda: run_demo(self.viewer))
        layout.addWidget(self.demo)
        layout.addWidget(word_wrapped_label("An image of an unknown lens, deblurred by itself."))
        layout.addStretch(1)
        return page

    def reset_choices(self, *_: object) -> None:
        """Offer what exists now; napari calls this when layers are added or removed."""
        for page in (self.image, self.trust):
            page.reset_choices()
        for kind, widget in list(self.session.widgets.items()):
            is_other = kind is not CoordGateWidget and isalive(widget)  # its dock may be gone
            if is_other and isinstance(widget, DockWidget):
                widget.reset_choices()
        self.refresh()

    def go(self, step: int) -> None:
        """Show a step."""
        self.tabs.setCurrentIndex(step)

    def _adopt_lens(self) -> None:
        """Show no layers of the lens unasked, and use the image that is to be deblurred."""
        self.lens.show_blurred.setChecked(False)
        self.lens.show_psfs.setChecked(False)
        self.lens.image.box.activated.connect(lambda: self._note_image(self.lens.image))
        self._pass_image()

    def _adopt_deblur(self) -> None:
        """Judge every result, and deblur the image that was chosen first."""
        deblur = self.deblur
        deblur.suggest_trust()
        deblur.explain = partial(self.go, TRUST)
        deblur.judged.connect(self._note_result)
        deblur.judged.connect(self.refresh)
        deblur.checked.connect(self.refresh)
        deblur.image.changed.connect(lambda: self._note_image(deblur.image))
        self._pass_image()

    def _pass_image(self) -> None:
        """Give the chosen image to the steps that exist, or its new pixel size."""
        layer = self.image.layer
        for page in (self.lens_page, self.deblur_page):
            if layer is None or not page.is_made:
                continue
            choice = self.lens.image if page is self.lens_page else self.deblur.image
            if choice.value is layer:
                choice.changed.emit()
            else:
                choice.set_value(layer)

    def _take_image(self) -> None:
        self._pass_image()
        self._choose_lens()
        self.refresh()

    def _choose_lens(self) -> None:
        """Choose the lens that an image was deblurred with, or else one for its frame."""
        layer = self.image.layer
        if layer is None or not self.deblur_page.is_made:
            return
        fields = list(self.session.psf_fields.values())[::-1]
        chosen = [field for field in fields if field is self._lenses.get(layer)]
        if self.deblur.problem:
            chosen += [field for field in fields if field.frame_shape == frame_of(layer)]
        if chosen:
            self.deblur.method.psf_field.set_value(chosen[0])

    def _take_wavelength(self, wavelength_nm: float) -> None:
        """Describe the lens for light of this wavelength."""
        self.lens.forms["pupil"].editors["wavelength_nm"].set_value(wavelength_nm)

    def _note_image(self, choice: Choice) -> None:
        """Follow an image that was chosen in another step."""
        layer = choice.value
        if layer is not None and layer is not self.image.layer:
            self.image.image.set_value(layer)

    def _note_result(self) -> None:
        """Remember the lens of each image that was deblurred."""
        if (result := self.deblur.result) is not None:
            self._lenses[result.of] = result.request.method

    def _note_end(self, job: Job) -> None:
        """Go on to Deblur with a lens that was computed here."""
        from napari_coordgate.widgets.lens_psf import PSFFieldRequest

        end = job.end
        request = job.context
        if end is None or end.result is None or not isinstance(request, PSFFieldRequest):
            return
        if request.path is not None:  # it was only saved
            return
        if self.isVisible() and self.tabs.currentIndex() == LENS:
            self.deblur.method.choose(UNIVERSAL, end.result)
            self.deblur.method.take_camera()
            self.go(DEBLUR)

    def _show_verdict(self) -> None:
        """Show the verdict on the result of the chosen image, none on that of another."""
        result = self.deblur.result if self.deblur_page.is_made else None
        if result is not None and result.of is not self.image.layer:
            result = None
        if result is not self.trust.result:
            verdict = None if result is None else self.deblur.verdict
            steps = {} if verdict is None else self.deblur.lens_steps(verdict)
            self.trust.show_result(result, verdict, steps)
        self.trust.show_stale(result is not None and self.deblur.is_stale)

    def _go_on(self) -> None:
        """Show the first step that is not done, or the one after this."""
        step = self.tabs.currentIndex()
        self.go(min(step + 1, TRUST))

    @property
    def is_done(self) -> tuple[bool, bool, bool, bool]:
        """Which steps are done."""
        has_image = self.image.layer is not None
        has_lens = has_image and self.deblur_page.is_made and not self.deblur.problem
        result = self.deblur.result if self.deblur_page.is_made else None
        is_deblurred = result is not None and result.of is self.image.layer and result.is_whole
        return has_image, has_lens, is_deblurred, is_deblurred and self.deblur.verdict is not None

    @property
    def is_doubtful(self) -> tuple[bool, bool, bool, bool]:
        """Which steps are done, and may make the result wrong or worse than the image."""
        deblur = self.deblur if self.deblur_page.is_made else None
        checked = None if deblur is None else deblur.fit.verdict
        judged = None if deblur is None else deblur.verdict
        wrong_lens, wrong_result = (
            verdict is not None and verdict.color != "green" for verdict in (checked, judged)
        )
        return self.image.is_doubtful, wrong_lens, False, wrong_result

    def _sign(self, step: int) -> str:
        """Sign of a step that is done; that of one that was not judged yet is missing."""
        if self.is_doubtful[step]:
            return f" {DOUBTFUL}"
        is_open = step == LENS and self.deblur.fit.verdict is None
        is_stale = step in (DEBLUR, TRUST) and self.deblur.is_stale
        return "" if is_open or is_stale else f" {DONE}"

    def refresh(self, *_: object) -> None:
        """Mark what is done, say what the shown step lacks, and show the verdict of the image."""
        done = self.is_done
        self._show_verdict()
        for step, name in enumerate(NAMES[:MORE]):
            self.tabs.setTabText(step, name + (self._sign(step) if done[step] else ""))
        step = self.tabs.currentIndex()
        text, actions = self._missing(step, done)
        self.missing.setText(text)
        self.missing.setVisible(bool(text))
        self.links.offer(actions)
        self.next.setEnabled(step < TRUST and done[step])

    def _missing(
        self, step: int, done: tuple[bool, ...]
    ) -> tuple[str, Mapping[str, Callable[[], object]]]:
        """What a step lacks in one line, and the actions that get it."""
        if step in (IMAGE, MORE):
            return "", {}
        if not done[IMAGE]:
            text = "" if step == DEBLUR else "No image yet."  # that widget says it itself
            return text, {"Open a sample": self.image.open_sample}
        if done[step]:
            return "", {}
        if step == LENS:
            return LENS_TEXT, {}
        if not done[LENS]:
            text = "" if step == DEBLUR else self._lens_text()
            return text, {"Choose the lens": lambda: self.go(LENS)}
        if step == TRUST:
            return "Nothing deblurred yet.", {"Deblur": lambda: self.go(DEBLUR)}
        return "", {}

    def _lens_text(self) -> str:
        """Why there is no lens for the image."""
        layer, method = self.image.layer, self.deblur.method.value
        if method is None or layer is None:
            return "No lens for this image yet."
        return (
            f"The lens is for frames of {format_shape(method.frame_shape)} pixels, not "
            f"{format_shape(pixels_of(layer).shape[-2:])}."
        )
