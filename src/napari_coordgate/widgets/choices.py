"""Choices among what exists in a viewer at the moment: layers, PSF fields, models, files."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_coordgate.io.files import last_checkpoint_path, sample_data_folder
from napari_coordgate.io.model_header import MODEL_FORMATS, UNIVERSAL_FORMAT, read_metadata
from napari_coordgate.widgets.forms import ComboBox
from napari_coordgate.widgets.jobs import Job, weak_connect
from napari_coordgate.widgets.kept import keep_folder, last_folder
from napari_coordgate.widgets.layers import is_mask, is_recorded, is_visualization, why_not_sharp
from napari_coordgate.widgets.opening import IMAGE_FILES, load_images
from napari_coordgate.widgets.preferences import load_preferences
from napari_coordgate.widgets.session import Session, session_of

Option = tuple[str, Any]
"""Name and value."""
MIN_WIDTH = 64
NOTHING: Option = ("none yet", None)
NO_PSF_FIELD: Option = ("no lens yet", None)
SHIPPED: Option = ("shipped", None)
"""The universal model of the package."""
STARTER = "starter.safetensors"
COLOR = "Color image: right-click its layer, Split RGB, and choose one of its channels."
MASK = "Mask: choose the image that it was made from."
MODEL_FILES = "Models (*.safetensors)"
PSF_FIELD_FILES = "PSF fields (*.tif *.tiff)"


@dataclass(frozen=True)
class Refused:
    """Value of an option that is shown, and cannot be chosen for a reason."""

    reason: str


@dataclass(frozen=True)
class Unread:
    """Value of an option that is read from a file once it is chosen."""

    path: Path


class Choice(QWidget):
    """One of the options that exist at the moment, with an optional button to load a file.

    With ``takes_newest``, an option that has just appeared, the first one, is chosen at once.
    """

    changed = Signal()
    loading = Signal(object)
    """A file that the user chose is read by this job."""

    def __init__(
        self,
        options: Callable[[], Iterable[Option]],
        load: Callable[[Path], Job] | None = None,
        files: str = "",
        *,
        takes_newest: bool = False,
    ) -> None:
        super().__init__()
        self._options, self._load, self._files = options, load, files
        self._takes_newest, self._is_users, self._takes_next = takes_newest, False, False
        self._offered: list[Option] = []
        self.box = ComboBox()
        self.box.setMinimumWidth(MIN_WIDTH)
        self.box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box, 1)
        if load is not None:
            self.button = QPushButton("Load…")
            self.button.clicked.connect(self._ask_for_file)
            layout.addWidget(self.button)
        self.setFocusProxy(self.box)
        self.refresh()
        self.box.activated.connect(self._note_user)
        self.box.currentIndexChanged.connect(self._show_name)
        self.box.currentIndexChanged.connect(self.changed)

    @property
    def value(self) -> Any:
        """Value of the chosen option; None where there is none, or it is still read."""
        index = self.box.currentIndex()
        value = self._offered[index][1] if index >= 0 else None
        return None if isinstance(value, Refused | Unread) else value

    def set_value(self, value: Any) -> None:
        """Choose the option with this value."""
        self.box.setCurrentIndex(self._index_of(value))

    @property
    def refusals(self) -> list[str]:
        """Names of options that cannot be chosen, each with the reason."""
        refused = ((name, value) for name, value in self._offered if isinstance(value, Refused))
        return [f"{name}: {value.reason}" for name, value in refused]

    @property
    def name(self) -> str:
        """Name of the chosen option."""
        return str(self.box.currentText())

    def refresh(self) -> None:
        """Offer the options that exist now; the chosen one stays chosen while it exists."""
        before, name, newest = self.value, self.name, self._newest
        known = [value for _, value in self._offered]
        options = list(self._options())
        usable = [option for option in options if not isinstance(option[1], Refused | Unread)]
        others = [option for option in options if isinstance(option[1], Refused | Unread)]
        self._offered = [*(usable or [NOTHING]), *others]
        with QSignalBlocker(self.box):
            self._fill()
            is_new = self._newest is not newest
            was_open = before is None and not self._is_users
            takes_new = is_new and (self._takes_newest or was_open)
            # An option that was remade under the name of the chosen one replaces it.
            kept = [0] * takes_new + [self._index_of(before), self.box.findText(name), 0]
            read = [n for n, (_, value) in enumerate(usable) if not _is_in(value, known)]
            if self._takes_next and read:
                kept, self._takes_next = read, False
            self.box.setCurrentIndex(next(n for n in kept if n >= 0))
        self._show_name()
        if self.value is not before:
            self.changed.emit()

    def _fill(self) -> None:
        self.box.clear()
        self.box.addItems([name for name, _ in self._offered])
        model = self.box.model()
        assert isinstance(model, QStandardItemModel)
        for number, (name, value) in enumerate(self._offered):
            item = model.item(number)
            assert item is not None
            item.setEnabled(not isinstance(value, Refused))
            item.setToolTip(value.reason if isinstance(value, Refused) else name)

    def _show_name(self, *_: object) -> None:
        """Show in a tooltip the name, which may be cut off."""
        self.box.setToolTip(self.name)

    @property
    def _newest(self) -> Any:
        return self._offered[0][1] if self._offered else None

    def _index_of(self, value: Any) -> int:
        """Index of an option; -1 where it is not offered."""
        values = [option for _, option in self._offered]
        return next((n for n, option in enumerate(values) if option is value), -1)

    def _note_user(self, index: int) -> None:
        """Keep the user's choice, of nothing too, whatever is added later; read a chosen file."""
        self._is_users = True
        value = self._offered[index][1]
        if isinstance(value, Unread):
            self._read(value.path)

    def _ask_for_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load", last_folder(self._files), self._files)
        if name:
            keep_folder(self._files, name)
            self._read(Path(name))

    def _read(self, path: Path) -> None:
        """Read a file, and choose what comes of it."""
        if self._load is not None:
            self._takes_next = True
            job = self._load(path)
            weak_connect(job.finished, self._take_no_more)
            self.loading.emit(job)

    def _take_no_more(self, _: object) -> None:
        """Choose nothing else once the file is read, or could not be."""
        self._takes_next = False


