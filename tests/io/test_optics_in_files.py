"""Optics and camera that files state: values, where they stand, and impossible ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_coordgate.errors import SettingsError
from napari_coordgate.io import Image, lens_from_metadata, lens_of_image, read_image, write_image
from napari_coordgate.io.optical_metadata import OpticalMetadata, Stated, stated_optics

PIXELS = np.zeros((2, 16, 20), np.uint16)
OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
 <Instrument ID="Instrument:0">
  <Detector ID="Detector:0:0" Model="Zyla 4.2"/>
  <Detector ID="Detector:0:1" Model="another"/>
  <Objective ID="Objective:0:0" Model="another" LensNA="1.3" Immersion="Oil"/>
  <Objective ID="Objective:0:1" Model="Plan Apo" LensNA="{na}" Immersion="{immersion}"/>
 </Instrument>
 <Image ID="Image:0">
  <InstrumentRef ID="Instrument:0"/>
  <ObjectiveSettings ID="Objective:0:1"/>
  <Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="20" SizeY="16" SizeC="2"
    SizeZ="1" SizeT="1" PhysicalSizeX="0.2" PhysicalSizeY="0.2">
   <Channel ID="Channel:0:0" Name="DAPI" EmissionWavelength="{wavelength}"/>
   <Channel ID="Channel:0:1" Name="GFP" EmissionWavelength="0.51" EmissionWavelengthUnit="µm">
    <DetectorSettings ID="Detector:0:0"/>
   </Channel>
   <TiffData/>
   <Plane TheC="0" TheZ="0" TheT="0" ExposureTime="50" ExposureTimeUnit="ms"/>
  </Pixels>
 </Image>
</OME>"""


def ome_xml(na: Any = 0.8, wavelength: Any = 455, immersion: str = "Air") -> str:
    return OME.format(na=na, wavelength=wavelength, immersion=immersion)


def ome_tiff(path: Path, xml: str, **options: Any) -> Path:
    """Write an OME-TIFF of two channels with this description."""
    with tifffile.TiffWriter(path) as tiff:
        for plane in PIXELS:
            tiff.write(plane, description=xml.encode(), metadata=None, contiguous=False, **options)
            xml, options = "", {}
    return path


def test_ome_xml_states_optics_and_camera_of_the_objective_used(tmp_path: Path) -> None:
    image = read_image(ome_tiff(tmp_path / "a.ome.tif", ome_xml()))
    assert image.axes == "CYX"
    assert image.optics == OpticalMetadata(
        na=Stated(0.8, "OME-XML Objective LensNA"),
        refractive_index=Stated(1.0, "OME-XML Objective Immersion"),
        objective=Stated("Plan Apo", "OME-XML Objective Model"),
        wavelengths_nm=(
            Stated(455.0, "OME-XML Channel EmissionWavelength"),
            Stated(510.0, "OME-XML Channel EmissionWavelength"),
        ),
        camera=Stated("Zyla 4.2", "OME-XML Detector Model"),
        exposures_s=(Stated(0.05, "OME-XML Plane ExposureTime"), None),
    )


def test_impossible_values_are_absent(tmp_path: Path) -> None:
    optics = read_image(ome_tiff(tmp_path / "a.ome.tif", ome_xml(na=0, wavelength=0))).optics
    assert optics.na is None
    assert optics.wavelength_nm(0) is None
    assert optics.wavelength_nm(1) == Stated(510.0, "OME-XML Channel EmissionWavelength")
    for wrong in (-1, "fast", "nan", "inf", None, 2.0):
        assert stated_optics(na=(wrong, "")).na is None


def test_a_refractive_index_below_the_na_is_absent() -> None:
    optics = stated_optics(na=(1.2, "a"), refractive_index=(1.0, "b"))
    assert (optics.na, optics.refractive_index) == (Stated(1.2, "a"), None)


