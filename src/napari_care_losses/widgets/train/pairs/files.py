"""The files of the pairs in the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.widgets.layers.source_file import LayerFile, file_of, unsaved

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_care_losses.widgets.train.pairs.row import PairRow


class PairFiles(NamedTuple):
    """The files of pairs; of layers without a file, the names under which they are to be saved first."""

    files: list[tuple[Path, Path | None]]
    channel: int | None
    """The only channel of all files."""


def files_of(rows: Iterable[PairRow]) -> PairFiles:
    """Return the files of the rows that a training takes, as `PairTable.pairs` does."""
    used = [row for row in rows if row.source is not None and not row.problem]
    pairs = [_files_of(row) for row in used]
    channels = {file.channel for pair in pairs for file in pair if file is not None}
    if len(channels) > 1:
        # one option chooses the channel of all files
        pairs = [_saved_whole(row, pair) for row, pair in zip(used, pairs, strict=True)]
        channels = {None}
    files = [(low.path, None if high is None else high.path) for low, high in pairs if low is not None]
    return PairFiles(files, next(iter(channels), None))


def _files_of(row: PairRow) -> tuple[LayerFile | None, LayerFile | None]:
    if row.has_files:
        low, high = row.source.low, row.source.high
        return LayerFile(low.absolute()), None if high is None else LayerFile(high.absolute())
    low, high = row.layers
    return file_of(low), None if row.is_alone else file_of(high)


def _saved_whole(
    row: PairRow, pair: tuple[LayerFile | None, LayerFile | None]
) -> tuple[LayerFile | None, LayerFile | None]:
    low, high = (
        file if file is None or file.channel is None else unsaved(layer)
        for file, layer in zip(pair, row.layers, strict=True)
    )
    return low, high
