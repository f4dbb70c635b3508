from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from napari_coordgate.comparison import Comparison, as_table
from napari_coordgate.config import ComparisonFile, GaussianLens, load_settings
from napari_coordgate.io import Image, write_image
from napari_coordgate.optics import PSFField

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Start

NETWORK = {"architecture": "unet", "depth": 2, "base_channels": 2}
TRAINING = {"steps": 4, "batch_size": 2, "window_size": 16, "device": "cpu"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A comparison of a network with a classical method, beside all that it names."""
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = (200 * (rng.random((64, 64)) > 0.9) + 20 * rng.random((64, 64))).astype(np.uint8)
        write_image(tmp_path / "sharp" / f"image{number}.tif", Image(pixels, "YX"))
    field = PSFField.from_lens(GaussianLens(sigma_center_px=0.6, sigma_edge_px=1.2), (32, 32))
    field.save(tmp_path / "field.tif")
    write(tmp_path / "run.yaml")
    return tmp_path / "run.yaml"


def write(path: Path, **changes: Any) -> None:
    settings: dict[str, Any] = {
        "methods": [
            {"name": "U-Net(2)", "network": NETWORK},
            {"name": "Wiener", "wiener": {"num_iter": 3}},
        ],
        "images": "sharp",
        "psf": "field.tif",
        "training": TRAINING,
        "seeds": 2,
    }
    path.write_text(yaml.safe_dump(settings | changes))


def test_a_file_of_methods_becomes_a_table_and_figures_and_is_not_done_twice(
    run: Run, file: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    finished = run("compare", file, "-o", output)
    assert (finished.returncode, finished.stderr) == (0, "")
    comparison = Comparison.load(output)
    assert as_table(comparison.rows) in finished.stdout
    assert [row.stem for row in comparison.rows] == [
        "blurred",
        "u-net-2-seed0",
        "u-net-2-seed1",
        "wiener",
    ]
    rows = {path: path.stat().st_mtime_ns for path in (output / "rows").iterdir()}
    models = {path: path.stat().st_mtime_ns for path in output.glob("*.safetensors")}
    assert run("compare", file, "-o", output, "--device", "cpu").stdout == finished.stdout
    assert all(path.stat().st_mtime_ns == when for path, when in (rows | models).items())

    method = {"name": "loaded", "model": "out/u-net-2-seed1.safetensors"}
    write(file, methods=[method])
    assert run("compare", file, "-o", tmp_path / "second").returncode == 0
    (loaded,) = Comparison.load(tmp_path / "second").of("loaded")
    assert loaded.quality == comparison.rows[2].quality


def test_the_example_of_the_guide_is_a_comparison(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(# run\.yaml.*?)```", guide, re.DOTALL)
    (tmp_path / "run.yaml").write_text(example)
    settings = load_settings(ComparisonFile, tmp_path / "run.yaml")
    kinds = {method.kind for method in settings.methods}
    assert kinds == {"network", "model", "wiener", "richardson_lucy", "universal", "unrolled"}
    assert settings.training.camera.photons == 5000


def test_errors_are_reported_in_one_line(run: Run, file: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    write(file, methods=[{"name": "Wiener", "wiener": {}}])
    assert run("compare", file, "-o", output).returncode == 0
    write(file, methods=[{"name": "Wiener", "wiener": {"regularization": 0.5}}])
    changed = run("compare", file, "-o", output)
    assert changed.returncode == 1
    assert "method.wiener.regularization (was 0.01, is 0.5)" in changed.stderr

    write(file, test="sharp")
    leaking = run("compare", file, "-o", tmp_path / "other")
    assert leaking.returncode == 1
    assert "is the same image as" in leaking.stderr

    write(file, memory=True)
    old = run("compare", file, "-o", tmp_path / "other")
    assert old.returncode == 2
    assert "remove `memory`" in old.stderr

    write(file, methods=[{"name": "none"}])
    wrong = run("compare", file, "-o", tmp_path / "other")
    assert wrong.returncode == 2
    assert "'none' has none of them" in wrong.stderr
    assert all(f.stderr.count("\n") == 1 for f in (changed, leaking, old, wrong))


def test_an_interrupted_comparison_resumes(
    run: Run, start: Start, file: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    last = output / "u-net-2-seed0.last.safetensors"
    steps = {**TRAINING, "steps": 100_000, "validate_every": 2}
    write(file, training=steps, seeds=1)
    with start("compare", file, "-o", output) as process:
        while not last.exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert err.count("\n") == 1
    assert "Canceled with 1 of 3 rows done" in err
    plan = json.loads((output / "rows" / "u-net-2.plan.json").read_text())
    assert plan["trained"]["0"][0] > 0
