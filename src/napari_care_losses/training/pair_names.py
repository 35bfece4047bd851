"""Matches low and high exposures by their names."""

from __future__ import annotations

import re
from itertools import chain, combinations
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LOW_WORDS = frozenset("low lo short raw noisy noise input source dim dark weak fast undersampled underexposed".split())
HIGH_WORDS = frozenset("high hi long gt truth groundtruth target clean bright strong slow reference ref".split())
"""Words for the low and the high exposure of a field of view, in lower case."""

UNITS = {
    "ns": ("time", 1e-9),
    "us": ("time", 1e-6),
    "ms": ("time", 1e-3),
    "msec": ("time", 1e-3),
    "s": ("time", 1.0),
    "sec": ("time", 1.0),
    "uw": ("power", 1e-6),
    "mw": ("power", 1e-3),
    "pct": ("share", 1.0),
    "percent": ("share", 1.0),
    "%": ("share", 1.0),
}
"""Units of exposure time, laser power, or a share of the power."""

COUNTS = frozenset("avg average averages av shots".split())
"""Words before a number of averaged images, as in avg1 and avg400."""

MOST_TOKENS = 4
"""Most exposure tokens of a name that are used; more would have too many subsets."""

_QUANTITY = re.compile(
    rf"(?<![\d.,])(\d+(?:[.,]\d+)?)[ _-]?({'|'.join(sorted(UNITS, key=len, reverse=True))})(?![a-z])"
)
_COUNT = re.compile(rf"(?<![a-z])({'|'.join(sorted(COUNTS, key=len, reverse=True))})[ _-]?(\d+)(?!\d)")


class Matching(NamedTuple):
    """What was matched, and what was not."""

    pairs: list[tuple[str, str]]
    """Names of a low exposure and of its high one, in the order of the low ones."""
    ambiguous: list[list[str]]
    """Names that fit more than one partner, each group with its rivals."""
    alone: list[str]
    """Names without a partner."""
    by_order: bool = False
    """Whether the files were paired by their order because the names did not help."""


class _Token(NamedTuple):
    """A part of a name: a word or number, or an exposure."""

    text: str
    kind: str = ""
    """Empty for what the two names of a pair share; "word" or what a quantity measures for an exposure."""
    value: float = 0.0
    """-1 for a word for a low exposure, 1 for a high one; otherwise the quantity."""


class _Form(NamedTuple):
    """A name without some of its exposure tokens."""

    name: str
    key: tuple[str, ...]
    removed: tuple[_Token, ...]


Edge = tuple[str, str]


def match_names(names: Sequence[str]) -> Matching:
    """Pair names, all different, that differ only in the exposure: low/high, 1ms/100ms, raw/gt, avg1/avg400.

    Words decide before quantities, and fewer differences before more; last, a name without any word for an exposure
    may be the partner of one that has one ("cell" and "cell_gt"). A name that fits several partners is left out.
    """
    forms: dict[tuple[str, ...], list[_Form]] = {}
    for form in chain.from_iterable(map(_forms, names)):
        forms.setdefault(form.key, []).append(form)
    levels: dict[tuple[int, int], set[Edge]] = {}
    for rivals in forms.values():
        for first, second in combinations(rivals, 2):
            level, edge = _edge(first, second)
            if edge is not None:
                levels.setdefault(level, set()).add(edge)
    return _matched(names, names, (levels[level] for level in sorted(levels)))


def match_files(low: Sequence[str], high: Sequence[str]) -> Matching:
    """Pair the file names of two folders: equal ones, then those equal but for the exposure, then by order.

    By order only if no names match, the counts are equal, and the names differ only in exposure and numbers. The names
    are given without their suffix, all different within a folder.
    """
    lows, highs = ({name: list(_forms(name)) for name in side} for side in (low, high))
    by_key: dict[tuple[str, ...], list[_Form]] = {}
    for form in chain.from_iterable(highs.values()):
        by_key.setdefault(form.key, []).append(form)
    levels: dict[int, set[Edge]] = {-1: {(f"<{name}", f">{name}") for name in lows.keys() & highs.keys()}}
    for form in chain.from_iterable(lows.values()):
        for other in by_key.get(form.key, []):
            edge = (f"<{form.name}", f">{other.name}")
            levels.setdefault(len(form.removed) + len(other.removed), set()).add(edge)
    # marked: one name may be in both folders
    matching = _matched(
        [f"<{name}" for name in low], [f">{name}" for name in high], (levels[level] for level in sorted(levels))
    )
    matching = Matching(
        [(first[1:], second[1:]) for first, second in matching.pairs],
        [[name[1:] for name in group] for group in matching.ambiguous],
        [name[1:] for name in matching.alone],
    )
    return matching if matching.pairs else _matched_by_order(low, high) or matching


