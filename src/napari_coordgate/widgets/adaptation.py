"""Adapt the universal model to the lens in use: rows of the Deblur widget, and the job."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_coordgate.config import AdaptConfig, Camera
from napari_coordgate.errors import SettingsError
from napari_coordgate.events import Event
from napari_coordgate.io import Image
from napari_coordgate.io.files import check_writable, sample_data_folder
from napari_coordgate.widgets.choices import file_word, free_name, image_choice, sharp_layers
from napari_coordgate.widgets.forms import (
    SettingsForm,
    collapsible,
    form_rows,
    problems_of,
)
from napari_coordgate.widgets.jobs import Job, JobEnd
from napari_coordgate.widgets.layers import image_of
from napari_coordgate.widgets.methods import NO_PSF_FIELD, MethodChoice
from napari_coordgate.widgets.preferences import load_preferences

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_coordgate.optics import PSFField
    from napari_coordgate.training.adaptation import AdaptationGain
    from napari_coordgate.universal_model import UniversalModel
    from napari_coordgate.widgets.panel import Panel

ADAPTING = "Adapting"
SHOWN = {"steps", "batch_size", "learning_rate", "seed"}
SHARP_TOOLTIP = "Sharp images to train on, of the kind that you deblur: a layer, or those shipped."
SHIPPED_IMAGES = ("nuclei that are shipped", None)
HELD_OUT = 5
"""One in so many planes of own images is not trained on."""
TOOLTIP = (
    "Train the universal model further for this lens, on sharp images that the lens blurs. It "
    "takes some minutes; images kept out of training then tell whether it became better."
)


@dataclass(frozen=True, eq=False)
class Adaptation:
    """An adapted model, its file, and how much better it is."""

    model: UniversalModel
    path: Path
    lens: str
    gain: AdaptationGain
    where: str

    def __str__(self) -> str:
        gain = self.gain
        before, after = gain.before.mean(), gain.after.mean()
        levels = f"{before:.1f} dB before, {after:.1f} dB after"
        if gain.is_better:
            less = 100 * (1 - 10 ** (-gain.gain_db / 20))
            return (
                f"On {self.where}, blurred by {self.lens}, its error is {less:.0f} % smaller than "
                f"before ({levels}). {self.path.name} is saved, and chosen for deblurring."
            )
        return (
            f"On {self.where}, blurred by {self.lens}, the adapted model is not better than before "
            f"({levels}), so the former one stays chosen. {self.path.name} is saved nevertheless; "
            "more steps, or sharp images like yours, may help."
        )


@dataclass(frozen=True, eq=False)
class AdaptRequest:
    """A lens, the universal model to start from (None: the shipped one), and sharp images."""

    psf_field: PSFField
    lens: str
    start: UniversalModel | None
    sharp: Image | None
    camera: Camera
    config: AdaptConfig
    path: Path

    def events(self, job: Job) -> Generator[Event, None, Adaptation]:
        """Events of training, then of measuring, for the background thread."""
        from napari_coordgate.training import adapt_events, adaptation_gain_events  # import torch
        from napari_coordgate.universal_model import UniversalModel

        start = self.start or UniversalModel.load()
        trained_on, held_out, where = self.images()
        adapted = yield from adapt_events(
            trained_on,
            self.psf_field,
            model=start,
            camera=self.camera,
            config=self.config,
            cancel=job.cancel_requested,
        )
        gain = yield from adaptation_gain_events(
            start,
            adapted,
            held_out,
            self.psf_field,
            camera=self.camera,
            lens_uncertainty=self.config.lens_uncertainty,
            cancel=job.cancel_requested,
        )
        facts = {**adapted.card["adapted"], "lens": self.lens, **gain.facts()}
        trust = gain.trust or adapted.trust
        adapted = replace(adapted, card={**adapted.card, "adapted": facts}, trust=trust)
        adapted.save(self.path)
        return Adaptation(adapted, self.path, self.lens, gain, where)

    def images(self) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]], str]:
        """Scaled images to train on, those to measure on, and what the latter are."""
        from napari_coordgate.training.universal import load_images

        if self.sharp is None:
            folder, where = sample_data_folder(), "shipped images of nuclei kept out of training"
            return load_images(folder / "train"), load_images(folder / "test"), where
        images, where = load_images(self.sharp), "a part of your images kept out of training"
        if len(images) > 1:
            count = -(-len(images) // HELD_OUT)
            return images[count:], images[:count], where
        (image,) = images
        count = -(-len(image) // HELD_OUT)
        return [image[count:]], [image[:count]], where


class AdaptSection(QObject):
    """Button that adapts the chosen universal model to the chosen lens, and its folded settings."""

    clicked = Signal()

    def __init__(self, panel: Panel, method: MethodChoice) -> None:
        super().__init__(panel)
        self._panel, self._method, self._is_busy = panel, method, False
        self.button = QPushButton("Adapt to this lens")
        self.button.clicked.connect(self.clicked)
        panel.add_row("", self.button, TOOLTIP)
        self.sharp = image_choice(
            panel.viewer, lambda: [SHIPPED_IMAGES, *sharp_layers(panel.viewer)]
        )
        rows, content = form_rows(), QWidget()
        content.setLayout(rows)
        panel.add_choice("Sharp images", self.sharp, SHARP_TOOLTIP, rows)
        self.form = SettingsForm(AdaptConfig(), SHOWN)
        self.section = collapsible("Adaptation", content, self.form)
        """The settings, to be added to the panel's body."""
        for part in (method, self.form):
            part.changed.connect(self.check)
        self.check()

    def check(self) -> None:
        """Show the button for the universal model, and allow it for a lens."""
        self._panel.rows.setRowVisible(self.button, self._method.is_universal)
        self.section.setVisible(self._method.is_universal)
        self.button.setEnabled(self._method.value is not None and not self._is_busy)
        self.button.setToolTip(TOOLTIP if self._method.value is not None else NO_PSF_FIELD)

    def set_busy(self, is_busy: bool) -> None:
        """Do not allow the button while a job runs."""
        self._is_busy = is_busy
        self.check()

    def request(self) -> AdaptRequest:
        """Snapshot of the form; raises a CoordGateError if something is missing or wrong."""
        if problems := problems_of(self.form):
            raise SettingsError(problems)
        method, layer = self._method, self.sharp.value
        # The universal model needs a blur, so that the method is none with a model of a lens.
        psf_field = cast("PSFField", method.require())
        settings = method.settings()["deconvolution"]
        session = self._panel.session
        path = free_name(load_preferences().model_folder, f"universal-{file_word(method.name)}")
        check_writable(path)
        return AdaptRequest(
            psf_field=psf_field,
            lens=method.name,
            start=method.universal.value,
            sharp=None if layer is None else image_of(layer),
            camera=session.camera or session.image_camera or Camera(),
            config=self.form.settings.replace(lens_uncertainty=settings.lens_uncertainty),
            path=path,
        )

    def job(self) -> Job[Adaptation]:
        """Job that adapts; its end offers the adapted model in every widget."""
        request, session = self.request(), self._panel.session
        job: Job[Adaptation] = Job(ADAPTING, request.events, done_message=str)

        def offer(end: JobEnd[Adaptation]) -> None:
            if end.result is not None:
                session.add(end.result.model, end.result.path)

        job.finished.connect(offer)
        return job

    def choose(self, adaptation: Adaptation) -> None:
        """Choose the adapted model for deblurring if it is better."""
        if adaptation.gain.is_better:
            self._method.choose_universal(adaptation.path)