@pytest.mark.parametrize(
    ("name", "na", "index"),
    [
        ("Plan Apo λ 20x/0.75", 0.75, None),
        ("HC PL APO 63x/1.40 OIL CS2", 1.4, 1.515),
        ("HCX PL APO lambda blue 63.0x1.20 WATER UV", 1.2, 1.33),
        ("Plan-Apochromat 20x/0,8 M27", 0.8, None),
        ("N PLAN 10x/0.25 DRY", 0.25, 1.0),
        ("UPLSAPO 100X, NA 1.40, Oil", 1.4, 1.515),
        ("Objective 3", None, None),
    ],
)
def test_na_and_immersion_may_stand_in_the_name_of_the_objective(
    name: str, na: float | None, index: float | None
) -> None:
    optics = stated_optics(objective=(name, "file"))
    assert (optics.na and optics.na.value) == na
    assert (optics.refractive_index and optics.refractive_index.value) == index
    assert optics.na is None or name in optics.na.source


def test_damaged_xml_is_no_obstacle_to_the_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    write_image(tmp_path / "a.ome.zarr", Image(PIXELS, "CYX"))
    (tmp_path / "a.ome.zarr").rename(folder)
    (folder / "OME").mkdir()
    (folder / "OME" / "METADATA.ome.xml").write_text(ome_xml()[:-40])
    image = read_image(folder)
    assert image.optics == OpticalMetadata()
    np.testing.assert_array_equal(image.pixels, PIXELS)


@pytest.mark.parametrize("part", ["", "0"])
def test_ome_xml_in_a_zarr_store_is_read(tmp_path: Path, part: str) -> None:
    store = tmp_path / "a.zarr"
    store.mkdir()
    (store / "zarr.json").write_text(
        json.dumps(
            {
                "zarr_format": 3,
                "node_type": "group",
                "attributes": {"ome": {"version": "0.5", "bioformats2raw.layout": 3}},
            }
        )
    )
    write_image(tmp_path / "b.ome.zarr", Image(PIXELS, "CYX"))
    (tmp_path / "b.ome.zarr").rename(store / "0")
    (store / "OME").mkdir()
    (store / "OME" / "METADATA.ome.xml").write_text(ome_xml(), encoding="utf-8")
    optics = read_image(store / part).optics
    assert optics.na == Stated(0.8, "OME-XML Objective LensNA")
    assert [wave and wave.value for wave in optics.wavelengths_nm] == [455, 510]


def test_the_position_of_the_stage_is_read(tmp_path: Path) -> None:
    xml = ome_xml().replace("<Plane ", '<Plane PositionX="-1.5" PositionXUnit="mm" PositionY="20" ')
    optics = read_image(ome_tiff(tmp_path / "a.ome.tif", xml)).optics
    assert optics.stage_x_um == Stated(-1500.0, "OME-XML Plane PositionX")
    assert optics.stage_y_um == Stated(20.0, "OME-XML Plane PositionY")
    info = {"Info": json.dumps({"XPositionUm": 7.5, "YPositionUm": -3})}
    tifffile.imwrite(tmp_path / "b.tif", PIXELS[0], imagej=True, metadata=info)
    optics = read_image(tmp_path / "b.tif").optics
    assert optics.stage_x_um == Stated(7.5, "Micro-Manager XPositionUm")
    assert optics.stage_y_um == Stated(-3.0, "Micro-Manager YPositionUm")


FRAME = {
    "Core-Camera": "HamamatsuHam_DCAM",
    "HamamatsuHam_DCAM-CameraName": "C13440-20CU",
    "HamamatsuHam_DCAM-CONVERSION FACTOR COEFF": "0.46",
    "HamamatsuHam_DCAM-CONVERSION FACTOR OFFSET": "100",
    "Exposure-ms": 20,
    "TINosePiece-Label": "3-Plan Apo 20x/0.75",
    "PixelSizeUm": 0.325,
}
CAMERA = OpticalMetadata(
    na=Stated(0.75, 'name of the objective "3-Plan Apo 20x/0.75"'),
    objective=Stated("3-Plan Apo 20x/0.75", "Micro-Manager TINosePiece-Label"),
    camera=Stated("C13440-20CU", "Micro-Manager HamamatsuHam_DCAM-CameraName"),
    exposures_s=(Stated(0.02, "Micro-Manager Exposure-ms"),),
    electrons_per_count=Stated(0.46, "Micro-Manager HamamatsuHam_DCAM-CONVERSION FACTOR COEFF"),
    offset=Stated(100.0, "Micro-Manager HamamatsuHam_DCAM-CONVERSION FACTOR OFFSET"),
)


