"""How a restored layer is made, as a command and as Python, from the files of its source and its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.models.library import model_word
from napari_care_losses.restoration.folders import output_path
from napari_care_losses.restoration.parameters import IntervalFiles
from napari_care_losses.restoration.record import RestorationRecord
from napari_care_losses.widgets.layers.restored_layers import ENDS, UNCERTAINTY, level_of
from napari_care_losses.widgets.layers.source_file import file_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.layers import Image

    from napari_care_losses.images.selection import Selection
    from napari_care_losses.restoration.parameters import RestorationParameters


def restoration_record(
    source: Image,
    model: Path,
    parameters: RestorationParameters,
    selection: Selection,
    beside: Sequence[str] = (),
) -> RestorationRecord:
    """Return what restores a part of a layer from its file into a file beside that, and these kinds of layers.

    Of a layer without a file, the source is the name under which it is to be saved first, which is no absolute path.
    """
    file = file_of(source)
    out = output_path(file.path, file.path.parent, model.stem)
    level = next((level for kind in beside if (level := level_of(kind)) is not None), None)
    return RestorationRecord(
        model=model_word(model),
        source=file.path,
        out=out,
        parameters=parameters,
        channel=file.channel,
        selection=selection,
        incomplete=file.is_incomplete,
        scale_out=out.with_name(f"uncertainty_{out.name}") if UNCERTAINTY in beside else None,
        intervals=None
        if level is None
        else IntervalFiles(level, *(out.with_name(f"{end}_{out.name}") for end in ENDS)),
    )
