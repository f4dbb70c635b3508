"""What all settings share."""

from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

__all__ = ["Device", "Settings"]

Device = Literal["auto", "cpu", "cuda", "mps"]


class Settings(BaseModel):
    """Base of all settings: frozen, finite, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_yaml(self, include: set[str] | None = None) -> str:
        """Text of a YAML file that loads as these settings, or as those named here."""
        return yaml.safe_dump(self.model_dump(mode="json", include=include), sort_keys=False)
