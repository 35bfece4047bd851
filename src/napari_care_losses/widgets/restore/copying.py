"""What the button Copy of the Restore widget copies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_care_losses.errors import InputError
from napari_care_losses.images.selection import Selection
from napari_care_losses.widgets.layers.layer_records import restoration_record
from napari_care_losses.widgets.layers.restored_layers import frames_done, made_with, region_of
from napari_care_losses.widgets.shared.copy_button import save_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

    from napari_care_losses.restoration.record import RestorationRecord
    from napari_care_losses.widgets.restore.shown_result import Chosen

HELP = (
    "Copy what makes the restored layer again, as a command or as Python; before there is one, what Restore would do."
)


def record_of(chosen: Chosen, restored: Image | None, beside: Sequence[str]) -> tuple[RestorationRecord, str]:
    """Return what makes a restored layer again, or without one what Restore would do, and what to do first.

    Raises
    ------
    InputError
        If the settings do not go together, or the layer cannot be made again as it is.
    """
    source, path, parameters, selection = chosen.source, chosen.entry.path, chosen.parameters, chosen.selection
    if restored is not None:
        made = made_with(restored, source)
        if made is None:
            raise InputError(f"{restored.name}, {source.name} or the model has changed since: restore it anew.")
        path, parameters = made
        done = frames_done(restored)
        is_whole = len(done) == math.prod(restored.data.shape[:-2])
        selection = Selection(None if is_whole else tuple(sorted(done)), region_of(restored))
    if parameters is None:
        raise InputError("the settings do not go together: change what is marked.")
    record = restoration_record(source, path, parameters, selection, beside)
    is_saved = record.source.is_absolute()
    return record, "" if is_saved else save_first({source.name: str(record.source)})