def explain_unmatched(matching: Matching, *, most: int = 4) -> str:
    """Return a sentence on what was left out and why; empty if nothing was."""
    parts = [f"{_listed(group, most)} fit more than one partner: pair them by hand." for group in matching.ambiguous]
    if matching.alone:
        parts.append(f"No partner for {_listed(matching.alone, most)}.")
    return " ".join(parts)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key that puts 2 before 10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name.lower()) if part]


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _tokens(name: str) -> list[_Token]:
    """Split a name at separators, between letters and digits and before capitals."""
    text = re.sub(r"(?<=[a-z]{2})(?=[A-Z])", "_", name).lower().replace("µ", "u").replace("μ", "u")
    text = re.sub(r"ground[ _-]?truth", "groundtruth", text)
    found: list[tuple[int, int, _Token]] = []
    for match in _QUANTITY.finditer(text):
        kind, factor = UNITS[match[2]]
        found.append((*match.span(), _Token(match[0], kind, float(match[1].replace(",", ".")) * factor)))
    for match in _COUNT.finditer(text):
        if not any(start < match.end() and match.start() < end for start, end, _ in found):
            found.append((*match.span(), _Token(match[0], "images", float(match[2]))))
    tokens, position = [], 0
    for start, end, token in [*sorted(found), (len(text), len(text), None)]:
        tokens += [_word(part) for part in re.findall(r"[^\W\d_]+|\d+", text[position:start])]
        tokens += [token] if token is not None else []
        position = end
    return tokens


def _word(text: str) -> _Token:
    if text in LOW_WORDS:
        return _Token(text, "word", -1)
    return _Token(text, "word", 1) if text in HIGH_WORDS else _Token(text)


def _forms(name: str) -> Iterator[_Form]:
    """Yield the name without every subset of its exposure tokens, the empty one first."""
    tokens = _tokens(name)
    exposures = [place for place, token in enumerate(tokens) if token.kind][:MOST_TOKENS]
    subsets = chain.from_iterable(combinations(exposures, count) for count in range(len(exposures) + 1))
    for subset in subsets:
        rest = tuple(token.text for place, token in enumerate(tokens) if place not in subset)
        yield _Form(name, rest, tuple(tokens[place] for place in subset))


def _edge(first: _Form, second: _Form) -> tuple[tuple[int, int], Edge | None]:
    """Return how good a match is (kind of evidence, number of differing tokens) and the pair, low first."""
    count = len(first.removed) + len(second.removed)
    nothing = ((0, 0), None)
    if first.name == second.name or not count:
        return nothing
    values, others = _values(first), _values(second)
    if values is None or others is None:
        return nothing
    if not first.removed or not second.removed:
        found, sign = (values, 1) if first.removed else (others, -1)
        if set(found) != {"word"}:
            return nothing
        return (2, count), _ordered(first, second, sign * found["word"])
    signs = {(values[kind] > others[kind]) - (values[kind] < others[kind]) for kind in values.keys() & others.keys()}
    if len(signs) != 1 or 0 in signs:
        return nothing
    return (0 if "word" in values and "word" in others else 1, count), _ordered(first, second, signs.pop())


def _ordered(first: _Form, second: _Form, sign: float) -> Edge:
    return (first.name, second.name) if sign < 0 else (second.name, first.name)


def _values(form: _Form) -> dict[str, float] | None:
    """Return the values of the removed tokens by kind; None if they contradict one another."""
    values: dict[str, float] = {}
    for token in form.removed:
        if values.setdefault(token.kind, token.value) != token.value:
            return None
    return values


def _matched(lows: Sequence[str], highs: Sequence[str], levels: Iterable[set[Edge]]) -> Matching:
    """Pair names joined to one partner only, level by level; those joined to more are left out with their rivals."""
    pairs: list[Edge] = []
    ambiguous: list[list[str]] = []
    taken: set[str] = set()
    for edges in levels:
        partners: dict[str, set[str]] = {}
        for first, second in sorted(edges):
            if not {first, second} & taken:
                partners.setdefault(first, set()).add(second)
                partners.setdefault(second, set()).add(first)
        for first, second in sorted(edges):
            if partners.get(first) == {second} and partners.get(second) == {first}:
                pairs.append((first, second))
        groups = _components(partners)
        ambiguous += [group for group in groups if len(group) > 2]
        taken |= partners.keys()
    order = {name: place for place, name in enumerate([*lows, *highs])}
    everyone = dict.fromkeys([*lows, *highs])
    return Matching(
        sorted(pairs, key=lambda pair: order[pair[0]]),
        [sorted(group, key=order.__getitem__) for group in ambiguous],
        [name for name in everyone if name not in taken],
    )


def _components(partners: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of names that are joined, directly or through others."""
    groups, left = [], dict(partners)
    while left:
        reached, frontier = set(), [next(iter(left))]
        while frontier:
            name = frontier.pop()
            reached.add(name)
            frontier += [other for other in left.pop(name, set()) if other not in reached]
        groups.append(sorted(reached))
    return groups


def _matched_by_order(low: Sequence[str], high: Sequence[str]) -> Matching | None:
    lows, highs = (sorted(names, key=natural_key) for names in (low, high))
    if not lows or list(map(_without_numbers, lows)) != list(map(_without_numbers, highs)):
        return None
    return Matching(list(zip(lows, highs, strict=True)), [], [], by_order=True)


def _without_numbers(name: str) -> list[str]:
    return ["#" if token.text.isdigit() else token.text for token in _tokens(name) if not token.kind]
