"""The page of measurements, whose parts are written by the scripts that measure them."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def write_part(name: str, text: str, page: Path = PAGE) -> None:
    """Put a text in place of the one between ``<!-- name -->`` and ``<!-- end of name -->``.

    A page that does not exist is made of this part alone.
    """
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, after = "", ""
    if page.is_file():
        before, _, rest = page.read_text(encoding="utf-8").partition(start)
        _, _, after = rest.partition(end)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(before + start + text.strip("\n") + "\n" + end + after, encoding="utf-8")
