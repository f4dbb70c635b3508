"""The Deblur widget: deblur an image layer with a model or by deconvolution."""

import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from numpy.typing import DTypeLike, NDArray
from qtpy.QtCore import Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QCheckBox, QLineEdit, QPushButton

from napari_coordgate.config import DeblurConfig, DeblurRuntime, DeblurSettings
from napari_coordgate.errors import (
    CoordGateError,
    ImageError,
    OutputError,
    SettingsError,
)
from napari_coordgate.events import Event, Note, PlaneDone
from napari_coordgate.io import Image
from napari_coordgate.io.files import allocate
from napari_coordgate.version import __version__
from napari_coordgate.widgets.adaptation import ADAPTING, Adaptation, AdaptSection
from napari_coordgate.widgets.checking import CheckLine, CheckRequest
from napari_coordgate.widgets.choices import image_choice, image_layers
from napari_coordgate.widgets.forms import RoiOrigin, SettingsForm, collapsible, problems_of
from napari_coordgate.widgets.hosting import estimate_lens, measure_lens, show_lens
from napari_coordgate.widgets.jobs import Job, JobEnd
from napari_coordgate.widgets.layers import (
    DEBLURRED,
    IMAGE,
    LiveLayer,
    copy_appearance,
    guess_axes,
    image_of,
    metadata,
    method_facts,
    pixel_size_um,
    position_px,
    without_pixels,
)
from napari_coordgate.widgets.methods import METHOD_SETTINGS, MethodChoice
from napari_coordgate.widgets.opening import SaveButton
from napari_coordgate.widgets.panel import GrowingArea, JobWidget, word_wrapped_label
from napari_coordgate.widgets.parts import Part, rectangle_part
from napari_coordgate.widgets.preferences import load_preferences
from napari_coordgate.widgets.trust import VERDICT_COLORS, TrustLayers, notes_of, verdict_text

if TYPE_CHECKING:
    from napari_coordgate.inference import FrameAlignment
    from napari_coordgate.model import Model
    from napari_coordgate.optics import PSFField
    from napari_coordgate.trust import TrustVerdict

DEBLURRING = "Deblurring"
TRUST_TOOLTIP = (
    "Add layers with the expected error, the finest detail that survives, and a mask of pixels "
    "that the image contradicts; and say whether the result can be trusted."
)
ESTIMATE, MEASURE = "Estimate it from this image", "Measure the lens"
WHY = "See why"
RECTANGLE_TOOLTIP = "Deblur the visible plane in a rectangle of a Shapes layer, to try settings."
MOVE_RECTANGLE = "Move the rectangle to where you want to try, then click Try a part again."
NO_PART = "The image is resampled to the frame, so that no part of it can be tried: deblur it all."
MAX_BYTES_IN_MEMORY = 2 * 2**30
"""Size of a result above which it is kept in a temporary file."""


@dataclass(frozen=True, eq=False)
class DeblurRequest:
    """An image, a model or PSF field, and how to deblur.

    ``first_plane`` returns the plane to deblur next.
    """

    image: Image
    method: "Model | PSFField"
    settings: DeblurSettings
    alignment: "FrameAlignment"
    out: NDArray[Any]
    part: Part
    first_plane: Callable[[], tuple[int, ...]]
    maps: dict[str, NDArray[Any]] | None = None
    """Takes the maps that show where the result can be trusted; None: they are not shown."""

    def events(self, job: Job) -> Generator[Event, None, Any]:
        """Events of the deblurring, for the background thread."""
        from napari_coordgate.inference import assess_events  # imports torch

        return assess_events(
            self.image,
            self.method,
            origin=self.alignment,
            config=self.settings.select(DeblurConfig),
            runtime=self.settings.select(DeblurRuntime),
            out=self.out,
            create_map=self._create_map,
            first=self.first_plane,
            cancel=job.cancel_requested,
        )

    def _create_map(self, name: str) -> Any:
        if self.maps is None:
            return _Dropped()
        created: NDArray[Any] = result_array(self.image.data.shape, np.float32)
        self.maps[name] = created
        return created

    def is_repeated_by(self, other: "DeblurRequest") -> bool:
        """Whether another request has the same image and settings, or tries them elsewhere.

        That for the whole image also repeats those for parts.
        """
        mine, others = (
            (one.part.layer, one.method, one.settings, one.image.axes, one.alignment.frame_shape)
            for one in (self, other)
        )
        return mine == others and (self.part.window is not None or other.part.window is None)


