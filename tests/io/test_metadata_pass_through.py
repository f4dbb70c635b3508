"""Tests that nothing a file states about an image is lost on the way to a result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

from napari_coordgate import Selection
from napari_coordgate.io import Image, create_image, plane_indices, read_image, write_image
from napari_coordgate.io.metadata import ImageMetadata
from napari_coordgate.io.ome_xml import Element, parse_ome_xml, read_ome_xml
from napari_coordgate.io.optical_metadata import stated_optics
from tests.io.test_ome_zarr import scaled

OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">
 <Experimenter ID="Experimenter:1" LastName="Abbe"/>
 <Experimenter ID="Experimenter:2" LastName="Zernike"/>
 <Instrument ID="Instrument:0">
  <Detector ID="Detector:0:0" Model="Zyla 4.2"/>
  <Objective ID="Objective:0:0" Model="another" LensNA="1.3"/>
  <Objective ID="Objective:0:1" Model="Plan Apo" LensNA="0.8" NominalMagnification="20"/>
 </Instrument>
 <Image ID="Image:0" Name="well A1">
  <ExperimenterRef ID="Experimenter:2"/>
  <Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="20" SizeY="16" SizeC="1"
    SizeZ="1" SizeT="1"><Channel ID="Channel:0:0"/><TiffData IFD="18"/></Pixels>
 </Image>
 <Image ID="Image:1" Name="well A2">
  <AcquisitionDate>2024-05-06T07:08:09</AcquisitionDate>
  <ExperimenterRef ID="Experimenter:1"/>
  <Description>HeLa, fixed &amp; stained</Description>
  <InstrumentRef ID="Instrument:0"/>
  <ObjectiveSettings ID="Objective:0:1" CorrectionCollar="0.17"/>
  <StageLabel Name="second"/>
  <Pixels ID="Pixels:1" DimensionOrder="XYCZT" Type="uint16" SizeX="20" SizeY="16" SizeC="3"
    SizeZ="2" SizeT="3" PhysicalSizeX="200" PhysicalSizeXUnit="nm" PhysicalSizeY="0.3"
    PhysicalSizeZ="1.5" TimeIncrement="2" TimeIncrementUnit="min" BigEndian="true">
   <Channel ID="Channel:1:0" Name="DAPI" Color="65535" EmissionWavelength="461"
    ExcitationWavelength="405"/>
   <Channel ID="Channel:1:1" Name="GFP" Color="16711935" EmissionWavelength="0.51"
    EmissionWavelengthUnit="µm" Fluor="EGFP"><DetectorSettings ID="Detector:0:0"/></Channel>
   <Channel ID="Channel:1:2" Name="Cy5" Color="-16776961" EmissionWavelength="670"/>
   <TiffData IFD="0" PlaneCount="18"/>{planes}
  </Pixels>
 </Image>
</OME>"""
PLANE = (
    '<Plane TheC="{c}" TheZ="{z}" TheT="{t}" DeltaT="{t}" ExposureTime="{exposure}" '
    'ExposureTimeUnit="ms" PositionX="1.5" PositionXUnit="mm" PositionY="20" PositionZ="{z}"/>'
)


def second_image() -> Image:
    """Image of three channels, the second one of a document."""
    planes = "".join(
        PLANE.format(c=c, z=z, t=t, exposure=50 * (c + 1))
        for t in range(3)
        for z in range(2)
        for c in range(3)
    )
    metadata = read_ome_xml(OME.format(planes=planes), 1)
    return Image(np.zeros((3, 2, 3, 16, 20), np.uint16), "TZCYX", **metadata._asdict())


def result(path: Path, image: Image, dtype: str = "f4") -> ImageMetadata:
    """Metadata of a result of an image."""
    with create_image(path, image, dtype=dtype) as out:
        for index in plane_indices(image):
            out[index] = image.plane(index)
    return read_image(path).metadata


def assert_equal(after: ImageMetadata, before: ImageMetadata) -> None:
    """Assert that all values are equal, wherever in the files they stand."""
    assert after._replace(optics=before.optics, original=before.original) == before
    assert after.optics.values() == before.optics.values()


