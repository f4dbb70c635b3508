"""Optics and camera that the files of microscopes state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_coordgate.io import OpticalMetadata, Stated, read_image, read_images
from tests.io.microscopes.files import add_to_czi, write_czi, write_lif, write_nd2

CHANNELS = np.zeros((1, 2, 1, 6, 7), "u2")

CZI = """
<Information>
 <Image>
  <AcquisitionDateAndTime>2024-05-06T07:08:09.5Z</AcquisitionDateAndTime>
  <ObjectiveSettings><ObjectiveRef Id="Objective:2"/><Medium>Oil</Medium></ObjectiveSettings>
  <Dimensions><Channels>
   <Channel Id="Channel:0" Name="DAPI">
    <EmissionWavelength>465</EmissionWavelength><ExposureTime>50000000</ExposureTime>
    <DetectorSettings><Detector Id="Detector:1"/></DetectorSettings>
   </Channel>
   <Channel Id="Channel:1" Name="GFP">
    <EmissionWavelength>-1</EmissionWavelength><ExcitationWavelength>488</ExcitationWavelength>
   </Channel>
  </Channels></Dimensions>
 </Image>
 <Instrument>
  <Objectives>
   <Objective Id="Objective:1" Name="another"><LensNA>0.3</LensNA></Objective>
   <Objective Id="Objective:2" Name="Plan-Apochromat 63x/1.4 Oil">
    <LensNA>1.4</LensNA><Immersion>Oil</Immersion><NominalMagnification>63</NominalMagnification>
   </Objective>
  </Objectives>
  <Detectors>
   <Detector Id="Detector:1" Name="Camera 1">
    <Manufacturer><Model>Axiocam 506</Model></Manufacturer>
   </Detector>
   <Detector Id="Detector:2" Name="another"/>
  </Detectors>
 </Instrument>
</Information>
"""


def test_czi(tmp_path: Path) -> None:
    write_czi(tmp_path / "a.czi", [CHANNELS], pixel_um=0.1)
    colors = (f'<Channel Id="Channel:{n}"><Color>#FF{n}0FF80</Color></Channel>' for n in (1, 0))
    display = f"<DisplaySetting><Channels>{''.join(colors)}</Channels></DisplaySetting>"
    add_to_czi(tmp_path / "a.czi", CZI, display)
    image = read_image(tmp_path / "a.czi")
    assert image.channel_colors == ("00FF80", "10FF80")
    assert image.channel_names == ("DAPI", "GFP")
    assert image.optics == OpticalMetadata(
        na=Stated(1.4, "CZI Objective LensNA"),
        refractive_index=Stated(1.515, "CZI Objective Immersion"),
        objective=Stated("Plan-Apochromat 63x/1.4 Oil", "CZI Objective Name"),
        magnification=Stated(63.0, "CZI Objective NominalMagnification"),
        wavelengths_nm=(Stated(465.0, "CZI Channel EmissionWavelength"), None),
        excitations_nm=(None, Stated(488.0, "CZI Channel ExcitationWavelength")),
        camera=Stated("Axiocam 506", "CZI Detector Model"),
        acquired=Stated("2024-05-06T07:08:09.5Z", "CZI Image AcquisitionDateAndTime"),
        exposures_s=(Stated(0.05, "CZI Channel ExposureTime"), None),
    )


def test_nd2(tmp_path: Path) -> None:
    optics = {"dObjectiveNA": 0.75, "dRefractIndex1": 1.0, "wsObjectiveName": "Plan Apo 20x"}
    text = "Metadata:\r\nCamera Name: Andor Zyla VSC-01\r\n  Exposure: 20 ms\r\n  Binning: 1x1"
    write_nd2(tmp_path / "a.nd2", "CYX", CHANNELS[0, :, 0], ("A", "B"), optics=optics, text=text)
    image = read_image(tmp_path / "a.nd2")
    assert image.optics == OpticalMetadata(
        na=Stated(0.75, "ND2 objectiveNumericalAperture"),
        refractive_index=Stated(1.0, "ND2 immersionRefractiveIndex"),
        objective=Stated("Plan Apo 20x", "ND2 objectiveName"),
        camera=Stated("Andor Zyla VSC-01", "ND2 text Camera Name"),
        exposures_s=(Stated(0.02, "ND2 text Exposure"), None),
    )


LAS_X = """
<Attachment Name="HardwareSetting">
 <ATLCameraSettingDefinition ObjectiveName="N PLAN    10x/0.25 DRY " NumericalAperture="0.25"
   RefractionIndex="1">
  <WideFieldChannelConfigurator CameraName="DFC9000">
   <WideFieldChannelInfo EmissionWavelength="460" ExposureTime="100 ms"/>
   <WideFieldChannelInfo EmissionWavelength="525" ExposureTime="0.2"/>
  </WideFieldChannelConfigurator>
 </ATLCameraSettingDefinition>
