"""Make docs/api.md, the page of what is used from Python, from the docstrings.

python docs/make_api.py
"""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import griffe

from napari_care_losses.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).with_name("api.md")
PACKAGE = "napari_care_losses.core"
PUBLIC = {
    "Models": ["library.list_models", "library.find_model", "model.load_model", "model.Model", "model.ModelCard"],
    "Restoring": [
        "restoration.restore",
        "restoration.restore_frames",
        "restoration_parameters.RestorationParameters",
        "frames.Frames",
        "jobs.restore_to_file",
        "stacks.read_stack",
    ],
    "Training": [
        "patches.Pair",
        "patches.pairs_from_frames",
        "training.Trainer",
        "training_parameters.TrainingParameters",
        "jobs.train_to_file",
        "reports.Step",
        "reports.Epoch",
    ],
    "Losses": [
        "loss.Loss",
        "losses.Laplace",
        "losses.Fourier",
        "losses.Bandpass",
        "losses.FourierBandpass",
        "losses.Adversarial",
    ],
    "Scores and baselines": [
        "metrics.score",
        "spectra.agreement",
        "baselines.restore_with",
        "baselines.tune",
        "choosing.measure_frames",
        "choosing.rank_models",
    ],
    "Models of other tools": [
        "foreign.importing.read_foreign",
        "foreign.importing.import_model",
        "foreign.bioimageio_export.export_bioimageio",
    ],
    "Simulated images": ["simulation.simulate_pair", "simulation.simulate_pairs", "simulation.simulate_movie"],
    "Errors": ["errors.CareError", "errors.InputError", "errors.ModelFileError", "errors.ComputeError"],
}
"""What the page describes, by heading."""

INTRODUCTION = """\
# From Python

What the widgets do is a few lines of Python; nothing here needs napari or a screen. Arrays may be numpy, dask or
anything else that is indexed alike. The tests run these lines.

```python
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore

restored = restore(stack, load_model(find_model("actin-bandpass-lite")), axes="TYX")
```

```python
from napari_care_losses.losses.frequency import Bandpass
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.trainer import Trainer, TrainingParameters

settings = TrainingParameters(preset="lite", budget="steps", amount=20)
trainer = Trainer([Pair(low, high, "field 1")], Bandpass(), settings)
for report in trainer.run():
    print(report)
trainer.model().save(path)
```

`examples/` holds longer ones. The rest of this page is made from the docstrings by `python docs/make_api.py`; modules
are those of `napari_care_losses.core`.
"""


def page() -> str:
    """Return the page as Markdown."""
    package = griffe.load(PACKAGE, docstring_parser=griffe.Parser.numpy, resolve_aliases=False)
    blocks = [INTRODUCTION]
    for heading, names in PUBLIC.items():
        blocks.append(f"## {heading}\n")
        blocks += [_entry(package[name], name) for name in names]
    return "\n".join(blocks)


def _entry(found: Any, name: str) -> str:
    settings = _settings(name)
    lines = [f"### `{name}{'(*, ...)' if settings else _signature(found)}`", ""]
    for section in found.docstring.parsed if found.docstring else ():
        lines += [*_section(section), ""]
    lines += [*settings, ""] if settings else []
    members = [each for each in found.members.values() if each.docstring and not each.name.startswith("_")]
    lines += [
        f"- **`{each.name}{_signature(each) if each.is_function else ''}`** {_first_paragraph(each.docstring.value)}"
        for each in members
        if found.is_class and (each.is_function or "property" in each.labels)
    ]
    return "\n".join([*lines, ""])


def _settings(name: str) -> list[str]:
    """Return the parameters of a class of parameters, with their defaults; nothing for other names."""
    module, _, attribute = name.rpartition(".")
    found = getattr(import_module(f"{PACKAGE}.{module}"), attribute)
    if not (isinstance(found, type) and issubclass(found, Parameters)):
        return []
    defaults = {field.name: field.default for field in dataclasses.fields(found)}
    return [
        f"- `{each}={defaults[each]!r}` {info.help}"
        + (f" In {info.unit}." if info.unit else "")
        + (f" One of {', '.join(info.choices)}." if info.choices else "")
        for each, info in found.described().items()
    ]


def _signature(found: Any) -> str:
    """Return the parameters as they are written, those without a default and the rest; nothing for an exception."""
    function = found.members.get("__init__") if found.is_class else found
    if function is None or not hasattr(function, "parameters"):
        return ""
    shown, is_keyword_only = [], False
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is griffe.ParameterKind.keyword_only and not is_keyword_only:
            is_keyword_only = True
            shown.append("*")
        star = "*" if parameter.kind is griffe.ParameterKind.var_positional else ""
        shown.append(f"{star}{parameter.name}" + ("" if parameter.default is None else f"={parameter.default}"))
    return f"({', '.join(shown)})"


def _section(section: Any) -> Iterator[str]:
    """Yield one section of a docstring as Markdown."""
    if section.kind is griffe.DocstringSectionKind.text:
        yield _mathematics(section.value)
        return
    yield f"**{(section.title or section.kind.value.replace('_', ' ')).capitalize()}**"
    yield ""
    if isinstance(section.value, str) or not isinstance(section.value, list):
        yield str(getattr(section.value, "contents", section.value))
        return
    for item in section.value:
        name = f"`{item.name}` " if getattr(item, "name", None) else ""
        kind = f"({item.annotation}) " if item.annotation else ""
        yield f"- {name}{kind}{_one_line(item.description)}"


def _mathematics(text: str) -> str:
    """Put the equations of reStructuredText between dollar signs, as Markdown has them."""
    lines = []
    for line in inspect.cleandoc(text).splitlines():
        lines.append(f"$${line.removeprefix('.. math:: ')}$$" if line.startswith(".. math:: ") else line)
    pieces = "\n".join(lines).split(":math:`")
    return pieces[0] + "".join("$" + piece.replace("`", "$", 1) for piece in pieces[1:])


def _first_paragraph(text: str) -> str:
    return _mathematics(_one_line(inspect.cleandoc(text).split("\n\n")[0]))


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