def written(path: Path) -> Element:
    """OME-XML of an OME-TIFF."""
    with tifffile.TiffFile(path) as tiff:
        root = parse_ome_xml(tiff.ome_metadata or "")
    assert root is not None
    return root


def test_ome_tiff_keeps_what_ome_xml_states_about_the_image(tmp_path: Path) -> None:
    image = second_image()
    assert image.channel_colors == ("0000FF", "00FF00", "FF0000")
    after = result(tmp_path / "b.ome.tif", image)
    assert_equal(after, image.metadata)
    assert after.optics.values() == {
        "na": 0.8,
        "objective": "Plan Apo",
        "magnification": 20,
        "wavelengths_nm": (461, 510, 670),
        "excitations_nm": (405, None, None),
        "camera": "Zyla 4.2",
        "exposures_s": (0.05, 0.1, 0.15),
        "stage_y_um": 20,
        "stage_x_um": 1500,
        "stage_z_um": 0,
        "acquired": "2024-05-06T07:08:09",
    }
    root = written(tmp_path / "b.ome.tif")
    assert [person.get("LastName") for person in root.findall("Experimenter")] == ["Abbe"]
    assert [
        (image.get("Name"), image.findtext("Description")) for image in root.findall("Image")
    ] == [("well A2", "HeLa, fixed & stained")]
    assert root.find("Image/StageLabel[@Name='second']") is not None
    assert root.find("Image/ObjectiveSettings[@CorrectionCollar='0.17']") is not None
    pixels = root.find("Image/Pixels[@Type='float'][@PhysicalSizeX='200']")
    assert pixels is not None
    assert [child.tag for child in pixels] == ["Channel"] * 3 + ["TiffData"] + ["Plane"] * 18
    assert pixels.find("Channel[@Fluor='EGFP']/DetectorSettings") is not None


def test_a_selection_keeps_the_metadata_of_its_planes(tmp_path: Path) -> None:
    image = second_image().select(Selection(channels="Cy5,DAPI", times="::2", planes="1"))
    after = result(tmp_path / "b.ome.tif", image)
    assert_equal(after, image.metadata)
    assert (after.channel_names, after.time_step_s) == (("Cy5", "DAPI"), 240)
    assert after.channel_colors == ("FF0000", "0000FF")
    planes = written(tmp_path / "b.ome.tif").findall("Image/Pixels/Plane")
    assert [
        (p.get("TheT"), p.get("TheZ"), p.get("DeltaT"), p.get("PositionZ")) for p in planes
    ] == [
        *[("0", "0", "0", "1")] * 2,
        *[("1", "0", "2", "1")] * 2,
    ]
    assert [plane.get("ExposureTime") for plane in planes if plane.get("TheC") == "0"] == [
        "150"
    ] * 2


def test_ome_zarr_keeps_what_ome_xml_states_and_back(tmp_path: Path) -> None:
    image = second_image().select(Selection(channels="GFP,Cy5"))
    assert_equal(result(tmp_path / "b.ome.zarr", image), image.metadata)
    yaozarrs.validate_zarr_store(tmp_path / "b.ome.zarr")
    image = read_image(tmp_path / "b.ome.zarr")
    assert_equal(result(tmp_path / "c.ome.tif", image), image.metadata)
    root = written(tmp_path / "c.ome.tif")
    assert root.find("Image[@Name='well A2']/StageLabel[@Name='second']") is not None
    assert len(root.findall("Image/Pixels/Plane")) == 12


OMERO = {
    "id": 1,
    "rdefs": {"model": "color"},
    "channels": [
        {
            "label": label,
            "color": color,
            "active": label == "GFP",
            "family": "linear",
            "window": {"min": 0, "max": 65535, "start": 100, "end": 1500},
        }
        for label, color in (("DAPI", "0000FF"), ("GFP", "00FF00"), ("Cy5", "FF0000"))
    ],
}


