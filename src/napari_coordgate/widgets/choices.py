"""Choices among what exists in a viewer at the moment: layers, PSF fields, checkpoints, files."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit
from napari.layers import Image as ImageLayer
from napari.viewer import Viewer
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_coordgate.widgets.layers.provenance import is_picture

__all__ = ["Choice", "LayerChecklist", "ask_where_to_save", "file_edit", "image_layers", "path_of"]

Option = tuple[str, Any]
NARROWEST = 64
NOTHING: Option = ("none yet", None)
LAYER = Qt.ItemDataRole.UserRole


class Choice(QWidget):
    """One of what exists, and perhaps a button for what lies in a file.

    Parameters
    ----------
    options : callable
        Names and values that exist at the moment.
    load : callable, optional
        Takes the path of a file that its user has chosen.
    files : str
        Kinds of file to load, as Qt's file dialog wants them.
    takes_newest : bool
        Whether what has just come to exist, the first option, is chosen at once.
    """

    changed = Signal()

    def __init__(
        self,
        options: Callable[[], Iterable[Option]],
        load: Callable[[Path], object] | None = None,
        files: str = "",
        *,
        takes_newest: bool = False,
    ) -> None:
        super().__init__()
        self._options, self._load, self._files = options, load, files
        self._takes_newest, self._is_users = takes_newest, False
        self._offered: list[Option] = []
        self.box = QComboBox()
        self.box.setMinimumWidth(NARROWEST)
        self.box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box, 1)
        if load is not None:
            self.button = QPushButton("Load…")
            self.button.clicked.connect(self._ask_for_file)
            layout.addWidget(self.button)
        self.setFocusProxy(self.box)
        self.renew()
        self.box.activated.connect(self._note_user)
        self.box.currentIndexChanged.connect(self.changed)

    @property
    def value(self) -> Any:
        """What is chosen; None where there is nothing."""
        index = self.box.currentIndex()
        return self._offered[index][1] if index >= 0 else None

    def set_value(self, value: Any) -> None:
        """Choose one of the options."""
        self.box.setCurrentIndex(self._index_of(value))

    @property
    def name(self) -> str:
        """Name of what is chosen."""
        return str(self.box.currentText())

    def renew(self) -> None:
        """Offer what exists by now; what is chosen stays chosen while it exists."""
        before, name, newest = self.value, self.name, self._newest
        self._offered = list(self._options()) or [NOTHING]
        with QSignalBlocker(self.box):
            self.box.clear()
            self.box.addItems([name for name, _ in self._offered])
            came = self._newest is not newest
            was_open = before is None and not self._is_users
            takes = came and (self._takes_newest or was_open)
            # What was made anew under its name stands in for what was chosen.
            kept = [self._index_of(before), self.box.findText(name), 0]
            self.box.setCurrentIndex(0 if takes else next(n for n in kept if n >= 0))
        if self.value is not before:
            self.changed.emit()

    @property
    def _newest(self) -> Any:
        """First of the options on offer."""
        return self._offered[0][1] if self._offered else None

    def _index_of(self, value: Any) -> int:
        """Place of an option; -1 where it is not on offer."""
        values = [option for _, option in self._offered]
        return next((n for n, option in enumerate(values) if option is value), -1)

    def _note_user(self, _: int) -> None:
        """A choice of nothing that its user has made stays, whatever comes later."""
        self._is_users = True

    def _ask_for_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load", "", self._files)
        if name and self._load is not None:
            self._load(Path(name))


class LayerChecklist(QListWidget):
    """Layers to tick.

    Parameters
    ----------
    viewer : Viewer
        Whose gray image layers are offered.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.setFixedHeight(84)
        self.itemChanged.connect(self.changed)
        self.renew()

    @property
    def layers(self) -> list[ImageLayer]:
        """Layers that are ticked, from top to bottom."""
        checked = Qt.CheckState.Checked
        return [item.data(LAYER) for item in self._items() if item.checkState() == checked]

    def tick(self, layers: Iterable[ImageLayer]) -> None:
        """Tick these layers, and no others."""
        wanted = list(layers)
        for item in self._items():
            is_wanted = any(item.data(LAYER) is layer for layer in wanted)
            item.setCheckState(Qt.CheckState.Checked if is_wanted else Qt.CheckState.Unchecked)

    def _items(self) -> Iterator[QListWidgetItem]:
        for row in range(self.count()):
            item = self.item(row)
            assert item is not None
            yield item

    def renew(self) -> None:
        """Offer the layers that exist by now; ticked ones stay ticked."""
        ticked = self.layers
        with QSignalBlocker(self):
            self.clear()
            for name, layer in image_layers(self.viewer):
                item = QListWidgetItem(name)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(Qt.CheckState.Unchecked)
                item.setData(LAYER, layer)
                self.addItem(item)
            self.tick(ticked)
        if self.layers != ticked:
            self.changed.emit()


def image_layers(viewer: Viewer, *, color: bool = False) -> list[Option]:
    """Names and layers of the images of a viewer, the latest first.

    Parameters
    ----------
    viewer : Viewer
        The viewer.
    color : bool
        Whether color images are wanted as well as gray ones.

    Returns
    -------
    list of (str, Image layer)
        Labels are no images, and neither are pictures of a lens or network.
    """
    layers = [layer for layer in reversed(viewer.layers) if isinstance(layer, ImageLayer)]
    fit = [layer for layer in layers if not is_picture(layer.metadata)]
    return [(layer.name, layer) for layer in fit if color or not layer.rgb]


def file_edit(mode: FileDialogMode, files: str = "") -> FileEdit:
    """Line for a path, with a button that opens a file dialog."""
    return FileEdit(mode=mode, filter=files or None)


def path_of(edit: FileEdit) -> Path | None:
    """Path that stands in the line; None where it is empty, which magicgui takes for here."""
    text = edit.line_edit.value.strip()
    try:
        return Path(text).expanduser() if text else None
    except RuntimeError:  # the home of somebody whom nobody knows, perhaps of a name half typed
        return Path(text)


def ask_where_to_save(
    parent: QWidget, title: str, name: str, files: str, endings: tuple[str, ...]
) -> tuple[Path, bool] | None:
    """Path to save to, and whether a file there may be replaced.

    Parameters
    ----------
    parent : QWidget
        Who asks.
    title : str
        What the dialog is called.
    name : str
        Name that is offered.
    files : str
        Kinds of file, as Qt's file dialog wants them.
    endings : tuple of str
        Endings that serve; the first is added where the typed name has none of them.

    Returns
    -------
    tuple of (Path, bool), or None
        The dialog has asked before replacing the file that was typed, but of none whose
        name was completed here. None where its user chose nothing.
    """
    typed, _ = QFileDialog.getSaveFileName(parent, title, name, files)
    if not typed:
        return None
    serves = typed.lower().endswith(endings)
    return Path(typed if serves else f"{typed}{endings[0]}"), serves
