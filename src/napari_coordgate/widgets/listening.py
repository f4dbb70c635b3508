"""Signals that outlive the widgets which listen to them."""

from collections.abc import Callable
from weakref import WeakMethod

from psygnal import SignalInstance
from qtpy.compat import isalive
from qtpy.QtCore import QObject

__all__ = ["listen"]


def listen(signal: SignalInstance, slot: Callable[..., object]) -> None:
    """Connect a method of a widget to a signal that may outlive it.

    A closed window deletes its widgets although Python may still hold them, and a
    widget that nothing else holds shall not be held by those it listens to.

    Parameters
    ----------
    signal : SignalInstance
        Of a session or a job.
    slot : bound method of a QObject
        What to call, with all that the signal carries.
    """
    method = WeakMethod(slot)

    def call(*values: object) -> None:
        alive = method()
        owner = getattr(alive, "__self__", None)
        if alive is None or not (isinstance(owner, QObject) and isalive(owner)):
            signal.disconnect(call, missing_ok=True)
        else:
            alive(*values)

    signal.connect(call)