class _Dropped:
    """Array of a map that nobody looks at."""

    dtype = np.dtype(np.float32)

    def __setitem__(self, index: object, values: object) -> None:
        """Keep nothing."""


class DeblurWidget(JobWidget):
    """Deblur an image layer: the visible plane first, then the rest."""

    page = "plugin/#deblur"
    judged = Signal()
    """`result` is another one, and `verdict` says whether it can be trusted; or both are None."""
    checked = Signal()
    """The form changed, and `problem` says why it cannot be started; empty if it can."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "Deblur")
        self.problem = ""
        self.verdict: TrustVerdict | None = None
        self.result: DeblurredLayer | None = None
        self.explain: Callable[[], object] | None = None  # shows the whole verdict elsewhere
        self._shown: list[DeblurredLayer] = []
        self.image = image_choice(viewer, lambda: image_layers(viewer, color=True))
        self.axes = QLineEdit()
        self.note = word_wrapped_label()
        self.add_choice("Image", self.image, "The blurred image or stack.")
        settings = load_preferences().deblur_settings()
        self.method = MethodChoice(self, settings)
        self.adaptation = AdaptSection(self, self.method)
        self.add_row(
            "Axes",
            self.axes,
            "One letter per axis: T time, C channel, Z depth, Y height, X width, S color.",
        )
        self.origin = RoiOrigin(self.rows, lambda: position_px(self.image.value))
        self.trust, self._knows_trust = QCheckBox("Show where to trust it"), False
        self.trust.setToolTip(TRUST_TOOLTIP)
        self.rows.addRow(self.trust)
        self.rows.addRow(self.note)
        self.form = SettingsForm(
            settings, type(settings).model_fields.keys() - METHOD_SETTINGS - {"strict"}
        )
        self.body.addWidget(self.method.section)
        self.body.addWidget(self.adaptation.section)
        self.body.addWidget(collapsible("Settings", self.form, self.method.network))
        self.body.addStretch(1)
        self.fit = CheckLine(self, self.session.start)
        self.fit.finished.connect(self._offer_lens)
        self._fit_area = GrowingArea(self.fit.label, self.fit.links)
        self.foot.addWidget(self._fit_area)
        self.rectangle = QPushButton("Try a part")
        self.rectangle.setToolTip(RECTANGLE_TOOLTIP)
        self.bar.row.insertWidget(0, self.rectangle)
        self.foot.addWidget(self.bar)
        self.save = SaveButton(self.session)
        self.bar.row.addWidget(self.save)
        self.image.changed.connect(self._guess_axes)
        self.axes.textChanged.connect(self.check)
        self.adaptation.clicked.connect(self._adapt)
        self.rectangle.clicked.connect(self._try)
        self.method.box.activated.connect(self.kept_changed)
        self.trust.clicked.connect(self.kept_changed)
        for part in (self.method, self.origin, self.form):
            part.changed.connect(self.check)
        self._guess_axes()
        for title in (DEBLURRING, ADAPTING):
            for job in self.session.running(title):
                self.follow(job)

    def _guess_axes(self) -> None:
        layer = self.image.value
        try:
            self.axes.setText("" if layer is None else guess_axes(layer))
        except ImageError:
            self.axes.setText("")
        self.check()

    def check(self, *_: object) -> None:
        """Allow the start if the image fits the model or PSF field, and show how it fits."""
        alignment: FrameAlignment | None = None
        try:
            alignment, problem = self._alignment(), ""
        except CoordGateError as error:
            problem = str(error)
        note = "" if alignment is None else alignment.note
        self.problem = problem
        self._check_lens(alignment)
        self.note.setText(note)
        self.note.setVisible(bool(note))
        self.bar.set_problem(problem)
        self.rectangle.setEnabled(self.bar.run.isEnabled())
        self._mark_stale()
        self._show_fit()
        self.checked.emit()

    def _show_fit(self) -> None:
        """Show the check, unless the verdict on the result repeats it."""
        self._fit_area.setVisible(self.verdict is None or self.is_stale)

    def _check_lens(self, alignment: "FrameAlignment | None") -> None:
        """Check in the background whether the image fits the lens, once it is seen."""
        key = self._checked_for()
        if alignment is None or not (self.isVisible() or self.fit.is_of(key)):
            self.fit.ask((), None)
            return
        camera = self.method.settings()["camera"]
        request = CheckRequest(self._image(), self.method.require(), camera, alignment)
        self.fit.ask(key, lambda: request)

    def _offer_lens(self) -> None:
        """Offer to measure a lens that is in doubt."""
        verdict = self.fit.verdict
        self.fit.links.offer({} if verdict is None else self.lens_steps(verdict))
        self.checked.emit()

    def lens_steps(self, verdict: "TrustVerdict") -> dict[str, Callable[[], object]]:
        """Ways to a better lens, where that is in doubt."""
        doubts = {found.subject for found in verdict.findings if found.color != "green"}
        if "pixel size" in doubts:
            return {"Choose the lens": partial(show_lens, self.viewer)}
        if not doubts & {"lens", "contradiction"}:
            return {}
        return {ESTIMATE: self._estimate_lens, MEASURE: partial(measure_lens, self.viewer)}

    def _estimate_lens(self) -> None:
        """Estimate the lens from the image."""
        from napari_coordgate.model import Model  # the method has imported torch

        method = self.method.value
        psf_field = method.psf_field if isinstance(method, Model) else method
        estimate_lens(self.viewer, self.image.value, psf_field)

    def others_to_keep(self) -> dict[str, Any]:
        """Method, and whether results are judged."""
        return {"method": self.method.box.currentText(), "trust": self.trust.isChecked()}

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Show the method that was chosen last."""
        if kept:
            self._knows_trust = True
            self.trust.setChecked(bool(kept.get("trust")))
            self.method.box.setCurrentText(str(kept.get("method")))
        super().recall(kept)

    def suggest_trust(self) -> None:
        """Show where to trust results, unless the user decided about that."""
        if not self._knows_trust:
            self.trust.setChecked(True)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Check the image once the widget is visible."""
        super().showEvent(event)
        self.check()

    def _alignment(self) -> "FrameAlignment":
        """How the image fits the frame; raises a CoordGateError if it does not."""
        image, method = self._image(), self.method.require()
        if problems := problems_of(self.form):
            raise SettingsError(problems)
        from napari_coordgate.inference import align_to_frame  # the method has imported torch

        whole_frame = self.form.settings.whole_frame
        return align_to_frame(image, method, self.origin.value, whole_frame=whole_frame)

    def _image(self) -> Image:
        layer: ImageLayer | None = self.image.value
        if layer is None:
            raise SettingsError("Choose an image; open one first.")
        return image_of(layer, self.axes.text().upper().strip())

    def request(self) -> DeblurRequest:
        """Snapshot of the form, with an array for the result."""
        return self.request_for(Part(self.image.value))

    def request_for(self, part: Part) -> DeblurRequest:
        """Snapshot of the form for a part of the image, with an array for its result."""
        image, alignment = part.image(self._image()), self._alignment()
        if part.window is not None and alignment.window.shape != self._image().frame_shape:
            raise SettingsError(NO_PART)
        alignment = alignment._replace(window=part.window_in(alignment.window))
        settings = self.form.settings.replace(**self.method.settings())
        dtype = image.data.dtype if settings.keep_dtype else np.float32
        return DeblurRequest(
            image=image,
            method=self.method.require(),
            settings=settings,
            alignment=alignment,
            out=result_array(image.data.shape, dtype),
            part=part,
            first_plane=VisiblePlane(self.viewer, part),
            maps={} if self.trust.isChecked() else None,
        )

    def _try(self) -> None:
        """Deblur the rectangle that is drawn, or draw one."""
        try:
            part = rectangle_part(self.viewer, self.image.value)
            if part is None:
                self.bar.show_message(MOVE_RECTANGLE)
            else:
                self.start(self.request_for(part))
        except CoordGateError as error:
            self.bar.show_error(str(error))

    def _checked_for(self) -> tuple[object, ...]:
        """What the check of lens and noise is about."""
        layer, camera = self.image.value, self.method.camera.settings
        size = None if layer is None else pixel_size_um(layer)
        return layer, size, self.method.value, self.origin.value, self.axes.text(), camera

    def chosen(self) -> tuple[object, ...]:
        """Image, method and settings."""
        return *self._checked_for(), self.method.settings(), self.form.settings

    def start(self, request: DeblurRequest) -> None:
        """Deblur in the background, into a new layer."""
        before = [one for one in self._shown if one.request.is_repeated_by(request)]
        shown = DeblurredLayer(self.viewer, request, self.method.name, before)
        name = request.image.name
        job = Job(DEBLURRING, request.events, shown, done_message=lambda _: f"Deblurred {name}.")
        job.happened.connect(shown.show)
        job.happened.connect(self._show_note)
        job.finished.connect(shown.end)
        self._shown = [one for one in self._shown if one not in before] + [shown]
        self.started = self.chosen()
        self._set_result(None, None)
        self.start_job(job)

    def _set_result(self, result: "DeblurredLayer | None", verdict: "TrustVerdict | None") -> None:
        self.result, self.verdict = result, verdict
        self._show_fit()
        self.judged.emit()

    def _adapt(self) -> None:
        """Adapt the universal model to the chosen lens in the background."""
        try:
            self.start_job(self.adaptation.job())
        except CoordGateError as error:
            self.bar.show_error(str(error))

    def _show_note(self, event: Event) -> None:
        """Say what could not be checked."""
        if isinstance(event, Note):
            self.note.setText(event.text)
            self.note.setVisible(True)

    def show_end(self, end: JobEnd) -> None:
        """Say whether the result can be trusted, or that an adapted model is not better."""
        if isinstance(end.result, Adaptation) and not end.result.gain.is_better:
            self.bar.show_message(end.message, VERDICT_COLORS["amber"])
        verdict: TrustVerdict | None = getattr(end.result, "verdict", None)
        if verdict is not None:
            text = verdict_text(verdict, is_short=self.explain is not None)
            self.bar.show_message(text, VERDICT_COLORS[verdict.color])
            notes = notes_of(verdict)
            self.note.setText(" ".join(notes))
            self.note.setVisible(bool(notes))
        shown = None if self.bar.job is None else self.bar.job.context
        if isinstance(shown, DeblurredLayer) and end.reason == "completed":
            self._set_result(shown, verdict)

    def next_steps(self, end: JobEnd) -> Mapping[str, Callable[[], object]]:
        """Measure a lens that is in doubt, and see why; or use an adapted model."""
        verdict: TrustVerdict | None = getattr(end.result, "verdict", None)
        steps: dict[str, Callable[[], object]] = {}
        if verdict is not None:
            steps = self.lens_steps(verdict)
            if self.explain is not None:
                steps[WHY] = self.explain
        if isinstance(end.result, Adaptation) and end.result.gain.is_better:
            steps["Deblur with it"] = self.run
        return steps

    def follow(self, job: Job) -> None:
        """Show a job from now on; only one runs at a time."""
        self.adaptation.set_busy(True)
        super().follow(job)

    def on_end(self, end: JobEnd) -> None:
        """Offer to save the result; choose an adapted model."""
        self.adaptation.set_busy(False)
        shown = None if self.bar.job is None else self.bar.job.context
        if isinstance(shown, DeblurredLayer):
            self.save.offer(shown.layer.layer)
        if isinstance(end.result, Adaptation):
            self.adaptation.choose(end.result)


def result_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Zeros for a result: in memory, or in a temporary file that is deleted with its last layer."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= MAX_BYTES_IN_MEMORY:
        return np.zeros(shape, dtype)
    folder = tempfile.gettempdir()
    if shutil.disk_usage(folder).free < size:
        raise OutputError(
            f"The result takes {size / 1e9:.1f} GB, more than is free in {folder}; free some "
            "space, or deblur a part of the image."
        )
    with tempfile.TemporaryFile() as file:
        allocate(file.fileno(), size)
        return np.memmap(file, dtype, "w+", shape=shape)


class VisiblePlane:
    """Index of the visible plane of a layer, as a plain tuple for the background thread.

    The main thread updates it; if the layer is removed, the last plane stays.
    """

    def __init__(self, viewer: Viewer, part: Part) -> None:
        self.viewer, self.part = viewer, part
        self._update()
        viewer.dims.events.point.connect(self._update)

    def __call__(self) -> tuple[int, ...]:
        """Index over all axes but height and width."""
        return self.index

    def _update(self, _: object = None) -> None:
        if self.part.layer in self.viewer.layers:
            samples = (0,) if self.part.layer.rgb else ()
            self.index = (*self.part.plane_on_view(self.viewer), *samples)


class DeblurredLayer:
    """The result of one job, with the transform and colors of the layer it was made from.

    Planes that are not deblurred yet are dark. The metadata say how the layer was made. Its first
    plane replaces the results ``before``, unless the user renamed them.
    """

    def __init__(
        self,
        viewer: Viewer,
        request: DeblurRequest,
        method_name: str,
        before: "Sequence[DeblurredLayer]" = (),
    ) -> None:
        part, blurred = request.part, request.part.layer
        self.layer, self.of = LiveLayer(viewer), blurred
        self.request, self._before = request, before
        self._name = ""
        self.trust = None if request.maps is None else TrustLayers(viewer, part, request.maps)
        self.options: dict[str, Any] = {
            **part.transform(),
            **copy_appearance(blurred),
            "name": f"{blurred.name} deblurred{'' if self.is_whole else ' in part'}",
            "rgb": blurred.rgb,
            "metadata": metadata(
                DEBLURRED,
                image=blurred.name,
                axes=request.image.axes,
                **{IMAGE: without_pixels(request.image)},
                window=tuple(request.alignment.window),
                **method_facts(method_name, request.method),
                settings=request.settings.model_dump(mode="json"),
                version=__version__,
            ),
        }

    @property
    def is_whole(self) -> bool:
        """Whether the whole image was deblurred, not a part to try."""
        return self.request.part.window is None

    def map_layer(self, kind: str) -> ImageLayer | None:
        """Layer of a map that shows where the result can be trusted, if it exists."""
        return None if self.trust is None else self.trust.layer_of(kind)

    def before(self, pixels: Any) -> Any:
        """Those pixels of the blurred layer that were deblurred."""
        return self.request.part.of(pixels)

    def show(self, event: Event) -> None:
        """Show the planes that are done."""
        if isinstance(event, PlaneDone):
            if self.layer.layer is None:
                for result in self._before:
                    result.remove()
                self.layer.show(self.request.out, **self.options)
                self._name = self.layer.name
            else:
                self.layer.layer.refresh()
            if self.trust is not None:
                self.trust.show()

    def end(self, end: JobEnd) -> None:
        """Mark the result of a job that did not complete."""
        if self.layer.layer is not None:
            self.layer.layer.refresh()
            if end.reason != "completed":
                self.layer.layer.name += " (unfinished)"
                self._name = self.layer.name

    def remove(self) -> None:
        """Remove the layers, unless the user renamed the result."""
        if self.layer.name != self._name:
            return
        self.layer.remove()
        if self.trust is not None:
            self.trust.remove()
