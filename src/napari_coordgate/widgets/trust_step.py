"""The last step of the dock: whether the result can be trusted, and what was changed."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QPushButton, QSlider

from napari_coordgate.widgets.checking import dotted
from napari_coordgate.widgets.docs import help_on
from napari_coordgate.widgets.forms import add_row, form_rows
from napari_coordgate.widgets.hosting import batch_with
from napari_coordgate.widgets.opening import SaveButton
from napari_coordgate.widgets.panel import Links, Panel
from napari_coordgate.widgets.swipe import Swipe
from napari_coordgate.widgets.trust import STYLES, VERDICT_COLORS, VERDICT_WORDS, notes_of

if TYPE_CHECKING:
    from napari_coordgate.trust import TrustVerdict
    from napari_coordgate.widgets.deblur import DeblurredLayer

BATCH = "Batch deblur with these settings"
NOT_YET = "Deblur an image first. This tab then shows where the result can be trusted."
STALE = "Image, lens or settings were changed since: this is the verdict on what was before."
IN_RECTANGLE = "In the rectangle alone:<br>"
STEPS = 100


class TrustStep(Panel):
    """The verdict with its reasons, the maps behind it, and before against after."""

    again = Signal()
    """The image is to be deblurred again."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.result: DeblurredLayer | None = None
        self.verdict = self.add_note(is_rich=True)
        self.links = Links()
        self.body.addWidget(self.links)
        self.stale, self.renew = self.add_note(), Links()
        self.stale.setText(STALE)
        self.renew.offer({"Deblur again": self.again.emit})
        self.body.addWidget(self.renew)
        self.swipe = Swipe(viewer)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setToolTip("Left of the slider: before. Right of it: after.")
        self.blink = QPushButton("Before (hold, or key B)")
        rows = form_rows()
        add_row(rows, "Before | after", self.slider, self.slider.toolTip())
        self.body.addLayout(rows)
        self.body.addWidget(self.blink)
        self.maps = {kind: QCheckBox(_capital(style.name)) for kind, style in STYLES.items()}
        for kind, box in reversed(self.maps.items()):
            box.setToolTip(STYLES[kind].about)
            self.body.addWidget(box)
            box.toggled.connect(lambda shown, k=kind: self._show_map(k, shown))
        self.save = SaveButton(self.session)
        self.body.addWidget(self.save)
        self.body.addStretch(1)
        self.slider.valueChanged.connect(self._swipe)
        self.blink.pressed.connect(self.swipe.hide_after)
        self.blink.released.connect(self.swipe.show_after)
        self.show_result(None, None, {})

    def show_result(
        self,
        result: DeblurredLayer | None,
        verdict: TrustVerdict | None,
        lens_steps: Mapping[str, Callable[[], object]],
    ) -> None:
        """Show the verdict on a result, and ways to a better lens."""
        self.result = result
        part = "" if result is None or result.is_whole else IN_RECTANGLE
        self.verdict.setText(NOT_YET if verdict is None else part + _verdict_lines(verdict))
        actions = dict(lens_steps)
        if result is not None:
            request = result.request
            actions[BATCH] = partial(batch_with, self.viewer, request.settings, request.method)
        self.links.offer({**actions, **help_on("trust/")})
        self.save.offer(None if result is None else result.layer.layer)
        self.swipe.take(result)
        self.slider.setValue(0)
        self.reset_choices()

    def show_stale(self, is_stale: bool) -> None:
        """Say that what is chosen is not what was judged."""
        for part in (self.stale, self.renew):
            part.setVisible(is_stale)

    def reset_choices(self, *_: object) -> None:
        """Offer the maps and layers that exist now."""
        super().reset_choices()
        for part in (self.slider, self.blink):
            part.setEnabled(self.swipe.is_possible)
        for kind, box in self.maps.items():
            layer = None if self.result is None else self.result.map_layer(kind)
            box.setEnabled(layer is not None)
            if layer is not None:
                box.setChecked(layer.visible)

    def _swipe(self, value: int) -> None:
        self.swipe.show_before(value / STEPS)

    def _show_map(self, kind: str, shown: bool) -> None:
        layer = None if self.result is None else self.result.map_layer(kind)
        if layer is not None:
            layer.visible = shown


def _verdict_lines(verdict: TrustVerdict) -> str:
    """Verdict in color, and each finding behind a dot of its color."""
    worst = f"<b>{dotted(f'{VERDICT_WORDS[verdict.color]}.', VERDICT_COLORS[verdict.color])}</b>"
    findings = [dotted(f.message, VERDICT_COLORS[f.color]) for f in verdict.findings]
    return "<br>".join([worst, *findings, *map(html.escape, notes_of(verdict))])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
