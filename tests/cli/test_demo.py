from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_coordgate.config import DemoConfig
from napari_coordgate.progress import Event, Finished

if TYPE_CHECKING:
    from tests.cli.conftest import Run


def test_the_table_and_the_conclusion_are_printed(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def run_demo(folder: Path, config: DemoConfig, _: object) -> Iterator[Event]:
        asked.append((folder, config))
        table = [
            ("blurred", {"psnr": 25.0, "ssim": 0.7, "psnr_edge": 22.125}),
            ("deblurred", {"psnr": 31.5, "ssim": 0.9, "psnr_edge": 28.0}),
        ]
        yield Finished("completed", "6.5 dB nearer.", result=table)

    monkeypatch.setattr("napari_coordgate.cli.demo.run_demo", run_demo)
    finished = run("demo", "-o", tmp_path / "out", "--seconds", 5, "--device", "cpu")
    assert asked == [(tmp_path / "out", DemoConfig(seconds=5, device="cpu"))]
    assert (finished.returncode, finished.stderr) == (0, "")
    for words in ("PSNR (dB), SSIM", "edge", "deblurred", "31.50", "0.900", "6.5 dB nearer."):
        assert words in finished.stdout
