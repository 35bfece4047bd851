"""Scripts beside the package name modules and members that there are."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SCRIPTS = [
    path for folder in ("benchmarks", "docs", "examples", "tools") for path in sorted((PROJECT / folder).rglob("*.py"))
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_what_a_script_imports_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("napari_care_losses"):
            module = import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or import_module(f"{node.module}.{alias.name}")
