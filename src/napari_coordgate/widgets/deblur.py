"""The Deblur widget: deblur an image layer with a model or by deconvolution."""

import shutil
import tempfile
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from numpy.typing import DTypeLike, NDArray
from qtpy.QtWidgets import QCheckBox, QLineEdit

from napari_coordgate.config import DeblurConfig, DeblurRuntime, DeblurSettings
from napari_coordgate.errors import (
    CoordGateError,
    ImageError,
    LensMismatchError,
    OutputError,
    SettingsError,
)
from napari_coordgate.events import Event, Note, PlaneDone
from napari_coordgate.io import Image
from napari_coordgate.io.files import allocate
from napari_coordgate.version import __version__
from napari_coordgate.widgets.adaptation import ADAPTING, Adaptation, AdaptSection
from napari_coordgate.widgets.choices import Choice, image_layers
from napari_coordgate.widgets.forms import RoiOrigin, SettingsForm, collapsible, problems_of
from napari_coordgate.widgets.jobs import Job, JobEnd, weak_connect
from napari_coordgate.widgets.layers import (
    DEBLURRED,
    LiveLayer,
    copy_appearance,
    copy_transform,
    guess_axes,
    image_of,
    metadata,
    method_facts,
    plane_on_view,
)
from napari_coordgate.widgets.methods import METHOD_SETTINGS, MethodChoice
from napari_coordgate.widgets.panel import JobWidget, word_wrapped_label
from napari_coordgate.widgets.preferences import load_preferences
from napari_coordgate.widgets.trust import VERDICT_COLORS, TrustLayers, verdict_text

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
MAX_BYTES_IN_MEMORY = 2 * 2**30
"""Size of a result above which it is kept in a temporary file."""


@dataclass(frozen=True, eq=False)
class DeblurRequest:
    """An image, a model or PSF field, and how to deblur.

    ``first_plane`` returns the plane to deblur next. An image that contradicts the model or PSF
    field is refused unless ``is_confirmed``.
    """

    image: Image
    method: "Model | PSFField"
    settings: DeblurSettings
    alignment: "FrameAlignment"
    out: NDArray[Any]
    first_plane: Callable[[], tuple[int, ...]]
    is_confirmed: bool = False
    maps: dict[str, NDArray[Any]] | None = None
    """Takes the maps that show where the result can be trusted; None: they are not wanted."""

    def events(self, job: Job) -> Generator[Event, None, Any]:
        """Events of the deblurring, for the background thread."""
        from napari_coordgate.inference import assess_events, deblur_events  # imports torch

        arguments: dict[str, Any] = {
            "origin": self.alignment,
            "config": self.settings.select(DeblurConfig),
            "runtime": self._runtime(),
            "out": self.out,
            "first": self.first_plane,
            "cancel": job.cancel_requested,
        }
        try:
            if self.maps is None:
                return (yield from deblur_events(self.image, self.method, **arguments))
            arguments["create_map"] = self._create_map
            return (yield from assess_events(self.image, self.method, **arguments))
        except LensMismatchError as error:
            raise LensMismatchError(f"{error} Click Deblur again to deblur it anyway.") from None

    def _create_map(self, name: str) -> NDArray[Any]:
        assert self.maps is not None
        created: NDArray[Any] = result_array(self.image.data.shape, np.float32)
        self.maps[name] = created
        return created

    def _runtime(self) -> DeblurRuntime:
        runtime = self.settings.select(DeblurRuntime)
        if self.is_confirmed:
            # What was confirmed is still a part of the verdict.
            return runtime.replace(check=runtime.check and self.maps is not None, strict=False)
        return runtime.replace(strict=runtime.check or runtime.strict)


