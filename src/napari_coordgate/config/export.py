"""Settings of exported models."""

from pydantic import Field

from napari_coordgate.config.base import Settings


class PackageConfig(Settings):
    """What a package for the BioImage Model Zoo says of its origin.

    Examples
    --------
    >>> PackageConfig(author="A. Novak, Imaging Facility", license="CC-BY-4.0")
    PackageConfig(author='A. Novak, Imaging Facility', license='CC-BY-4.0')
    """

    author: str = Field(
        min_length=1,
        description="Who made the model: a name, or a name, comma and affiliation.",
        json_schema_extra={"missing": "a package states who made the model; give an author"},
    )
    license: str = Field(
        description="License under which others may use the model, as its SPDX identifier, such "
        "as CC-BY-4.0.",
        json_schema_extra={
            "missing": "a package states the license of the model; give one, such as CC-BY-4.0"
        },
    )
    title: str | None = Field(
        None,
        min_length=5,
        max_length=128,
        pattern=r"^[A-Za-z0-9_+\- ()]+$",
        description="Name of the model in the zoo; default: after the network and the frame.",
    )
