from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_coordgate.cli.demo import SCREENS, can_open_a_window
from napari_coordgate.comparison import Row
from napari_coordgate.config import DemoConfig
from napari_coordgate.events import Event, Progress

if TYPE_CHECKING:
    from tests.cli.conftest import Run


def test_the_table_and_the_conclusion_are_printed(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def run_demo_events(
        folder: Path, config: DemoConfig, _: object
    ) -> Generator[Event, None, list[Row]]:
        asked.append((folder, config))
        yield Progress("training", 0, 1, 0.0)
        qualities = {
            "blurred": {"psnr": 25.0, "ssim": 0.7, "psnr_edge": 22.125},
            "deblurred": {"psnr": 31.5, "ssim": 0.9, "psnr_edge": 28.0},
        }
        return [Row(method=n, kind="model", quality=q) for n, q in qualities.items()]

    monkeypatch.setattr("napari_coordgate.cli.demo.run_demo_events", run_demo_events)
    finished = run("demo", "-o", tmp_path / "out", "--seconds", 5, "--device", "cpu")
    assert asked == [(tmp_path / "out", DemoConfig(seconds=5, device="cpu"))]
    assert (finished.returncode, finished.stderr) == (0, "")
    for words in ("PSNR, dB", "SSIM", "edge", "deblurred", "31.50", "0.9000", "31.5 dB;"):
        assert words in finished.stdout


@pytest.mark.parametrize(
    ("flags", "has_window", "opens"),
    [((), True, True), (("--headless",), True, False), ((), False, False)],
)
def test_the_demo_opens_a_window_if_possible_unless_headless(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    flags: tuple[str, ...],
    has_window: bool,
    opens: bool,
) -> None:
    done: list[object] = []

    def stay(folder: Path, _: DemoConfig) -> None:
        done.append(folder)

    def open_demo() -> int:
        done.append("window")
        return 0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("napari_coordgate.cli.demo.can_open_a_window", lambda: has_window)
    monkeypatch.setattr("napari_coordgate.cli.demo.open_demo", open_demo)
    monkeypatch.setattr("napari_coordgate.cli.demo.show_demo", stay)
    assert run("demo", *flags).returncode == 0
    assert done == ["window" if opens else Path("napari-coordgate-demo")]


def test_without_a_screen_or_napari_no_window_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in SCREENS:
        monkeypatch.delenv(name, raising=False)
    assert not can_open_a_window()
    monkeypatch.setenv("DISPLAY", ":9")
    assert can_open_a_window()
    monkeypatch.setattr("napari_coordgate.cli.demo.find_spec", lambda _: None)
    assert not can_open_a_window()
