"""Drive the CoordGate dock by clicks and keys, from each bundled sample, and photograph it.

Run: ``python -m benchmarks.dock FOLDER`` on a screen, or under ``xvfb-run -a -s "-screen 0
1440x900x24"``. Every sample is opened from the menu while those before are open, and each is the
first of all once. Each must end in a result with a verdict: the first after exactly three clicks,
others after at most as many. Tab must reach all parts of each step that are seen, and no others.
Another ``--seed`` draws another order. The docs use ``docs/images``.
"""

import argparse
import itertools
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.viewer import Viewer
from qtpy import QtTest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QMenu, QPushButton, QWidget

from napari_coordgate.widgets.dock import DEBLUR, LENS, TRUST, CoordGateWidget
from napari_coordgate.widgets.tabbing import tab_stops

SAMPLES = (
    "Nuclei behind the demo lens",
    "Nuclei, sharp",
    "Beads behind the demo lens",
    "Nuclei to train on, sharp",
)
ACT: Any = QtTest.QTest  # its stubs know no static functions
SIZES = {"1280": (1280, 800), "1440": (1440, 900)}
THEMES = ("dark", "light")
CLICKS = 3
LEAST_SHARE = 0.5
"""Least part of the window's width that is left to the image."""
TIMEOUT_S = 600


class Person:
    """Clicks and types in a window, and counts the clicks."""

    def __init__(self, viewer: Viewer, folder: Path) -> None:
        self.viewer, self.folder, self.clicks = viewer, folder, 0
        self.dock: CoordGateWidget | None = None

    def wait(self, seconds: float = 0.3) -> None:
        """Let the window work for a while."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds."""
        end = time.perf_counter() + TIMEOUT_S
        while not condition():
            if time.perf_counter() > end:
                raise TimeoutError(f"waited {TIMEOUT_S} s for {what}")
            self.wait(0.05)

    def click(self, button: QPushButton) -> None:
        """Click a button that is seen and enabled."""
        self.wait()
        assert button.isVisible() and button.isEnabled(), f"{button.text()}: {button.toolTip()}"
        ACT.mouseClick(button, Qt.MouseButton.LeftButton)
        self.clicks += 1

    def choose(self, *names: str) -> None:
        """Choose an item of the menus, given by the words that its path contains."""
        window = self.viewer.window._qt_window  # noqa: SLF001 - napari has no other way to it
        menu: QWidget = window.menuBar()
        for name in names:
            action = next(a for a in menu.actions() if name in a.text().replace("&", ""))
            if (inner := action.menu()) is not None:
                assert isinstance(inner, QMenu)
                inner.popup(window.mapToGlobal(QPoint(40, 40)))
                self.wait(0.1)
                menu = inner
                continue
            assert isinstance(menu, QMenu)
            ACT.mouseClick(
                menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center()
            )
        for opened in window.menuBar().findChildren(QMenu):
            opened.close()
        self.clicks += 1
        self.wait(0.5)

    def show_step(self, step: int) -> None:
        """Click the tab of a step."""
        assert self.dock is not None
        bar = self.dock.tabs.tabBar()
        assert bar is not None
        ACT.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(step).center())
        self.clicks += 1

    def photograph(self, name: str) -> None:
        """Take a picture of the window."""
        self.wait(0.8)
        path = self.folder / f"dock-{name}.png"
        self.viewer.window.screenshot(str(path), canvas_only=False)

    def share_of_image(self) -> float:
        """Part of the window's width that the image has."""
        canvas = self.viewer.window._qt_viewer.canvas.native  # noqa: SLF001 - as above
        return float(canvas.width() / self.viewer.window._qt_window.width())  # noqa: SLF001


def _name(part: QWidget) -> str:
    text = getattr(part, "text", str)
    return f"{type(part).__name__} {text()!r} at {part.geometry().getRect()}"


def walk_by_tab(dock: QWidget) -> list[QWidget]:
    """Press Tab from the part of a dock that has the keyboard; returns the parts that get it."""
    found: list[QWidget] = []
    part = QApplication.focusWidget()
    while part is not None and dock.isAncestorOf(part):
        assert not part.visibleRegion().isEmpty(), f"not seen: {_name(part)}"
        if part not in found:  # Tab also goes through the links in one text
            found.append(part)
        elif part is not found[-1]:
            break
        ACT.keyClick(part, Qt.Key.Key_Tab)
        part = QApplication.focusWidget()
    return found


