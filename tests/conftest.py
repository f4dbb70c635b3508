"""What all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from napari_coordgate.io.lens_library import LENS_FOLDER_VARIABLE

# A busy machine is no defect: hypothesis shall not count the milliseconds of an example.
settings.register_profile("napari-coordgate", deadline=None)
settings.load_profile("napari-coordgate")


@pytest.fixture(scope="session", autouse=True)
def _no_lenses_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The calibrated lenses of whoever runs the tests are not seen, and none is added."""
    folder = tmp_path_factory.mktemp("lenses")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, LENS_FOLDER_VARIABLE, str(folder))
        yield folder