class Checklist(QListWidget):
    """Options to tick; what is ticked stays so when the options change.

    With ``starts_ticked``, new options are ticked, and those that the user unticked are remembered
    also while they are not offered.
    """

    changed = Signal()

    def __init__(
        self,
        options: Callable[[], Iterable[Option]],
        *,
        starts_ticked: bool = False,
        max_rows: int = 4,
    ) -> None:
        super().__init__()
        self._options, self._starts_ticked, self._max_rows = options, starts_ticked, max_rows
        self._offered: list[Option] = []
        self._unticked: list[Any] = []
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # names often differ at their ends
        self.itemChanged.connect(self._note_user)
        self.refresh()

    @property
    def ticked(self) -> list[Option]:
        """Names and values of the ticked options, from top to bottom."""
        checked = Qt.CheckState.Checked
        return [
            option
            for row, option in enumerate(self._offered)
            if (item := self.item(row)) is not None and item.checkState() == checked
        ]

    @property
    def values(self) -> list[Any]:
        """Values of the ticked options, from top to bottom."""
        return [value for _, value in self.ticked]

    def tick(self, *values: Any) -> None:
        """Tick the options with these values, and no others."""
        for row, (_, value) in enumerate(self._offered):
            item = self.item(row)
            assert item is not None
            if not isinstance(value, Refused):
                item.setCheckState(_check_state(value in values))

    def refresh(self) -> None:
        """Offer the options that exist now."""
        before = self.values
        self._offered = list(self._options())
        with QSignalBlocker(self):
            self.clear()
            for name, value in self._offered:
                item = QListWidgetItem(name)
                if isinstance(value, Refused):
                    item.setFlags(Qt.ItemFlag.NoItemFlags)
                    item.setToolTip(value.reason)
                    self.addItem(item)
                    continue
                item.setToolTip(name)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                is_ticked = value not in self._unticked if self._starts_ticked else value in before
                item.setCheckState(_check_state(is_ticked))
                self.addItem(item)
        row_height = max(self.sizeHintForRow(0), 18)
        rows = min(len(self._offered), self._max_rows) if self._starts_ticked else self._max_rows
        self.setFixedHeight(row_height * rows + 2 * self.frameWidth())
        if self.values != before:
            self.changed.emit()

    def _note_user(self, item: QListWidgetItem) -> None:
        _, value = self._offered[self.row(item)]
        if value in self._unticked:
            self._unticked.remove(value)
        if self._starts_ticked and item.checkState() != Qt.CheckState.Checked:
            self._unticked.append(value)
        self.changed.emit()