def attributes(path: Path) -> dict[str, Any]:
    """Attributes of an OME-Zarr image."""
    found: dict[str, Any] = json.loads((path / "zarr.json").read_text())["attributes"]
    return found


def test_ome_zarr_keeps_the_attributes_of_the_image(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=np.zeros((3, 2, 16, 20), np.uint16))
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    level = {"path": "0", "coordinateTransformations": [scaled(1, 500, 300, 200)]}
    shift = {"type": "translation", "translation": [0, 1000, 2000, 3000]}
    multiscale: dict[str, Any] = {"version": "0.4", "name": "cells", "axes": axes}
    multiscale["datasets"] = [level]
    multiscale["coordinateTransformations"] = [scaled(1, 1, 1, 1), shift]
    stored: Any = {"multiscales": [multiscale], "omero": OMERO, "sample": {"id": 7}}
    group.attrs.update(stored)
    image = read_image(path).select(Selection(channels="1,2"))
    assert (image.channel_colors, image.pixel_size_um) == (("00FF00", "FF0000"), (0.3, 0.2))
    for dtype, end in {"u2": 1500, "f4": 0}.items():
        with create_image(tmp_path / f"{dtype}.ome.zarr", image, dtype=dtype):
            pass
        assert_equal(read_image(tmp_path / f"{dtype}.ome.zarr").metadata, image.metadata)
        yaozarrs.validate_zarr_store(tmp_path / f"{dtype}.ome.zarr")
        kept = attributes(tmp_path / f"{dtype}.ome.zarr")
        ome = kept["ome"]
        assert (kept["sample"], ome["multiscales"][0]["name"]) == ({"id": 7}, "cells")
        assert ome["omero"]["rdefs"] == {"model": "color"}
        assert [channel["active"] for channel in ome["omero"]["channels"]] == [True, False]
        assert [channel["window"]["end"] for channel in ome["omero"]["channels"]] == [end] * 2
        (written_level,) = ome["multiscales"][0]["datasets"]
        assert written_level["coordinateTransformations"] == [
            scaled(1, 0.5, 0.3, 0.2),
            {**shift, "translation": [0, 1, 2, 3]},
        ]
    after = result(tmp_path / "b.ome.tif", image)
    assert_equal(after, image.metadata)


def test_sizes_without_a_unit_pass_through_ome_zarr(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=np.zeros((16, 20), np.uint16))
    axes = [{"name": name, "type": "space"} for name in "yx"]
    level = {"path": "0", "coordinateTransformations": [scaled(0.3, 0.2)]}
    stored: Any = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": [level]}]}
    group.attrs.update(stored)
    result(tmp_path / "b.ome.zarr", read_image(path))
    (kept,) = attributes(tmp_path / "b.ome.zarr")["ome"]["multiscales"]
    assert kept["axes"] == axes
    assert kept["datasets"][0]["coordinateTransformations"] == [scaled(0.3, 0.2)]


@pytest.mark.parametrize(
    ("suffix", "dtype"), [(".ome.tif", "f4"), (".ome.zarr", "f4"), (".tif", "f4"), (".tif", "f8")]
)
def test_metadata_from_other_formats_are_written(tmp_path: Path, suffix: str, dtype: str) -> None:
    optics = stated_optics(
        na=(0.75, "a"),
        refractive_index=(1.0, "a"),
        objective=("Plan Fluor", "a"),
        magnification=(20, "a"),
        wavelengths_nm=[(461, "a"), (None, "a")],
        excitations_nm=[(405, "a"), (488, "a")],
        camera=("Orca", "a"),
        exposures_s=[(0.1, "a"), (0.2, "a")],
        electrons_per_count=(0.46, "a"),
        offset=(100, "a"),
        read_noise=(1.6, "a"),
        stage_y_um=(-3, "a"),
        stage_x_um=(7.5, "a"),
        acquired=("2024-05-06T07:08:09", "a"),
    )
    image = Image(
        np.zeros((2, 16, 20), np.uint16),
        "CYX",
        (0.3, 0.2),
        channel_names=("DAPI", ""),
        optics=optics,
        channel_colors=("0000FF", "FF8000"),
        processing={"model": "a.safetensors"},
    )
    after = result(tmp_path / f"b{suffix}", image, dtype)
    assert after.pixel_size_um == pytest.approx(image.pixel_size_um, rel=1e-6)
    assert_equal(after._replace(pixel_size_um=image.pixel_size_um), image.metadata)


