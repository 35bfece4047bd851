"""The description of a bioimage.io package, and the files it names."""

from __future__ import annotations

import hashlib
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any

import yaml

from napari_care_losses.errors import ModelFileError
from napari_care_losses.interchange.archives import MAX_WEIGHTS
from napari_care_losses.io.untrusted_files import checked

if TYPE_CHECKING:
    from pathlib import Path

    from napari_care_losses.interchange.archives import Contents

DESCRIPTIONS = ("bioimageio.yaml", "rdf.yaml", "model.yaml", "*.bioimageio.yaml", "*.rdf.yaml", "*.model.yaml")
"""Names and patterns of names of a package's description, in the order in which they are looked for."""

LONGEST_NUMBER = 40
"""Characters of a whole number at most."""

MOST_VALUES = 20_000
"""Values in a description at most; real ones have some hundreds."""


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Makes plain values only, and refuses aliases: a few lines of those can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases")
        self._values = getattr(self, "_values", 0) + 1
        if self._values > MOST_VALUES:
            raise yaml.YAMLError(f"it has more than {MOST_VALUES:,} values")
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: yaml.Node) -> int:
        # numbers in base 60 can take seconds to compute
        if len(node.value) > LONGEST_NUMBER:
            raise yaml.YAMLError("a whole number is too large")
        return int(super().construct_yaml_int(node))


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


def read_yaml(contents: Contents, name: str) -> Any:
    """Return the plain values of a YAML file; raises `ModelFileError` if it is damaged."""
    try:
        return checked(yaml.load(contents.read(name), _PlainLoader))
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{name} is damaged ({' '.join(str(error).split())[:300]}).") from error


def read_description(contents: Contents, name: str) -> dict[str, Any]:
    """Return the description of a model; raises `ModelFileError` if it is damaged, or does not describe a model."""
    described = read_yaml(contents, name)
    # before description 0.3.2 there was no type
    if not isinstance(described, dict) or described.get("type", "model" if "weights" in described else None) != "model":
        raise ModelFileError(
            f"{name} does not describe a model but {shortened(at(described, 'type'))}: it cannot be imported."
        )
    return described


def at(values: Any, *keys: str) -> Any:
    """Return a value in nested mappings; None where there is none."""
    for key in keys:
        if not isinstance(values, dict):
            return None
        values = values.get(key)
    return values


def copy_checked(contents: Contents, entry: Any, target: Path, what: str, limit: int = MAX_WEIGHTS) -> Path:
    """Copy the file that an entry of a description names, and compare its digest with the one there.

    The entry has ``source`` and perhaps ``sha256``. Returns `target`, the path of the copy; paths from a package are
    never used. Messages say `what` the file is. Raises `ModelFileError` if there is no such file, it has more than
    `limit` bytes, or its digest differs.
    """
    source, digest = at(entry, "source"), at(entry, "sha256")
    if not isinstance(source, str):
        raise ModelFileError(f"The package does not say which of its files is the {what}.")
    if "://" in source:
        raise ModelFileError(f"The package has no file of its {what}, which lies at {source[:200]}.")
    contents.copy(source.removeprefix("./"), target, limit)
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if digest is not None and str(digest).strip().lower() != found:
        raise ModelFileError(f"{source} is damaged: its SHA-256 is not the one in the package's description.")
    return target
