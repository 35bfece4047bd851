"""Plates of OME-Zarr (high-content screening): what their wells and fields are, and their metadata written anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import InputError, UnreadableError
from napari_care_losses.io.ome_zarr_reader import VERSIONS, group_metadata, inner_name, is_zarr, list_images
from napari_care_losses.io.tiff_pages import MOST_NAMED
from napari_care_losses.io.whole_files import patiently

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

NAME = re.compile("[A-Za-z0-9]+")
"""What rows, columns and fields may be called."""


@dataclass(frozen=True)
class Plate:
    """A plate, or a single well of one.

    Attributes
    ----------
    path : Path
        Its group.
    version : str
        Of OME-Zarr.
    table : dict
        What its attributes say of the plate.
    wells : dict of str to dict
        What the attributes of every well that is there say, by its path (A/1); that of a single well is empty.
    missing_wells : list of str
        The wells that it names and that are not there.
    fields : list of str
        The fields that are there (A/1/0).
    missing_fields : list of str
        Those that wells name and that are not there.
    """

    path: Path
    version: str
    table: dict[str, Any]
    wells: dict[str, dict[str, Any]]
    missing_wells: list[str]
    fields: list[str]
    missing_fields: list[str]

    @property
    def is_well(self) -> bool:
        """Whether it is a single well."""
        return "" in self.wells

    @property
    def missing(self) -> str:
        """A sentence on what is missing; empty where all is there."""
        parts = [
            _counted("well", self.missing_wells, len(self.wells) + len(self.missing_wells)),
            _counted("field", self.missing_fields, len(self.fields) + len(self.missing_fields)),
        ]
        return f"{self.path} is not whole: {' and '.join(filter(None, parts))}." if any(parts) else ""


def read_plate(path: Path, *, incomplete: bool = False) -> Plate:
    """Return what a plate, or a well of one, consists of.

    Parameters
    ----------
    path : Path
        Its group.
    incomplete : bool
        Whether it may be one of which wells or fields are missing.

    Raises
    ------
    InputError
        If it is none, or its metadata cannot be used.
    UnreadableError
        If wells or fields are missing.
    """
    metadata = group_metadata(path)
    table = _table(metadata, "plate")
    names = _paths(path, table, "wells") if "plate" in metadata else [""]
    there = [name for name in names if is_zarr(path / name)]
    if not there:
        raise UnreadableError(f"{path} is not whole: none of its {len(names)} wells is there. Copy it again.")
    told = {name: group_metadata(path / name) for name in there}
    wells = {name: _table(one, "well") for name, one in told.items()}
    fields = [f"{well}/{field}".strip("/") for well in there for field in _fields(path / well, told[well])]
    found = Plate(
        path=path,
        version=str(metadata.get("version", table.get("version", wells[there[0]].get("version", "0.4")))),
        table=table,
        wells=wells,
        missing_wells=[name for name in names if name not in wells],
        fields=[field for field in fields if is_zarr(path / field)],
        missing_fields=[field for field in fields if not is_zarr(path / field)],
    )
    if found.missing and not (incomplete and found.fields):
        raise UnreadableError(f"{found.missing} Copy it again, or restore what is there with --incomplete.")
    return found


def is_plate(path: Path) -> bool:
    """Return whether a path is a plate or a well of one; raises `InputError` if it is damaged Zarr."""
    return is_zarr(path) and bool({"plate", "well"} & group_metadata(path).keys())


def list_fields(path: Path, *, incomplete: bool = False) -> list[Path]:
    """Return the groups of all images in an OME-Zarr file, as `list_images`; of a plate or well, of all its fields.

    Raises as `read_plate`.
    """
    if {"plate", "well"} & group_metadata(path).keys():
        return [path / field for field in read_plate(path, incomplete=incomplete).fields]
    return list_images(path)


def check_rules(plate: Plate) -> None:
    """Check that a plate keeps the rules of its specification, without which programs cannot find their way in a copy.

    Raises
    ------
    InputError
        If it does not.
    """
    problem = "" if plate.is_well else _problem_of_table(plate.table)
    if not plate.version.startswith(VERSIONS):
        problem = f"it is of version {plate.version}"
    for name, table in plate.wells.items():
        fields = [str(one.get("path")) for one in table["images"]]
        if len(set(fields)) < len(fields) or not all(map(NAME.fullmatch, fields)):
            of_well = f"of well {name} " * bool(name)
            problem = problem or f"fields {of_well}must have names of letters and digits, all different"
    if problem:
        raise InputError(
            f"{plate.path} breaks a rule of OME-Zarr plates: {problem}. Restore its fields into a folder with --series "
            "all."
        )


def _problem_of_table(plate: Mapping[str, Any]) -> str:
    """Return which rule the table of a plate breaks; empty where it keeps all."""
    problem = ""
    rows, columns = (_names(plate.get(kind)) for kind in ("rows", "columns"))
    for kind, listed in (("rows", rows), ("columns", columns)):
        if not listed or len(set(listed)) < len(listed) or not all(map(NAME.fullmatch, listed)):
            problem = problem or f"its {kind} must have names of letters and digits, all different"
    for well in plate["wells"]:
        place = (_item(rows, well.get("rowIndex")), _item(columns, well.get("columnIndex")))
        if None in place or well["path"] != "/".join(map(str, place)):
            problem = problem or f"well {well['path']!r:.40} must have the indices and names of its row and column"
    if len(set(_names(plate["wells"], "path"))) < len(plate["wells"]):
        problem = problem or "it names a well twice"
    return problem


def write_plate(path: Path, plate: Plate, fields: Collection[str], version: str, marks: Mapping[str, str]) -> None:
    """Make a plate, or a well, of the groups of its fields: write the metadata of wells, then of the plate.

    Parameters
    ----------
    path : Path
        The folder, in which the fields lie as in the plate.
    plate : Plate
        Whose metadata are kept.
    fields : collection of str
        Those that are there; wells and fields without them are left out.
    version : str
        Of OME-Zarr.
    marks : mapping of str to str
        Further attributes of the plate.
    """
    wells = {}
    for name, table in plate.wells.items():
        images = [one for one in table["images"] if f"{name}/{one['path']}".strip("/") in fields]
        if images:
            wells[name] = {**table, "images": images, "version": version}
    if plate.is_well:
        _write_group(path, version, {"well": wells[""]}, marks)
        return
    listed = [one for one in plate.table["wells"] if one["path"] in wells]
    table = {**plate.table, "wells": listed, "version": version}
    if "field_count" in table:
        table["field_count"] = max(len(one["images"]) for one in wells.values())
    for row in {name.split("/")[0] for name in wells}:
        _write_group(path / row, version, {})
    for name, well in wells.items():
        _write_group(path / name, version, {"well": well})
    _write_group(path, version, {"plate": table}, marks)


def _write_group(path: Path, version: str, metadata: dict[str, Any], marks: Mapping[str, str] | None = None) -> None:
    import zarr

    is_v2 = version == "0.4"
    attributes = metadata if is_v2 or not metadata else {"ome": {"version": version, **metadata}}
    group = zarr.open_group(path, mode="a", zarr_format=2 if is_v2 else 3)
    patiently(group.attrs.update, {**(marks or {}), **attributes})


def _counted(kind: str, missing: Sequence[str], total: int) -> str:
    if not missing:
        return ""
    shown = ", ".join(missing[:MOST_NAMED]) + ", ..." * (len(missing) > MOST_NAMED)
    return f"{len(missing)} of {total} {kind}s {'is' if len(missing) == 1 else 'are'} missing ({shown})"


def _table(metadata: Mapping[str, Any], kind: str) -> dict[str, Any]:
    found = metadata.get(kind)
    return found if isinstance(found, dict) else {}


def _fields(path: Path, metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields of a well."""
    names = _paths(path, _table(metadata, "well"), "images")
    if not names:
        raise InputError(f"{path} is no well of an OME-Zarr plate: its attributes name no field.")
    return names


def _paths(path: Path, table: Mapping[str, Any], parts: str) -> list[str]:
    """Return the paths of the wells or fields that a table lists."""
    listed = table.get(parts)
    if not isinstance(listed, list):
        raise InputError(f"{path}: expected a list of {parts!r}, found {listed!r:.60}.")
    try:
        return [inner_name(one.get("path") if isinstance(one, dict) else None, parts) for one in listed]
    except InputError as error:
        raise InputError(f"{path}: {error}.") from error


def _names(listed: Any, key: str = "name") -> list[str]:
    return [str(one.get(key)) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _item(names: Sequence[str], index: Any) -> str | None:
    return names[index] if isinstance(index, int) and 0 <= index < len(names) else None
