"""Train the universal model that is shipped.

Run: ``python -m benchmarks.universal_training IMAGES [-o universal.safetensors] [--steps N]``

IMAGES is a folder of sharp images; the last 50 by name are kept for validation. Ctrl-C stops; with
``--resume`` the same command goes on. The log is written beside the model, one line of JSON for
each validation.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from napari_coordgate.config import UniversalTrainingConfig, load_mapping
from napari_coordgate.events import Progress
from napari_coordgate.io import find_images
from napari_coordgate.training.universal import train_universal_events

HELD_OUT = 50


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
    options = parser.parse_args()
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


if __name__ == "__main__":
    main()
