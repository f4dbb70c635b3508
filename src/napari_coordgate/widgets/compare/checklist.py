"""Checklist of methods: models of the session, and deconvolution."""

from collections.abc import Iterator, Mapping

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_coordgate.config import PSFMode, RichardsonLucyConfig, Settings, WienerConfig
from napari_coordgate.widgets.session import Session

CLASSICAL: Mapping[str, Settings] = {"Wiener": WienerConfig(), "RL": RichardsonLucyConfig()}
"""Default settings of the deconvolution methods, by their names in tables and of layers."""
PSF_NAMES: Mapping[PSFMode, str] = {"field": "full field", "mean": "mean PSF"}
MAX_ROWS = 9
"""Rows visible without scrolling."""
KEY = Qt.ItemDataRole.UserRole

Key = tuple[str, str]
"""``("network", name)``, or the name of a deconvolution method and its PSF."""


class MethodChecklist(QListWidget):
    """Checklist of the session's models and the deconvolution methods, all checked at first."""

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._unticked: set[Key] = set()
        self.itemChanged.connect(self._note_user)
        self.refresh()

    @property
    def ticked(self) -> list[str]:
        """Names of the checked methods, from top to bottom."""
        return [item.text() for item in self._ticked()]

    def methods(self, settings: Mapping[str, Settings]) -> dict[str, object]:
        """Checked methods by name: models, or the given settings of `CLASSICAL` with their PSF."""
        found: dict[str, object] = {}
        for item in self._ticked():
            kind, which = item.data(KEY)
            if kind in CLASSICAL:
                found[item.text()] = settings[kind].model_copy(update={"psf": which})
            else:
                found[item.text()] = self.session.models[which]
        return found

    def tick(self, *names: str) -> None:
        """Check these methods and no others."""
        for item in self._items():
            state = Qt.CheckState.Checked if item.text() in names else Qt.CheckState.Unchecked
            item.setCheckState(state)

    def refresh(self) -> None:
        """Update the list of models; checks of the user are kept."""
        before = self.ticked
        keys = [("network", name) for name in reversed(list(self.session.models))]
        keys += [(method, which) for method in CLASSICAL for which in PSF_NAMES]
        with QSignalBlocker(self):
            self.clear()
            for key in keys:
                item = QListWidgetItem(_name(key))
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                is_ticked = key not in self._unticked
                item.setCheckState(Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked)
                item.setData(KEY, key)
                self.addItem(item)
        row = max(self.sizeHintForRow(0), 1)
        self.setFixedHeight(row * min(len(keys), MAX_ROWS) + 2 * self.frameWidth())
        if self.ticked != before:
            self.changed.emit()

    def _note_user(self, item: QListWidgetItem) -> None:
        """Remember unchecked methods, also while they are not in the list."""
        key = tuple(item.data(KEY))
        if item.checkState() == Qt.CheckState.Checked:
            self._unticked.discard(key)
        else:
            self._unticked.add(key)
        self.changed.emit()

    def _items(self) -> Iterator[QListWidgetItem]:
        for row in range(self.count()):
            item = self.item(row)
            assert item is not None
            yield item

    def _ticked(self) -> list[QListWidgetItem]:
        checked = Qt.CheckState.Checked
        return [item for item in self._items() if item.checkState() == checked]


def _name(key: Key) -> str:
    kind, which = key
    return f"{kind}, {PSF_NAMES[which]}" if kind in CLASSICAL else which  # type: ignore[index]