def test_micro_manager_states_the_camera(tmp_path: Path) -> None:
    text = json.dumps(FRAME)
    tags = [(51123, 2, len(text) + 1, text, True)]
    xml = ome_xml().split("<Instrument ID")[0] + "<Image" + ome_xml().split("<Image", 1)[1]
    optics = read_image(ome_tiff(tmp_path / "a.ome.tif", xml, extratags=tags)).optics
    assert optics.na == CAMERA.na
    assert optics.electrons_per_count == CAMERA.electrons_per_count
    assert optics.offset == CAMERA.offset
    assert optics.exposures_s[0] == Stated(0.05, "OME-XML Plane ExposureTime")  # stated first
    assert optics.wavelength_nm(0) == Stated(455.0, "OME-XML Channel EmissionWavelength")


@pytest.mark.parametrize("wrapped", [False, True])
def test_imagej_keeps_the_info_of_micro_manager(tmp_path: Path, wrapped: bool) -> None:
    frame = {k: {"PropVal": v} if wrapped else v for k, v in FRAME.items()}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS[0], imagej=True, metadata={"Info": json.dumps(frame)})
    assert read_image(path).optics == CAMERA


def test_imagej_keeps_the_info_of_bio_formats(tmp_path: Path) -> None:
    info = (
        " BitsPerPixel = 16\n"
        "Information|Instrument|Objective|LensNA #1 = 0.8\n"
        "Image|ATLCameraSettingDefinition|ObjectiveName = HC PL APO 20x/0.80 DRY\n"
        "Information|Image|Channel|EmissionWavelength #1 = 509\n"
        "Information|Image|Channel|EmissionWavelength #2 = 0\n"
        "Image|RefractiveIndex #1 = 1\nImage|RefractiveIndex #2 = 1.518\n"
    )
    path = tmp_path / "a.tif"
    metadata = {"axes": "CYX", "Info": info}
    tifffile.imwrite(path, PIXELS, imagej=True, metadata=metadata)
    optics = read_image(path).optics
    assert optics.na == Stated(0.8, "ImageJ info LensNA")
    assert optics.wavelengths_nm == (Stated(509.0, "ImageJ info EmissionWavelength"), None)
    # Of two objectives; that of the objective's name counts.
    assert optics.refractive_index is not None
    assert optics.refractive_index.value == 1.0
    assert "DRY" in optics.refractive_index.source


def test_a_selection_of_channels_keeps_their_wavelengths(tmp_path: Path) -> None:
    from napari_coordgate import Selection

    image = read_image(ome_tiff(tmp_path / "a.ome.tif", ome_xml()))
    gfp = image.select(Selection(channels="GFP"))
    assert [wave and wave.value for wave in gfp.optics.wavelengths_nm] == [510]


def test_the_lens_of_an_image_is_made_of_stated_values(tmp_path: Path) -> None:
    image = read_image(ome_tiff(tmp_path / "a.ome.tif", ome_xml(immersion="Water")))
    stated = lens_from_metadata(image, channel=1)
    assert {name: item.value for name, item in stated.items()} == {
        "na": 0.8,
        "wavelength_nm": 510,
        "pixel_size_um": 0.2,
        "refractive_index": 1.33,
    }
    lens = lens_of_image(image, 1)
    assert (lens.na, lens.wavelength_nm, lens.field_curvature_um) == (0.8, 510, 0)


def test_what_is_missing_for_a_lens_is_listed(tmp_path: Path) -> None:
    image = read_image(ome_tiff(tmp_path / "a.ome.tif", ome_xml(na=0)))
    with pytest.raises(SettingsError, match=r"a\.ome\.tif does not state the NA; give a lens file"):
        lens_of_image(image)
    with pytest.raises(SettingsError, match="NA, emission wavelength and pixel size"):
        lens_of_image(Image(PIXELS[0], "YX"))
    oil = OpticalMetadata(na=Stated(1.4, "a"), wavelengths_nm=(Stated(520.0, "b"),))
    with pytest.raises(SettingsError, match="the refractive index of the immersion medium;"):
        lens_of_image(Image(PIXELS[0], "YX", (0.1, 0.1), optics=oil))
