"""Methods to tick: the session's networks, and the classical ones."""

from collections.abc import Iterator, Mapping

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_coordgate.config import PSFMode, RichardsonLucyConfig, Settings, WienerConfig
from napari_coordgate.widgets.session import Session

__all__ = ["CLASSICAL", "MethodChecklist"]

CLASSICAL: Mapping[str, Settings] = {"Wiener": WienerConfig(), "RL": RichardsonLucyConfig()}
"""Settings of the classical methods to begin with, by the names in tables and of layers."""
PSF_NAMES: Mapping[PSFMode, str] = {"field": "full field", "mean": "mean PSF"}
MOST_ROWS = 9
"""Rows that are seen without scrolling."""
KEY = Qt.ItemDataRole.UserRole

Key = tuple[str, str]
"""``("network", name)``, or a classical method's name and its PSF."""


class MethodChecklist(QListWidget):
    """Methods, all of them ticked until their user unticks one.

    Parameters
    ----------
    session : Session
        Whose networks are offered.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._unticked: set[Key] = set()
        self.itemChanged.connect(self._note_user)
        self.renew()

    @property
    def ticked(self) -> list[str]:
        """Names of the methods that are ticked, from top to bottom."""
        return [item.text() for item in self._ticked()]

    def methods(self, settings: Mapping[str, Settings]) -> dict[str, object]:
        """Checkpoints and settings behind the methods that are ticked, by their names.

        Parameters
        ----------
        settings : mapping of str to Settings
            Those of each of `CLASSICAL`, whose PSF is decided here.

        Returns
        -------
        dict of str to Checkpoint, WienerConfig or RichardsonLucyConfig
            From top to bottom.
        """
        found: dict[str, object] = {}
        for item in self._ticked():
            kind, which = item.data(KEY)
            if kind in CLASSICAL:
                found[item.text()] = settings[kind].model_copy(update={"psf": which})
            else:
                found[item.text()] = self.session.checkpoints[which]
        return found

    def tick(self, *names: str) -> None:
        """Tick these methods, and no others."""
        for item in self._items():
            state = Qt.CheckState.Checked if item.text() in names else Qt.CheckState.Unchecked
            item.setCheckState(state)

    def renew(self) -> None:
        """Offer what exists by now; what was ticked or not stays so."""
        before = self.ticked
        keys = [("network", name) for name in reversed(list(self.session.checkpoints))]
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
        self.setFixedHeight(row * min(len(keys), MOST_ROWS) + 2 * self.frameWidth())
        if self.ticked != before:
            self.changed.emit()

    def _note_user(self, item: QListWidgetItem) -> None:
        """Remember what its user has unticked, also while it is not on offer."""
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