def _is_in(value: object, values: Iterable[object]) -> bool:
    """Whether a value, which may be an array, is one of others."""
    return any(value is other for other in values)


def _check_state(is_ticked: bool) -> Qt.CheckState:
    return Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked


def image_layers(viewer: Viewer, *, color: bool = False) -> list[Option]:
    """Names and image layers of a viewer, the latest first; those that are no images, refused.

    Labels are not offered, and neither are our visualizations of a lens or model.
    """
    layers = [layer for layer in reversed(viewer.layers) if isinstance(layer, ImageLayer)]
    images = [layer for layer in layers if not is_visualization(layer.metadata)]
    options: list[Option] = [(layer.name, _usable(layer, color=color)) for layer in images]
    return sorted(options, key=lambda option: isinstance(option[1], Refused))


def _usable(layer: ImageLayer, *, color: bool) -> ImageLayer | Refused:
    """Layer, or why it cannot be worked on."""
    if is_mask(layer):
        return Refused(MASK)
    return Refused(COLOR) if layer.rgb and not color else layer


def recorded_layers(viewer: Viewer, *, color: bool = False) -> list[Option]:
    """Those of `image_layers` that a camera may have recorded: no results or previews of ours."""
    return [
        (name, value)
        for name, value in image_layers(viewer, color=color)
        if isinstance(value, Refused) or is_recorded(value.metadata)
    ]


def sharp_layers(viewer: Viewer) -> list[Option]:
    """Those of `image_layers` that may be sharp; the others are refused with the reason."""
    options = [
        (name, Refused(reason) if (reason := _not_sharp(value)) else value)
        for name, value in image_layers(viewer)
    ]
    return sorted(options, key=lambda option: isinstance(option[1], Refused))


def _not_sharp(value: ImageLayer | Refused) -> str:
    return value.reason if isinstance(value, Refused) else why_not_sharp(value)


def image_choice(
    viewer: Viewer, options: Callable[[], Iterable[Option]], *, takes_newest: bool = False
) -> Choice:
    """Choice among image layers, with a button to load the images of a file."""
    load = load_images(viewer, session_of(viewer))
    return Choice(options, load, IMAGE_FILES, takes_newest=takes_newest)


def model_choice(session: Session, *first: Option) -> Choice:
    """Choice among ``first`` and the models of the session and folder, with a button to load."""
    return Choice(
        lambda: [
            *first,
            *reversed(list(session.models.items())),
            *_unread_models(session, is_universal=False),
        ],
        session.load_model,
        MODEL_FILES,
        takes_newest=not first,
    )


def universal_choice(session: Session) -> Choice:
    """Choice among universal models: that of the package, None, the session's, the folder's."""
    return Choice(
        lambda: [
            SHIPPED,
            *reversed(list(session.universal_models.items())),
            *_unread_models(session, is_universal=True),
        ],
        session.load_model,
        MODEL_FILES,
    )


def any_model_choice(session: Session) -> Choice:
    """Choice among all models and the shipped universal one, None, with a button to load one."""
    return Choice(
        lambda: [
            *reversed(list(session.models.items())),
            *reversed(list(session.universal_models.items())),
            SHIPPED,
            *_unread_models(session, is_universal=False),
            *_unread_models(session, is_universal=True),
        ],
        session.load_model,
        MODEL_FILES,
        takes_newest=True,
    )


