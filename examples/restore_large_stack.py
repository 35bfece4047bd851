"""Restore a TIFF stack larger than memory, frame by frame, with one range for the whole movie.

python examples/restore_large_stack.py stack.tif restored.tif fft-lite
"""

import sys
from pathlib import Path

from napari_care_losses.io.stacks import read_stack
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
from napari_care_losses.restoration.to_file import restore_to_file


def main(source: str, out: str, model_name: str) -> None:
    """Restore `source` into `out`; a stopped run continues where it ended."""
    work = restore_to_file(
        read_stack(source),
        load_model(find_model(model_name)),
        Path(out),
        RestorationParameters(normalization="stack"),
        RunOptions(resume=True),
        source=Path(source),
    )
    for progress in work:
        print(f"\r{progress.done} of {progress.total} tiles", end="")
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