def go_along(person: Person, sample: str, pictures: str = "") -> str:
    """Open a sample, and deblur it step by step; returns the color of its verdict."""
    person.choose("File", "Open Sample", "CoordGate", sample)
    person.clicks = 0
    is_first = person.dock is None
    if person.dock is None:
        person.choose("Plugins", "CoordGate", "CoordGate")
        found = person.viewer.window.dock_widgets.values()
        person.dock = next(w for w in found if isinstance(w, CoordGateWidget))
    dock = person.dock
    person.wait(1)
    if not dock.is_done[LENS]:
        if dock.tabs.currentIndex() != LENS:
            person.show_step(LENS)
        if pictures:
            person.photograph(f"lens-{pictures}")
        person.click(dock.lens.bar.run)
        person.wait_for(lambda: dock.tabs.currentIndex() == DEBLUR, f"the lens of {sample}")
    deblur = dock.deblur
    job = deblur.bar.job
    person.click(deblur.bar.run)
    is_short = person.clicks == CLICKS or (person.clicks < CLICKS and not is_first)
    assert is_short, f"{sample}: {person.clicks} clicks"
    if pictures:
        person.wait_for(lambda: len(person.viewer.layers) > 1, "a first plane")
        person.photograph(f"deblur-{pictures}")
    person.wait_for(
        lambda: deblur.bar.job is not job and deblur.bar.job and deblur.bar.job.end, sample
    )
    end = deblur.bar.job.end if deblur.bar.job is not None else None
    assert end is not None and end.reason == "completed", f"{sample}: {end and end.message}"
    assert deblur.verdict is not None
    return deblur.verdict.color


def photograph_trust(person: Person, pictures: str) -> None:
    """Look at the verdict, and at the image before over half of the result, by keys."""
    dock = person.dock
    assert dock is not None
    person.click(dock.next)
    assert dock.tabs.currentIndex() == TRUST
    dock.trust.slider.setFocus()
    for _ in range(5):
        ACT.keyClick(dock.trust.slider, Qt.Key.Key_PageUp)
    person.photograph(f"trust-{pictures}")


def count_tab_stops(person: Person) -> list[int]:
    """Go through each step by Tab; returns the numbers of stops."""
    dock, counts = person.dock, []
    assert dock is not None
    bar = dock.tabs.tabBar()
    assert bar is not None
    for step in range(dock.tabs.count()):
        person.show_step(step)
        person.viewer.window.activate()
        person.wait()
        bar.setFocus()
        found, seen = walk_by_tab(dock), tab_stops(dock)
        assert found == seen, f"step {step}: {set(map(_name, seen)) ^ set(map(_name, found))}"
        counts.append(len(found))
    return counts


def drive(folder: Path, size: str, theme: str, samples: list[str]) -> dict[str, str]:
    """Go through the steps from each sample in turn; returns the colors of their verdicts."""
    viewer = napari.Viewer()
    viewer.theme = theme
    viewer.window.resize(*SIZES[size])
    person, colors = Person(viewer, folder), {}
    for number, sample in enumerate(samples):
        pictures = f"{theme}-{size}" if number == 0 else ""
        colors[sample] = go_along(person, sample, pictures)
        if pictures:
            photograph_trust(person, pictures)
            stops = count_tab_stops(person)
            sys.stdout.write(f"{theme} {size}: Tab stops in each step: {stops}\n")
            person.show_step(DEBLUR)
        share = person.share_of_image()
        assert share >= LEAST_SHARE, f"the image has {share:.0%} of the window"
        sys.stdout.write(f"{theme} {size} {sample}: {colors[sample]}\n")
    viewer.close()
    return colors


def main() -> None:
    """Go through the steps in each size and theme."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dock", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--themes", nargs="+", choices=THEMES, default=list(THEMES))
    parser.add_argument("--samples", type=int, default=len(SAMPLES), help="how many of them")
    parser.add_argument("--seed", type=int, default=0, help="draws the order of the samples")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    order = list(SAMPLES)
    if options.seed:
        random.Random(options.seed).shuffle(order)
    for theme, size in itertools.product(options.themes, options.sizes):
        drive(options.folder, size, theme, order[: options.samples])
        order = [*order[1:], order[0]]


if __name__ == "__main__":
    main()
