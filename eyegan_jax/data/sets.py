"""Sets made of sets: parts, concatenations, splits by person, and a scan that names every broken item."""

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from eyegan_jax.data.examples import BadExample, Example, EyeSet
from eyegan_jax.errors import UserError


class Subset:
    """The examples of ``eyeset`` at ``indices``, in that order."""

    def __init__(self, eyeset: EyeSet, indices: Sequence[int]):
        self._eyeset, self._indices = eyeset, [int(i) for i in indices]

    @property
    def names(self) -> list[str]:
        names = self._eyeset.names
        return [names[i] for i in self._indices]

    @property
    def subjects(self) -> list[str | None]:
        subjects = subjects_of(self._eyeset)
        return [subjects[i] for i in self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Example:
        return self._eyeset[self._indices[index]]


class ConcatSet:
    """Several sets one after the other. Names and subjects get their set's label in front, as ``label/name``.

    Person "1" of one data set is not person "1" of another; ``labels`` are the sets' positions by default.
    """

    def __init__(self, sets: Sequence[EyeSet], labels: Sequence[str] | None = None):
        self._sets = list(sets)
        self._labels = [str(i) for i in range(len(self._sets))] if labels is None else list(labels)
        if len(set(self._labels)) != len(self._sets):
            raise ValueError(f"expected {len(self._sets)} different labels, found {self._labels}")
        self._starts = np.cumsum([0, *(len(part) for part in self._sets)])

    @property
    def names(self) -> list[str]:
        return [f"{label}/{name}" for label, part in self._parts() for name in part.names]

    @property
    def subjects(self) -> list[str | None]:
        return [
            None if subject is None else f"{label}/{subject}"
            for label, part in self._parts()
            for subject in subjects_of(part)
        ]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Example:
        index = range(len(self))[index]
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        label = self._labels[part]
        try:
            example = self._sets[part][index - int(self._starts[part])].copy()
        except BadExample as bad:
            raise BadExample(f"{label}/{bad.name}", bad.reason) from None
        example["name"] = f"{label}/{example['name']}"
        if "subject" in example:
            example["subject"] = f"{label}/{example['subject']}"
        return example

    def _parts(self):
        return zip(self._labels, self._sets, strict=True)


def subjects_of(eyeset: EyeSet) -> list[str | None]:
    """Each example's subject, None where it has none or is broken.

    Readers that know the subjects without decoding offer them as ``subjects``; otherwise every example is
    read.
    """
    known = getattr(eyeset, "subjects", None)
    if known is not None:
        return list(known)
    return read_all(eyeset, lambda example: example.get("subject"), "reading subjects").found


def split_subjects(eyeset: EyeSet, fractions: Sequence[float], seed: int = 0) -> list[Subset]:
    """Parts with no person in common, ``fractions`` of the subjects each (at least one), drawn by ``seed``.

    Examples without a subject are in no part. Raises UserError where there are fewer subjects than parts.
    """
    if min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
        raise ValueError(f"fractions must be positive and sum to at most 1, found {list(fractions)}")
    subjects = subjects_of(eyeset)
    people = sorted({subject for subject in subjects if subject is not None})
    if len(people) < len(fractions):
        raise UserError(f"expected at least {len(fractions)} subjects to split, found {len(people)}")
    # Raw bits are the part of NumPy's random streams that is the same in every version.
    order = np.argsort(np.random.Philox(key=seed).random_raw(len(people)), kind="stable")
    ends = np.rint(np.cumsum(fractions) * len(people)).astype(int)
    parts, start = [], 0
    for i, end in enumerate(ends):
        waiting = len(fractions) - 1 - i
        end = min(max(int(end), start + 1), len(people) - waiting)
        chosen = {people[k] for k in order[start:end]}
        parts.append(Subset(eyeset, [j for j, subject in enumerate(subjects) if subject in chosen]))
        start = end
    return parts


def of_subjects(eyeset: EyeSet, chosen: Collection[str]) -> Subset:
    """The examples of the named people. Raises UserError naming the people that are not in the set."""
    subjects = subjects_of(eyeset)
    people = {subject for subject in subjects if subject is not None}
    wanted = {str(subject) for subject in chosen}
    if missing := sorted(wanted - people):
        raise UserError(f"no such subject: {', '.join(missing)}; the set has {', '.join(sorted(people)) or 'none'}")
    return Subset(eyeset, [i for i, subject in enumerate(subjects) if subject in wanted])


@dataclass(frozen=True)
class Reading:
    """What :func:`read_all` found: one entry per example (None where broken), and the broken ones."""

    found: list[Any]
    bad: list[BadExample] = field(default_factory=list)

    def summary(self, shown: int = 3) -> str:
        """One line that counts the broken examples and names the first few."""
        return summarise_bad(self.bad, len(self.found), shown)


def summarise_bad(bad: Sequence[BadExample], total: int, shown: int = 3) -> str:
    """ "3 of 100 examples are unusable: a.png (the file is empty), ... and 1 more"."""
    named = ", ".join(f"{item.name} ({item.reason})" for item in bad[:shown])
    more = f" and {len(bad) - shown} more" if len(bad) > shown else ""
    return f"{len(bad)} of {total} examples are unusable: {named}{more}"


def nothing_usable(bad: Sequence[BadExample], total: int) -> UserError:
    """The error for a set of which no example can be used."""
    if not bad:
        return UserError("expected at least one example, found an empty data set")
    return UserError(f"none of the {total} examples is usable: {bad[0].name} ({bad[0].reason}) and so on")


def read_all(
    eyeset: EyeSet,
    take: Callable[[Example], Any],
    what: str,
    progress: bool = True,
    workers: int | None = None,
) -> Reading:
    """``take(example)`` of every example, decoded in parallel threads; ``take`` may raise BadExample too."""

    def one(index: int) -> Any:
        try:
            return take(eyeset[index])
        except BadExample as bad:
            return bad

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        results = list(
            tqdm(
                pool.map(one, range(len(eyeset))),
                total=len(eyeset),
                desc=what,
                unit="image",
                # Small sets are read before anybody could follow a bar.
                disable=None if progress and len(eyeset) >= 500 else True,
                leave=False,
            )
        )
    bad = [result for result in results if isinstance(result, BadExample)]
    return Reading([None if isinstance(result, BadExample) else result for result in results], bad)


def check_set(eyeset: EyeSet) -> Reading:
    """Decodes everything and keeps of each example its fields' shapes; ``bad`` names what cannot be used."""

    def shapes(example: Example) -> dict[str, Any]:
        return {key: getattr(value, "shape", ()) for key, value in example.items() if key != "name"}

    return read_all(eyeset, shapes, "checking")
