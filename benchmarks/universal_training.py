"""Train the universal model that is shipped.

Run: ``python -m benchmarks.universal_training IMAGES [-o universal.safetensors] [--steps N]``

IMAGES is a folder of sharp images; the last 50 by name are kept for validation. Ctrl-C stops; with
``--resume`` the same command goes on, also with more steps. The log is written beside the model,
one line of JSON for each validation. ``--checkpoint FILE`` writes the model of a checkpoint as it
is, without training.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from napari_coordgate.config import UniversalTrainingConfig, load_mapping
from napari_coordgate.events import Progress
from napari_coordgate.io import find_images
from napari_coordgate.training.universal import train_universal_events
from napari_coordgate.universal_model import UniversalModel

HELD_OUT = 50
VERSION = "2"
DATA = (
    "nuclei in fluorescence, image set BBBC038v1 (CC0), without its validation images; half of "
    "the samples are procedural: membranes, filaments, vesicles, beads, textures, cells"
)


def model_card(model: UniversalModel) -> dict[str, Any]:
    """Return what a user has to know of the model."""
    library = model.config.library
    return {
        "version": VERSION,
        "training_data": DATA,
        "lenses": f"NA {library.min_na} to {library.max_na}, {library.min_sampling} to "
        f"{library.max_sampling} wavelength / NA per pixel, up to {library.curvature_waves} waves "
        f"of defocus in the corners, PSFs up to {library.max_psf_size} pixels; "
        f"{library.gaussian_fraction:.0%} Gaussian",
        "noise": f"{model.config.min_photons:g} to {model.config.max_photons:g} photons in a "
        f"bright pixel, read noise up to {model.config.max_read_noise:g} electrons",
        "images": f"{model.step * model.config.batch_size} simulated windows",
        "validation": dict(model.history[-1]) if model.history else {},
    }


def main() -> None:
    """Train, or resume a training."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.universal_training", description=__doc__
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("universal.safetensors"))
    parser.add_argument("--config", type=Path, help="YAML file of settings")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--validate-every", type=int, default=250)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--checkpoint", type=Path)
    options = parser.parse_args()
    if options.checkpoint is not None:
        save_with_card(UniversalModel.load(options.checkpoint), options.output)
        return
    settings = load_mapping(options.config) if options.config else {}
    if options.steps is not None:
        settings["steps"] = options.steps
    config = UniversalTrainingConfig(**settings)
    torch.set_num_threads(options.threads)
    paths = find_images(options.images)
    events = train_universal_events(
        config,
        paths[:-HELD_OUT],
        paths[-HELD_OUT:],
        options.output,
        validate_every=options.validate_every,
        resume=options.resume,
    )
    with options.output.with_suffix(".jsonl").open("a", encoding="utf-8") as log:
        for event in events:
            if isinstance(event, Progress) and (len(event.metrics) > 1 or event.done % 50 == 0):
                row = {"stage": event.stage, "done": event.done, "seconds": event.seconds}
                line = json.dumps(row | dict(event.metrics))
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
                if len(event.metrics) > 1:
                    log.write(line + "\n")
                    log.flush()
    save_with_card(UniversalModel.load(options.output), options.output)


def save_with_card(model: UniversalModel, output: Path) -> None:
    """Write a model with its card."""
    replace(model, card=model_card(model)).save(output, overwrite=True)


if __name__ == "__main__":
    main()
