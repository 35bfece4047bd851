"""Matches low and high exposures by their names."""

from __future__ import annotations

import re
import unicodedata
from itertools import chain, combinations, product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

LOW_WORDS = frozenset(
    "low lo short raw noisy noise input source dim dark weak fast undersampled underexposed "
    "niedrig niedrige tief kurz kurze schwach dunkel verrauscht roh rohdaten eingabe "
    "bas basse faible court courte bruite bruitee bruit sombre brut brute entree "
    "bajo baja corto corta debil ruidoso ruidosa ruido oscuro cruda crudo entrada "
    "basso bassa breve debole rumoroso rumore scuro baixo baixa curto curta fraco laag kort zwak ruis 低 短 弱".split()
)
HIGH_WORDS = frozenset(
    "high hi long gt truth groundtruth target clean bright strong slow reference ref average averaged avg mean "
    "hoch hohe lang lange stark hell sauber wahrheit ziel referenz gemittelt mittel mittelwert "
    "haut haute fort forte longue propre clair verite cible moyenne moyen "
    "alto alta largo larga fuerte limpio limpia verdad objetivo referencia promedio "
    "lungo lunga forte pulito verita longo longa limpo verdade hoog sterk schoon gemiddeld 高 長 长 強 强".split()
)
"""Words for the low and the high exposure of a field of view: English, German, French, Spanish, Italian, Portuguese,
Dutch, Chinese and Japanese; in lower case, without accents."""

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
    rf"(?<![\d.,])(\d+(?:[.,p]\d+)?)[ _-]?({'|'.join(sorted(UNITS, key=len, reverse=True))})(?![a-z])"
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


_Key = tuple[int, tuple[str, ...]]
"""1 if numbers count without their leading zeros, else 0; and what is left of a name."""


class _Form(NamedTuple):
    """A name without some of its exposure tokens."""

    name: str
    key: _Key
    removed: tuple[_Token, ...]


Edge = tuple[str, str]


def match_names(names: Sequence[str]) -> Matching:
    """Pair names, all different, that differ only in the exposure: low/high, 1ms/100ms, raw/gt, avg1/avg400.

    Words decide before quantities, and fewer differences before more; last, a name without any word for an exposure
    may be the partner of one that has one ("cell" and "cell_gt"). A name that fits several partners is left out.
    """
    forms: dict[_Key, list[_Form]] = {}
    for form in chain.from_iterable(map(_forms, names)):
        forms.setdefault(form.key, []).append(form)
    levels: dict[tuple[int, ...], set[Edge]] = {}
    for rivals in forms.values():
        for first, second in combinations(rivals, 2):
            level, edge = _edge(first, second)
            if edge is not None:
                levels.setdefault((*level, first.key[0]), set()).add(edge)
    return _matched(names, names, (levels[level] for level in sorted(levels)))


def match_files(low: Sequence[str], high: Sequence[str]) -> Matching:
    """Pair the file names of two folders: equal ones, then those equal but for the exposure, then by order.

    A word that all names of one side have, and none of the other, stands for the exposure too. By order only if no
    names match, the counts are equal, and the names differ only in exposure and numbers. The names are given without
    their suffix, all different within a folder.
    """
    marks = _words_of_a_side(low, high) | _words_of_a_side(high, low)
    lows, highs = ({name: list(_forms(name, marks)) for name in side} for side in (low, high))
    by_key: dict[_Key, list[_Form]] = {}
    for form in chain.from_iterable(highs.values()):
        by_key.setdefault(form.key, []).append(form)
    levels: dict[tuple[int, int], set[Edge]] = {
        (-1, 0): {(f"<{name}", f">{name}") for name in lows.keys() & highs.keys()}
    }
    for form in chain.from_iterable(lows.values()):
        for other in by_key.get(form.key, []):
            edge = (f"<{form.name}", f">{other.name}")
            levels.setdefault((len(form.removed) + len(other.removed), form.key[0]), set()).add(edge)
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
    parts = re.split(r"(\d+)", _normalized(name))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _normalized(name: str) -> str:
    """Return a name in lower case with each character in one form: composed, and wide digits as plain ones."""
    return unicodedata.normalize("NFKC", name).lower()


def _tokens(name: str, marks: Collection[str] = (), *, counts: bool = True) -> list[_Token]:
    """Split a name at separators, between letters and digits and before capitals.

    Words in `marks` stand for an exposure; without `counts`, "average 1" is a word and a number.
    """
    text = _normalized(re.sub(r"(?<=[a-z]{2})(?=[A-Z])", "_", name)).replace("μ", "u")
    text = re.sub(r"ground[ _-]?truth", "groundtruth", re.sub(r"([低短弱高長长強强])", r"_\1_", text))
    found: list[tuple[int, int, _Token]] = []
    for match in _QUANTITY.finditer(text):
        kind, factor = UNITS[match[2]]
        found.append((*match.span(), _Token(match[0], kind, float(re.sub("[,p]", ".", match[1])) * factor)))
    for match in _COUNT.finditer(text) if counts else ():
        if not any(start < match.end() and match.start() < end for start, end, _ in found):
            found.append((*match.span(), _Token(match[0], "images", float(match[2]))))
    tokens, position = [], 0
    for start, end, token in [*sorted(found), (len(text), len(text), None)]:
        # zeros after a decimal point are part of the number
        parts = re.findall(r"[^\W\d_]+|\d+\.\d+(?![.\d])|\d+", text[position:start])
        tokens += [_word(part, marks) for part in parts]
        tokens += [token] if token is not None else []
        position = end
    return tokens


def _word(text: str, marks: Collection[str]) -> _Token:
    plain = "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
    if plain in LOW_WORDS:
        return _Token(text, "word", -1)
    if plain in HIGH_WORDS:
        return _Token(text, "word", 1)
    return _Token(text, "word" if text in marks else "")


def _words_of_a_side(names: Sequence[str], others: Sequence[str]) -> set[str]:
    """Return the words that all of several names have, and none of the others."""
    if min(len(names), len(others)) < 2:
        return set()
    side, other = ([{token.text for token in _tokens(name)} for name in group] for group in (names, others))
    return {word for word in set[str].intersection(*side).difference(*other) if word.isalpha()}


def _forms(name: str, marks: Collection[str] = ()) -> Iterator[_Form]:
    """Yield the name without every subset of its exposure tokens, the empty one first."""
    for loose, counts in product((0, 1), (True, False)):
        tokens = _tokens(name, marks, counts=counts)
        exposures = [place for place, token in enumerate(tokens) if token.kind][:MOST_TOKENS]
        subsets = chain.from_iterable(combinations(exposures, count) for count in range(len(exposures) + 1))
        for subset in subsets:
            rest = (token.text for place, token in enumerate(tokens) if place not in subset)
            key = tuple(text.lstrip("0") or "0" if loose and text.isdecimal() else text for text in rest)
            yield _Form(name, (loose, key), tuple(tokens[place] for place in subset))


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
    return ["#" if token.text[0].isdecimal() else token.text for token in _tokens(name) if not token.kind]