class DeblurWidget(JobWidget):
    """Deblur an image layer: the visible plane first, then the rest."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "Deblur")
        self._started: tuple[object, ...] = ()
        self._refused: tuple[object, ...] | None = None
        self.image = Choice(lambda: image_layers(viewer, color=True))
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
        self.origin = RoiOrigin(self.rows)
        self.trust = QCheckBox("Show where it can be trusted")
        self.add_row("", self.trust, TRUST_TOOLTIP)
        self.rows.addRow(self.note)
        self.form = SettingsForm(
            settings, type(settings).model_fields.keys() - METHOD_SETTINGS - {"strict"}
        )
        self.body.addWidget(self.method.section)
        self.body.addWidget(self.adaptation.section)
        self.body.addWidget(collapsible("Settings", self.form, self.method.network))
        self.body.addStretch(1)
        self.foot.addWidget(self.bar)
        self.image.changed.connect(self._guess_axes)
        self.axes.textChanged.connect(self.check)
        self.adaptation.clicked.connect(self._adapt)
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
        try:
            note, problem = self._alignment().note, ""
        except CoordGateError as error:
            note, problem = "", str(error)
        self.note.setText(note)
        self.note.setVisible(bool(note))
        self.bar.set_problem(problem)

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
        image, alignment = self._image(), self._alignment()
        settings = self.form.settings.replace(**self.method.settings())
        dtype = image.data.dtype if settings.keep_dtype else np.float32
        return DeblurRequest(
            image=image,
            method=self.method.require(),
            settings=settings,
            alignment=alignment,
            out=result_array(image.data.shape, dtype),
            first_plane=VisiblePlane(self.viewer, self.image.value),
            is_confirmed=self._refused == self._chosen(),
            maps={} if self.trust.isChecked() else None,
        )

    def _chosen(self) -> tuple[object, ...]:
        """What a person who deblurs in spite of a warning has seen it for."""
        return self.image.value, self.method.name, self.origin.value

    def start(self, request: DeblurRequest) -> None:
        """Deblur in the background, into a new layer."""
        shown = DeblurredLayer(self.viewer, self.image.value, request, self.method.name)
        name = request.image.name
        job = Job(DEBLURRING, request.events, shown, done_message=lambda _: f"Deblurred {name}.")
        job.happened.connect(shown.show)
        job.happened.connect(self._show_note)
        job.finished.connect(shown.end)
        self._started = self._chosen()
        self.start_job(job)

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

    def _show_verdict(self, end: JobEnd) -> None:
        """Say whether the result can be trusted, or that an adapted model is not better."""
        if isinstance(end.result, Adaptation) and not end.result.gain.is_better:
            self.bar.show_message(end.message, VERDICT_COLORS["amber"])
        verdict: TrustVerdict | None = getattr(end.result, "verdict", None)
        if verdict is not None:
            self.bar.show_message(verdict_text(verdict), VERDICT_COLORS[verdict.color])
            self.note.setText(" ".join(verdict.notes))
            self.note.setVisible(bool(verdict.notes))

    def follow(self, job: Job) -> None:
        """Show a job from now on; only one runs at a time."""
        self.adaptation.set_busy(True)
        super().follow(job)
        weak_connect(job.finished, self._show_verdict)  # after the bar, whose message it replaces

    def on_end(self, end: JobEnd) -> None:
        """Let the next click deblur an image that was refused; choose an adapted model."""
        self.adaptation.set_busy(False)
        if isinstance(end.result, Adaptation):
            self.adaptation.choose(end.result)
        if isinstance(end.error, LensMismatchError):
            self._refused = self._started


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

    def __init__(self, viewer: Viewer, layer: ImageLayer) -> None:
        self.viewer, self.layer = viewer, layer
        self._update()
        viewer.dims.events.point.connect(self._update)

    def __call__(self) -> tuple[int, ...]:
        """Index over all axes but height and width."""
        return self.index

    def _update(self, _: object = None) -> None:
        if self.layer in self.viewer.layers:
            samples = (0,) if self.layer.rgb else ()
            self.index = (*plane_on_view(self.viewer, self.layer), *samples)


class DeblurredLayer:
    """The result of one job, with the transform and colors of the layer it was made from.

    Planes that are not deblurred yet are dark. The metadata say how the layer was made.
    """

    def __init__(
        self, viewer: Viewer, blurred: ImageLayer, request: DeblurRequest, method_name: str
    ) -> None:
        self.layer = LiveLayer(viewer)
        self.request = request
        self.trust = None if request.maps is None else TrustLayers(viewer, blurred, request.maps)
        self.options: dict[str, Any] = {
            **copy_transform(blurred),
            **copy_appearance(blurred),
            "name": f"{blurred.name} deblurred",
            "rgb": blurred.rgb,
            "metadata": metadata(
                DEBLURRED,
                image=blurred.name,
                axes=request.image.axes,
                window=tuple(request.alignment.window),
                **method_facts(method_name, request.method),
                settings=request.settings.model_dump(mode="json"),
                version=__version__,
            ),
        }

    def show(self, event: Event) -> None:
        """Show the planes that are done."""
        if isinstance(event, PlaneDone):
            if self.layer.layer is None:
                self.layer.show(self.request.out, **self.options)
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
