"""Signals that outlive the widgets which listen to them."""

from collections.abc import Callable
from weakref import WeakMethod

from psygnal import SignalInstance
from qtpy.QtCore import QObject

__all__ = ["listen"]


def listen(owner: QObject, signal: SignalInstance, slot: Callable[..., object]) -> None:
    """Connect a method of a widget to a signal that may outlive it.

    A closed window deletes its widgets, although Python may still hold them.

    Parameters
    ----------
    owner : QObject
        The widget.
    signal : SignalInstance
        Of a session, a job or napari's model.
    slot : bound method
        What to call.
    """
    signal.connect(slot)
    method = WeakMethod(slot)

    def disconnect() -> None:
        alive = method()
        if alive is not None:
            signal.disconnect(alive, missing_ok=True)

    owner.destroyed.connect(disconnect)