def test_imagej_keeps_colors_and_info(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)
    blue, green = (np.stack([ramp * (n == row) for n in range(3)]) for row in (2, 1))
    stated = {"unit": "um", "axes": "CYX", "mode": "composite", "Info": "Key = value\n"}
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((2, 16, 20), np.uint16),
        imagej=True,
        resolution=(5, 4),
        metadata={**stated, "LUTs": [blue, green]},
    )
    image = read_image(tmp_path / "a.tif")
    assert image.channel_colors == ("0000FF", "00FF00")
    image = replace(image, processing={"model": "a.safetensors"})
    for suffix in (".tif", ".ome.tif", ".ome.zarr"):
        assert_equal(result(tmp_path / f"b{suffix}", image), image.metadata)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        kept = tiff.imagej_metadata or {}
        assert kept["Info"].startswith("Key = value\n")
        np.testing.assert_array_equal(kept["LUTs"][1], green)
    assert read_image(tmp_path / "b.tif").original.info.strip() == "Key = value"


def test_imagej_keeps_labels_ranges_and_mode(tmp_path: Path) -> None:
    labels = [f"z:{z} c:{c}" for z in range(3) for c in range(2)]
    stated: Any = {"axes": "ZCYX", "Labels": labels, "mode": "color"}
    stated |= {"Ranges": (10.0, 200.0, 30.0, 300.0), "min": 10.0, "max": 200.0}
    pixels = np.zeros((3, 2, 8, 9), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata=stated)
    image = read_image(tmp_path / "a.tif")

    def written(image: Image) -> dict[str, Any]:
        write_image(tmp_path / "b.tif", replace(image, data=np.asarray(image.data, "f4")), True)
        with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
            return tiff.imagej_metadata or {}

    assert {name: written(image).get(name) for name in stated if name != "axes"} == {
        name: value for name, value in stated.items() if name != "axes"
    }
    part = written(image.select(Selection(channels="1", planes="1:")))
    assert (part["Labels"], part["Ranges"]) == (["z:1 c:1", "z:2 c:1"], (30.0, 300.0))
    assert (part["min"], part["max"]) == (30.0, 300.0)


def test_references_without_an_id_remove_nothing() -> None:
    text = OME.format(planes=PLANE.format(c=0, z=0, t=0, exposure=1))
    text = text.replace('<StageLabel Name="second"/>', '<StageLabel Name="second"/><SiteRef/>')
    root = parse_ome_xml(read_ome_xml(text, 0).original.ome)
    assert root is not None
    assert root.find("Image/Pixels/TiffData") is not None


def test_names_that_xml_cannot_hold_leave_readable_metadata(tmp_path: Path) -> None:
    image = Image(np.zeros((2, 16, 20), np.uint16), "CYX", channel_names=("DA\0PI", "G\x1bFP"))
    assert result(tmp_path / "b.ome.tif", image).channel_names == ("DAPI", "GFP")


@pytest.mark.parametrize("end", [".ome.tif", ".tif"])
def test_colors_of_other_forms_cost_no_result(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=np.zeros((3, 16, 20), np.uint16))
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space"} for name in "yx"]
    channels = [{"color": color} for color in ("#00ff00", "red", None)]
    stored: Any = {
        "multiscales": [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}],
        "omero": {"channels": channels},
    }
    group.attrs.update(stored)
    assert read_image(path).channel_colors == ("00FF00", "", "")
    after = result(tmp_path / f"b{end}", read_image(path), "u2")
    assert after.channel_colors[0] == "00FF00"
