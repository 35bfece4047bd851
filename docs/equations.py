"""Show the equations of docstrings in the site: their LaTeX becomes MathML, which browsers draw by themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import griffe
from latex2mathml.converter import convert

if TYPE_CHECKING:
    from griffe import Object

BLOCK = re.compile(r"^( *)\.\. math:: (.+)$", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]+)`")


class Equations(griffe.Extension):
    """What griffe calls for every object it has read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Replace the equations in the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = with_mathml(obj.docstring.value)


def with_mathml(text: str) -> str:
    """Return a docstring with MathML in place of reStructuredText's equations."""
    text = BLOCK.sub(lambda found: found[1] + convert(found[2], display="block"), text)
    # within a span, as an equation that begins a line is a paragraph of its own else
    return INLINE.sub(lambda found: f"<span>{convert(' '.join(found[1].split()))}</span>", text)
