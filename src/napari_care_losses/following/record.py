"""How a followed result was made, as a command and as Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_care_losses.provenance import option, python_call, python_parameters
from napari_care_losses.restoration.parameters import RunOptions
from napari_care_losses.restoration.record import RestorationRecord


@dataclass(frozen=True, kw_only=True)
class FollowRecord(RestorationRecord):
    """What restored a growing source; run again, it restores what the source holds then, up to as many time points.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_care_losses.restoration.parameters import RestorationParameters
    >>> record = FollowRecord(
    ...     model="fft-lite",
    ...     source=Path("incoming"),
    ...     out=Path("restored.ome.zarr"),
    ...     parameters=RestorationParameters(),
    ...     until=20,
    ... )
    >>> print(record.bash())
    napari-care-losses restore fft-lite incoming --out restored.ome.zarr --follow --until 20
    """

    until: int
    """Time points that there were at the end."""

    def words(self) -> list[str]:
        """Return the words of the command ``restore``."""
        return [*super().words(), "--follow", *option("until", self.until)]

    def python(self) -> str:
        """Return the same as Python."""
        run = {name: getattr(self.run, name) for name in ("dtype", "zarr_version")}
        stored = {name: value for name, value in run.items() if value != getattr(RunOptions, name)}
        ends: dict[str, Any] = {"until": self.until}
        if self.run.device != RunOptions.device:
            ends["device"] = self.run.device
        return "\n".join(
            [
                "from contextlib import closing",
                "from pathlib import Path",
                "",
                "import napari_care_losses as ncl",
                "from napari_care_losses.following.progress import FollowOptions",
                "from napari_care_losses.following.sources.open_source import open_source",
                "from napari_care_losses.following.to_file import follow_to_file",
                "from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions",
                "",
                f"path, out = Path({str(self.source)!r}), Path({str(self.out)!r})",
                f"model = ncl.load_model(ncl.find_model({self.model!r}))",
                f"parameters, run = {python_parameters(self.parameters)}, {python_call('RunOptions', stored)}",
                f"options = {python_call('FollowOptions', ends)}",
                "with closing(open_source(path, skipped=[out])) as source:",
                "    for _ in follow_to_file(source, model, out, parameters, run, options):",
                "        pass",
            ]
        )
