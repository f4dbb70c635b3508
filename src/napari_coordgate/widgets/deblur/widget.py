"""The Deblur widget."""

from typing import TYPE_CHECKING, cast

import numpy as np
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from qtpy.QtWidgets import QLabel, QLineEdit

from napari_coordgate.config import DeblurSettings
from napari_coordgate.errors import CoordGateError, ImageError, SettingsError
from napari_coordgate.io import Image
from napari_coordgate.widgets.choices import Choice, image_layers
from napari_coordgate.widgets.deblur.request import DeblurRequest, result_array
from napari_coordgate.widgets.deblur.shown import DeblurredLayer, PlaneOnView
from napari_coordgate.widgets.forms import SettingsForm, collapsible
from napari_coordgate.widgets.jobs import Job
from napari_coordgate.widgets.layers.images import guess_axes, image_of
from napari_coordgate.widgets.origin import OriginRows
from napari_coordgate.widgets.panel import JobBar, Panel
from napari_coordgate.widgets.preferences import load_preferences
from napari_coordgate.widgets.shared_files import checkpoint_choice

if TYPE_CHECKING:
    from napari_coordgate.inference import FrameAlignment

__all__ = ["DeblurWidget"]

DEBLURRING = "Deblurring"


class DeblurWidget(Panel):
    """Deblur an image layer: what is visible first, then the rest.

    Parameters
    ----------
    viewer : Viewer
        The viewer.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.image = Choice(lambda: image_layers(viewer, color=True))
        self.checkpoint = checkpoint_choice(self.session)
        self.axes = QLineEdit()
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.add_choice("Image", self.image, "The blurred image, or a stack of some.")
        self.add_choice("Network", self.checkpoint, "A checkpoint, trained for this frame.")
        self.add_row("Axes", self.axes, "A letter of TCZYX for each axis; S for color samples.")
        self.origin = OriginRows(self.rows)
        self.rows.addRow(self.note)
        preferences = load_preferences()
        self.form = SettingsForm(
            DeblurSettings(device=preferences.device, memory_gb=preferences.memory_gb)
        )
        self.body.addWidget(collapsible("Settings", self.form))
        self.body.addStretch(1)
        self.bar = JobBar("Deblur")
        self.foot.addWidget(self.bar)
        self._connect()
        self._guess()
        for job in self.session.running(DEBLURRING):
            self.bar.follow(job)

    def _connect(self) -> None:
        self.image.changed.connect(self._guess)
        self.checkpoint.changed.connect(self._check)
        self.axes.textChanged.connect(self._check)
        self.origin.changed.connect(self._check)
        self.form.changed.connect(self._check)
        self.bar.run_clicked.connect(self.deblur)

    def _guess(self) -> None:
        """Show what the axes of the image are likely to be."""
        layer = self.image.value
        try:
            self.axes.setText("" if layer is None else guess_axes(layer))
        except ImageError:
            self.axes.setText("")
        self._check()

    def _check(self, *_: object) -> None:
        """Allow the start if the image matches the network; say how it does."""
        note, problem = "", ""
        try:
            note = self._placement().note
        except CoordGateError as error:
            problem = str(error)
        self.note.setText(note)
        self.bar.set_problem(problem)

    def _placement(self) -> "FrameAlignment":
        """Where the image lies in the network's frame.

        Raises
        ------
        CoordGateError
            If it does not, or something is missing.
        """
        image, checkpoint = self._image(), self.checkpoint.value
        if checkpoint is None:
            raise SettingsError("Choose a network: load a checkpoint, or train one.")
        if self.form.settings is None:
            raise SettingsError("; ".join(self.form.problems.values()))
        from napari_coordgate.inference import align_to_frame  # torch is here with the checkpoint

        return align_to_frame(image, checkpoint, self.origin.value)

    def _image(self) -> Image:
        layer: ImageLayer | None = self.image.value
        if layer is None:
            raise SettingsError("Choose an image; open one first.")
        return image_of(layer, self.axes.text().upper().strip())

    def deblur(self) -> None:
        """Deblur the image in the background."""
        layer: ImageLayer = self.image.value
        config = cast(DeblurSettings, self.form.settings)
        try:
            image, align_to_frame = self._image(), self._placement()
            dtype = image.data.dtype if config.keep_dtype else np.float32
            out = result_array(image.data.shape, dtype)
        except CoordGateError as error:
            self.bar.complain(str(error))
            return
        request = DeblurRequest(
            image=image,
            checkpoint=self.checkpoint.value,
            config=config,
            placement=align_to_frame,
            out=out,
            visible=PlaneOnView(self.viewer, layer),
        )
        shown = DeblurredLayer(self.viewer, layer, request, self.checkpoint.name)
        job = Job(DEBLURRING, request.events, shown)
        job.happened.connect(shown.show)
        self.bar.follow(job)
        self.session.start(job)
