"""Command ``export``: write a model for other programs."""

from collections.abc import Mapping
from pathlib import Path

from napari_coordgate.cli.messages import say
from napari_coordgate.config import PackageConfig
from napari_coordgate.errors import SettingsError
from napari_coordgate.export import export_model


def export_to(
    model: Path, output: Path, package: Mapping[str, str | None], overwrite: bool
) -> None:
    """Export a model; ``package`` are the given settings of a package."""
    given = {name: value for name, value in package.items() if value is not None}
    is_package = output.suffix.lower() == ".zip"
    if given and not is_package:
        name = next(iter(given))
        raise SettingsError(f"--{name} is for packages; give an OUTPUT that ends in .zip.")
    config = PackageConfig(**given) if is_package else None
    export_model(model, output, package=config, overwrite=overwrite)
    say(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
