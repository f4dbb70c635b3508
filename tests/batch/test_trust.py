"""A batch says where its results can be trusted, if asked."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from napari_coordgate.batch import BatchSummary, deblur_folder
from napari_coordgate.batch.sources import REPORT_NAME
from napari_coordgate.config import BatchConfig
from napari_coordgate.events import Event, FileChanged
from napari_coordgate.io import read_image
from tests.batch.conftest import World

METHOD: Any = {"method": "richardson-lucy", "num_iter": 5}


def judged(world: World, maps: bool = False) -> BatchSummary:
    psf_field = world.write_psf_field(1.5)
    config = BatchConfig(trust=True, trust_maps=maps, deconvolution=METHOD)
    return deblur_folder(world.folder, world.output, psf_field, config=config)


def test_the_report_has_the_verdict_of_each_result(world: World) -> None:
    summary = judged(world)
    assert len(summary.done) == 4, [file.message for file in summary.failed]
    lines = [json.loads(line) for line in (world.output / REPORT_NAME).read_text().splitlines()]
    done = [line for line in lines if line.get("status") == "done"]
    for line, file in zip(done, summary.done, strict=True):
        assert line["verdict"] == file.verdict in ("green", "amber", "red")
        assert 0 <= line["contradicted"] <= 1
        assert line["expected_error"] is None  # only the universal model predicts it
    assert not list(world.output.rglob("*.contradiction.*"))
    again = judged(world)
    assert [file.verdict for file in again.up_to_date] == [file.verdict for file in summary.done]


def test_maps_are_written_beside_the_results(world: World) -> None:
    summary = judged(world, maps=True)
    for file in summary.done:
        assert file.output is not None and file.contradicted is not None
        name = file.output.name.removesuffix(".ome.tif")
        compared = read_image(file.output.with_name(f"{name}.contradiction.ome.tif"))
        assert compared.data.shape == read_image(file.output).data.shape
        assert abs(float(np.mean(compared.pixels > 1)) - file.contradicted) < 1e-4
    assert len(list(world.output.rglob("*.detail_um.ome.tif"))) == 4


def test_a_method_without_any_map_is_not_repeated_for_its_maps(world: World) -> None:
    config = BatchConfig(trust_maps=True, pattern="a.tif")  # the model states no blur
    options: Any = {"device": "cpu", "config": config}
    (done,) = deblur_folder(world.folder, world.output, world.model, **options).done
    assert (done.verdict != "", done.contradicted) == (True, None)
    assert deblur_folder(world.folder, world.output, world.model, **options).up_to_date


def test_a_result_that_fails_at_the_end_leaves_no_maps(world: World) -> None:
    psf_field = world.write_psf_field(1.5)
    path = world.write("growing.tif", planes=20)
    config = BatchConfig(pattern="growing.tif", trust=True, trust_maps=True, deconvolution=METHOD)

    def touch_when_running(event: Event) -> None:
        if isinstance(event, FileChanged) and event.status == "running":
            os.utime(path, ns=(1, 1))

    (failed,) = deblur_folder(
        world.folder, world.output, psf_field, config=config, callback=touch_when_running
    ).failed
    assert "was changed while" in failed.message
    assert not list(world.output.rglob("*.tif"))
    assert len(deblur_folder(world.folder, world.output, psf_field, config=config).done) == 1


def test_trust_does_not_change_the_result_but_is_added_to_earlier_ones(world: World) -> None:
    psf_field = world.write_psf_field(1.5)
    config = BatchConfig(deconvolution=METHOD)
    plain = deblur_folder(world.folder, world.output, psf_field, config=config)
    before = _pixels(plain)
    summary = judged(world)
    assert len(summary.done) == 4 and not plain.done[0].verdict
    assert len(judged(world, maps=True).done) == len(judged(world, maps=True).up_to_date) == 4
    for name, pixels in _pixels(summary).items():
        np.testing.assert_allclose(pixels, before[name], rtol=1e-5, atol=1e-3)


def test_a_lens_without_a_frame_is_for_the_frame_of_each_image(
    world: World, tmp_path: Path
) -> None:
    lens = tmp_path / "lens.yaml"
    lens.write_text("sigma_center_px: 0.8\nsigma_edge_px: 1.5\npixel_size_um: 0.5\n")
    config = BatchConfig(trust=True, deconvolution={"method": "richardson-lucy", "num_iter": 5})
    summary = deblur_folder(world.folder, world.output, lens, config=config)
    assert len(summary.done) == 4, [file.message for file in summary.failed]
    assert all(file.verdict for file in summary.done)


def _pixels(summary: BatchSummary) -> dict[Path, np.ndarray]:
    return {f.source: read_image(f.output).pixels for f in summary.done if f.output is not None}