</Attachment>
"""
LAS_AF = """
<Attachment Name="HardwareSettingList"><HardwareSetting><FilterSetting>
 <FilterSettingRecord Attribute="NumericalAperture" Variant="1.2"/>
 <FilterSettingRecord Attribute="RefractionIndex" Variant="1"/>
 <FilterSettingRecord Attribute="Objective" Variant="HCX PL APO 63.0x1.20 WATER UV"/>
</FilterSetting></HardwareSetting></Attachment>
"""


def test_lif_of_las_x(tmp_path: Path) -> None:
    write_lif(tmp_path / "a.lif", [("CYX", CHANNELS[0, :, 0])], hardware=LAS_X)
    definition, channel = "LIF ATLCameraSettingDefinition", "LIF WideFieldChannelInfo"
    assert read_image(tmp_path / "a.lif").optics == OpticalMetadata(
        na=Stated(0.25, f"{definition} NumericalAperture"),
        refractive_index=Stated(1.0, f"{definition} RefractionIndex"),
        objective=Stated("N PLAN 10x/0.25 DRY", f"{definition} ObjectiveName"),
        wavelengths_nm=(
            Stated(460.0, f"{channel} EmissionWavelength"),
            Stated(525.0, f"{channel} EmissionWavelength"),
        ),
        camera=Stated("DFC9000", "LIF WideFieldChannelConfigurator CameraName"),
        exposures_s=tuple(Stated(time, f"{channel} ExposureTime") for time in (0.1, 0.2)),
    )


def test_lif_of_las_af(tmp_path: Path) -> None:
    write_lif(tmp_path / "a.lif", [("CYX", CHANNELS[0, :, 0])], hardware=LAS_AF)
    optics = read_image(tmp_path / "a.lif").optics
    assert optics.na == Stated(1.2, "LIF FilterSettingRecord NumericalAperture")
    # The stated index is impossible with this NA; the name of the objective knows better.
    assert optics.refractive_index is not None and optics.refractive_index.value == 1.33


PLACES = """
<Information><Image><Dimensions><S><Scenes>
 <Scene Index="0"><CenterPosition>12.5,-3</CenterPosition></Scene>
 <Scene Index="1"><Positions><Position X="20" Y="4" Z="7.5"/></Positions></Scene>
</Scenes></S></Dimensions></Image></Information>
"""
TILES = """
<Attachment Name="TileScanInfo"><Tile PosX="1e-5" PosY="2e-5"/><Tile PosX="3e-5" PosY="2e-5"/>
</Attachment>
"""


def test_places_of_the_stage_and_dates(tmp_path: Path) -> None:
    write_czi(tmp_path / "a.czi", [CHANNELS, CHANNELS])
    add_to_czi(tmp_path / "a.czi", PLACES)
    write_lif(tmp_path / "a.lif", [("MYX", CHANNELS[0, :, 0])], hardware=TILES)
    stamps = '<TimeStampList NumberOfTimeStamps="1">1DA9F84266C9280 </TimeStampList>'
    write_lif(tmp_path / "b.lif", [("YX", CHANNELS[0, 0, 0])], hardware=stamps)
    days = {"dTimeAbsolute": 2460436.7973264}
    write_nd2(tmp_path / "a.nd2", "CYX", CHANNELS[0, :, 0], ("A", "B"), optics=days)

    def places(name: str) -> list[list[float | None]]:
        optics = [image.optics for image in read_images(tmp_path / name)]
        stated = [(one.stage_x_um, one.stage_y_um, one.stage_z_um) for one in optics]
        return [[None if one is None else one.value for one in place] for place in stated]

    assert places("a.czi") == [[12.5, -3.0, None], [20.0, 4.0, 7.5]]
    assert places("a.lif") == [[pytest.approx(x), pytest.approx(20), None] for x in (10, 30)]
    for name in ("b.lif", "a.nd2"):
        acquired = read_image(tmp_path / name).optics.acquired
        assert acquired is not None and acquired.value.startswith("2024-05-06T07:08:0")


def test_files_that_state_no_optics(tmp_path: Path) -> None:
    write_czi(tmp_path / "a.czi", [CHANNELS])
    write_nd2(tmp_path / "a.nd2", "CYX", CHANNELS[0, :, 0])
    write_lif(tmp_path / "a.lif", [("CYX", CHANNELS[0, :, 0])])
    for name in ("a.czi", "a.nd2", "a.lif"):
        assert read_image(tmp_path / name).optics == OpticalMetadata()
