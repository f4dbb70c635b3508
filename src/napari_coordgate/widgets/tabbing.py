"""Tab goes through a dock widget as it is seen: from top to bottom, and past what is folded."""

from __future__ import annotations

from collections.abc import Iterator

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QScrollArea, QWidget

SAME_ROW_PX = 6
"""Largest distance of the middles of widgets beside each other, whose heights differ."""


def tab_stops(widget: QWidget) -> list[QWidget]:
    """Visible parts of a widget that take the keyboard, in the order in which they are seen."""
    found: list[QWidget] = []
    for part in _in_rows(widget):
        inner = [] if _takes_keys(part) else tab_stops(part)
        # An area with nothing else to stop at is scrolled with the keys.
        is_stop = _takes_keys(part) or (not inner and _scrolls(part))
        found += [part] if is_stop else inner
    return found


def _in_rows(widget: QWidget) -> Iterator[QWidget]:
    """Visible children, row by row."""
    shown = (part for part in widget.children() if isinstance(part, QWidget) and _is_seen(part))
    rows: list[list[QWidget]] = []
    for part in sorted(shown, key=_middle):
        if rows and _middle(part) - _middle(rows[-1][0]) <= SAME_ROW_PX:
            rows[-1].append(part)
        else:
            rows.append([part])
    for row in rows:
        yield from sorted(row, key=QWidget.x)


def _middle(part: QWidget) -> float:
    return part.y() + part.height() / 2


def _is_seen(part: QWidget) -> bool:
    return part.isVisible() and not part.isWindow() and not part.size().isEmpty()


def _takes_keys(part: QWidget) -> bool:
    by_tab = bool(part.focusPolicy() & Qt.FocusPolicy.TabFocus)
    is_free = part.isEnabled() and part.focusProxy() is None
    return by_tab and is_free and not isinstance(part, QScrollArea)


def _scrolls(part: QWidget) -> bool:
    bar = part.verticalScrollBar() if isinstance(part, QScrollArea) else None
    return bar is not None and bar.maximum() > 0


def move_focus(widget: QWidget, forward: bool) -> bool:
    """Give the keyboard to the next stop of a widget, or to what is beyond it in the window."""
    stops, focused = tab_stops(widget), QApplication.focusWidget()
    if focused is None:
        return False
    place = stops.index(focused) if focused in stops else -1
    number = place + (1 if forward else -1)
    reason = Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason
    target = stops[number] if 0 <= number < len(stops) else _beyond(widget, forward)
    if target is None:
        return False
    target.setFocus(reason)
    _show(target)
    return True


def _beyond(widget: QWidget, forward: bool) -> QWidget | None:
    """Next part of the window that takes the keyboard and is not in the widget."""
    part: QWidget | None = widget
    while part is not None:
        part = part.nextInFocusChain() if forward else part.previousInFocusChain()
        if part is widget:
            return None
        is_inside = part is None or widget.isAncestorOf(part)
        if part is not None and not is_inside and part.isVisible() and _takes_keys(part):
            return part
    return None


def _show(part: QWidget) -> None:
    """Scroll to a part."""
    above = part.parentWidget()
    while above is not None:
        if isinstance(above, QScrollArea):
            above.ensureWidgetVisible(part)
        above = above.parentWidget()
