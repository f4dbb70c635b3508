"""What all tests share."""

from hypothesis import settings

# A busy machine is no defect: hypothesis shall not count the milliseconds of an example.
settings.register_profile("napari-coordgate", deadline=None)
settings.load_profile("napari-coordgate")
