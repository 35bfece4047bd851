"""No module imports another in a circle, be it for types only or inside of a function."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import napari_care_losses

ROOT = Path(napari_care_losses.__file__).parent
PACKAGE = ROOT.name


def modules() -> dict[str, Path]:
    """Return every module of the package with its file."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(path: Path, known: set[str]) -> set[str]:
    """Return the modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & known or {node.module}
    return found & known


def test_nothing_is_imported_in_a_circle() -> None:
    files = modules()
    graph = {name: imports_of(path, set(files)) - {name} for name, path in files.items()}
    assert len(graph) > 150
    assert f"{PACKAGE}.models.model" in graph[f"{PACKAGE}.restoration.restore_stack"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_folders_import_in_no_circle() -> None:
    files = modules()
    rooms: dict[str, set[str]] = {}
    for name, path in files.items():
        room = ".".join(name.split(".")[:2])
        others = {".".join(other.split(".")[:2]) for other in imports_of(path, set(files))}
        rooms.setdefault(room, set()).update(others - {room})
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_a_folder_can_be_overlooked() -> None:
    counts: dict[Path, int] = {}
    for path in modules().values():
        counts[path.parent] = counts.get(path.parent, 0) + (path.name != "__init__.py")
    assert {str(folder): count for folder, count in counts.items() if count > 15} == {}


def test_no_module_is_too_long_to_read() -> None:
    assert {
        str(path): lines for path in modules().values() if (lines := path.read_text("utf-8").count("\n")) > 400
    } == {}
