"""Peak memory of a method at work, measured in a process that does nothing else."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from napari_coordgate.comparison.measuring import BlurredPair
from napari_coordgate.comparison.methods import build_restorer
from napari_coordgate.config import Camera, Device, Method
from napari_coordgate.devices import resolve_device
from napari_coordgate.events import raise_if_canceled
from napari_coordgate.geometry import Window
from napari_coordgate.memory import peak_resident_bytes
from napari_coordgate.optics import PSFField

__all__ = ["measure_in", "peak_memory_bytes"]

PROGRAM = (
    "import sys; from napari_coordgate.comparison.memory import measure_in as m; m(sys.argv[1])"
)
JOB, BLURRED_IMAGE, FIELD, PEAK = "job.json", "blurred.npy", "field.tif", "peak.json"
POLL_SECONDS = 0.05


def peak_memory_bytes(
    method: Method,
    field: PSFField,
    camera: Camera,
    device: Device,
    pair: BlurredPair,
    cancel: threading.Event | None = None,
) -> int | None:
    """Memory that a method takes for an image beside the program and its libraries.

    On a CPU the growth of the resident memory to its peak, with the method's weights,
    in a process of its own; on CUDA what PyTorch allocated at the height.

    Parameters
    ----------
    method : Method
        A checkpoint or a classical method.
    field : PSFField
        The blur.
    camera : Camera
        Noise of the image.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    pair : BlurredPair
        The image.
    cancel : threading.Event, optional
        Once set, the process is ended.

    Returns
    -------
    int or None
        Bytes; none where this system or device does not tell, or the process failed.

    Raises
    ------
    CanceledError
        If it was canceled.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / BLURRED_IMAGE, pair.blurred)
        field.save(folder / FIELD)
        if method.checkpoint is not None:
            method = method.model_copy(update={"checkpoint": method.checkpoint.absolute()})
        job = {
            "method": method.model_dump(mode="json"),
            "camera": camera.model_dump(mode="json"),
            "device": device,
            "window": pair.window,
        }
        (folder / JOB).write_text(json.dumps(job))
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:
            while process.poll() is None:
                if cancel is not None and cancel.is_set():
                    process.kill()
                time.sleep(POLL_SECONDS)
        raise_if_canceled(cancel, "Stopped while measuring memory.")
        peak = folder / PEAK
        bytes_taken: int | None = json.loads(peak.read_text()) if peak.exists() else None
        return bytes_taken


def measure_in(name: str) -> None:
    """Measure the job that lies in a folder; the whole work of the process of its own.

    Parameters
    ----------
    name : str
        The folder, which takes the result as well.
    """
    folder = Path(name)
    job = json.loads((folder / JOB).read_text())
    blurred, field = np.load(folder / BLURRED_IMAGE), PSFField.load(folder / FIELD)
    method, camera = Method.model_validate(job["method"]), Camera.model_validate(job["camera"])
    before = psutil.Process().memory_info().rss
    restorer = build_restorer(method, field, camera=camera, device=job["device"])
    for _ in range(2 if method.checkpoint else 1):  # gating maps are kept from the second use on
        restorer(blurred, Window(*job["window"]))
    device = resolve_device(job["device"]).type
    if device == "cuda":
        taken: int | None = torch.cuda.max_memory_allocated()
    else:
        peak = peak_resident_bytes() if device == "cpu" else None
        taken = None if peak is None else peak - before
    (folder / PEAK).write_text(json.dumps(taken))
