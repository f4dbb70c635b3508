"""Training of a model on sharp images and a PSF field, or on measured pairs."""

from napari_coordgate.training.adaptation import AdaptationGain, adaptation_gain_events
from napari_coordgate.training.checkpoint import OUTPUT_EXISTS_HINT, Checkpoint
from napari_coordgate.training.estimate import (
    ResourceEstimate,
    estimate_resources,
    estimate_resources_events,
)
from napari_coordgate.training.trainer import train, train_events
from napari_coordgate.training.universal import adapt, adapt_events

__all__ = [
    "OUTPUT_EXISTS_HINT",
    "AdaptationGain",
    "Checkpoint",
    "ResourceEstimate",
    "adapt",
    "adapt_events",
    "adaptation_gain_events",
    "estimate_resources",
    "estimate_resources_events",
    "train",
    "train_events",
]