def _unread_models(session: Session, *, is_universal: bool) -> list[Option]:
    """Models of one kind in the models folder, and that for the demo lens, which are not loaded."""
    folder = load_preferences().model_folder
    loaded = {path.resolve() for path in session.files.values()}
    wanted = {UNIVERSAL_FORMAT} if is_universal else MODEL_FORMATS.keys()
    return [
        (path.stem, Unread(path))
        for path in (*_model_files(folder), sample_data_folder() / STARTER)
        if path.resolve() not in loaded and _format(path) in wanted
    ]


def _model_files(folder: Path) -> tuple[Path, ...]:
    """Files in a folder that may be models; it is read again once it has changed."""
    try:
        return _files_at(folder, folder.stat().st_mtime_ns)
    except OSError:
        return ()


@lru_cache(maxsize=8)
def _files_at(folder: Path, _: int) -> tuple[Path, ...]:
    """The same of a folder that was changed last at that time."""
    return tuple(path for path in sorted(folder.glob("*.safetensors")) if not _is_hidden(path))


def _is_hidden(path: Path) -> bool:
    """Whether a file is hidden, or the state of an interrupted run."""
    return path.name.startswith(".") or path.name.endswith(".last.safetensors")


MAX_HEADER = 2**24


def _format(path: Path) -> str:
    """Key of our formats in the header of a safetensors file; empty without one."""
    try:
        return _format_at(path, path.stat().st_mtime_ns)
    except (OSError, ValueError):
        return ""


@lru_cache(maxsize=4096)
def _format_at(path: Path, _: int) -> str:
    """The same of a file of that age."""
    keys = read_metadata(path, MAX_HEADER).keys()
    return next((key for key in keys if key in (*MODEL_FORMATS, UNIVERSAL_FORMAT)), "")


def psf_field_choice(session: Session, *last: Option) -> Choice:
    """Choice among the PSF fields of the session and its models, and ``last``; can load one."""

    def options() -> list[Option]:
        of_models = [(f"{name}'s lens", model.psf_field) for name, model in session.models.items()]
        fields = list(reversed(list(session.psf_fields.items())))
        fields += [(name, psf_field) for name, psf_field in of_models if psf_field is not None]
        return [*(fields or [NO_PSF_FIELD]), *last]

    return Choice(options, session.load_psf_field, PSF_FIELD_FILES, takes_newest=True)


def file_edit(mode: FileDialogMode, files: str = "") -> FileEdit:
    """Line for a path, with a button that opens a file dialog."""
    return FileEdit(mode=mode, filter=files or None)


def path_of(edit: FileEdit) -> Path | None:
    """Path in the line; None where it is empty, for which magicgui returns the working folder."""
    text = edit.line_edit.value.strip()
    try:
        return Path(text).expanduser() if text else None
    except RuntimeError:  # the home of an unknown user, perhaps of a half typed name
        return Path(text)


def free_name(folder: Path, stem: str = "model") -> Path:
    """First name for a new model that is not in use: ``model.safetensors``, ``model-2...``."""
    numbered = re.fullmatch(r"(.+)-\d+", stem)
    if numbered and _is_taken(folder / f"{numbered[1]}.safetensors"):
        stem = numbered[1]  # model-3 follows model-2, not model-2-2
    path, number = folder / f"{stem}.safetensors", 1
    while _is_taken(path):
        number += 1
        path = folder / f"{stem}-{number}.safetensors"
    return path


def file_word(name: str) -> str:
    """Name of a lens as a part of a file name."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "lens"


def _is_taken(path: Path) -> bool:
    """Whether a model is in a file, or was being trained for it."""
    return path.exists() or last_checkpoint_path(path).exists()


def ask_where_to_save(
    parent: QWidget, title: str, name: str, files: str, endings: tuple[str, ...]
) -> tuple[Path, bool] | None:
    """Ask for a path, and whether a file there may be replaced; None where nothing was chosen.

    The first of the endings is added to a name that has none of them. The dialog asked before
    replacing the name that was typed, but not the completed one.
    """
    proposed = str(Path(last_folder(files)) / name)  # a name with a folder keeps that
    typed, _ = QFileDialog.getSaveFileName(parent, title, proposed, files)
    if not typed:
        return None
    keep_folder(files, typed)
    is_complete = typed.lower().endswith(endings)
    return Path(typed if is_complete else f"{typed}{endings[0]}"), is_complete
