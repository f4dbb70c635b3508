from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_coordgate.io import read_image
from napari_coordgate.trust.files import map_path

if TYPE_CHECKING:
    from tests.cli.conftest import Run, World


def test_maps_are_written_beside_the_result_and_the_verdict_printed(
    run: Run, world: World, tmp_path: Path
) -> None:
    output = tmp_path / "restored.tif"
    flags = ("deblur", world.blurred, "--psf", world.field, "-o", output, "--trust")
    finished = run(*flags)
    assert finished.returncode == 0
    assert "verdict: " in finished.stdout
    for word in ("error", "contradiction", "detail_um"):
        written = read_image(tmp_path / f"restored.{word}.ome.tif")
        assert written.pixels.shape == (48, 48)
        assert np.isfinite(written.pixels).all() and written.pixels.max() > 0
        assert written.pixel_size_um == pytest.approx((0.5, 0.5))
    (tmp_path / "restored.tif").unlink()
    (tmp_path / "restored.tif.yaml").unlink()
    again = run(*flags)
    assert again.returncode != 0 and "restored.error.ome.tif" in again.stderr


def test_the_report_of_a_folder_has_the_verdicts(run: Run, world: World, tmp_path: Path) -> None:
    flags = ("-m", world.model, "-o", tmp_path / "results", "--trust")
    finished = run("deblur", world.blurred.parent, *flags)
    assert finished.returncode == 0
    report = (tmp_path / "results" / "deblur-report.jsonl").read_text()
    assert report.count('"verdict":') == len(list(world.blurred.parent.glob("*.tif")))


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.ome.zarr", "a.npy", "a.png"])
def test_a_map_has_the_name_of_the_result(name: str) -> None:
    assert map_path(Path("folder") / name, "error") == Path("folder/a.error.ome.tif")
