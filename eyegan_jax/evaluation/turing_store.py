"""What the visual Turing test remembers: people, sessions, every trial and answer, in one SQLite file."""

import contextlib
import datetime
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eyegan_jax.evaluation import metrics

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
  id TEXT PRIMARY KEY, person TEXT NOT NULL, mode TEXT NOT NULL, started TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS trials (
  session TEXT NOT NULL REFERENCES sessions(id), position INTEGER NOT NULL,
  truth TEXT NOT NULL,   -- the right answer; in a comparison the kind that stands on the left
  image TEXT NOT NULL,   -- file name; the same for both sides of a comparison's pair
  other TEXT NOT NULL,   -- file name of a comparison's right side, else empty
  answer TEXT, seconds REAL,
  PRIMARY KEY (session, position)
);
"""


@dataclass(frozen=True)
class Trial:
    """One question. ``answer`` is None until it is given; it is a kind in either mode."""

    position: int
    truth: str
    image: str
    other: str = ""
    answer: str | None = None


@dataclass(frozen=True)
class Session:
    """One person's run through a test."""

    id: str
    person: str
    mode: str
    started: str
    trials: tuple[Trial, ...]

    @property
    def answered(self) -> tuple[Trial, ...]:
        return tuple(t for t in self.trials if t.answer is not None)

    @property
    def next(self) -> Trial | None:
        return next((t for t in self.trials if t.answer is None), None)


def plan_judging(kinds: Sequence[str], files: Mapping[str, Sequence[str]], count: int, seed: int) -> list[Trial]:
    """``count`` single images in random order, equal numbers of each kind, none twice."""
    rng = np.random.default_rng(seed)
    each = min(count // len(kinds), *(len(files[kind]) for kind in kinds))
    drawn = [(kind, files[kind][i]) for kind in kinds for i in rng.permutation(len(files[kind]))[:each]]
    return [Trial(n, *drawn[i]) for n, i in enumerate(rng.permutation(len(drawn)))]


def plan_comparison(kinds: Sequence[str], files: Mapping[str, Sequence[str]], count: int, seed: int) -> list[Trial]:
    """``count`` pairs, the first kind on the left in half of them; equal file names are shown together."""
    rng = np.random.default_rng(seed)
    first, second = (sorted(files[kind]) for kind in kinds)
    shared = sorted(set(first) & set(second))
    pairs = [(name, name) for name in shared] or list(zip(first, second, strict=False))
    chosen = [pairs[i] for i in rng.permutation(len(pairs))[:count]]
    left_first = rng.permutation(np.arange(len(chosen)) % 2 == 0)
    return [
        Trial(n, kinds[0], a, b) if left else Trial(n, kinds[1], b, a)
        for n, ((a, b), left) in enumerate(zip(chosen, left_first, strict=True))
    ]


class Store:
    """All sessions of one run. Every method opens its own connection: requests come on many threads."""

    def __init__(self, path: Path):
        self.path = path
        with self._connect() as db:
            db.executescript(SCHEMA)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as db, db:
            yield db

    def begin(self, person: str, mode: str, trials: Sequence[Trial]) -> str:
        """Store a new session; returns its id."""
        session = secrets.token_urlsafe(9)
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        rows = [(session, t.position, t.truth, t.image, t.other) for t in trials]
        with self._connect() as db:
            db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (session, person, mode, started))
            db.executemany("INSERT INTO trials (session, position, truth, image, other) VALUES (?, ?, ?, ?, ?)", rows)
        return session

    def answer(self, session: str, position: int, answer: str, seconds: float | None) -> None:
        """Keep the first answer to a trial; a second (a double click, the back button) changes nothing."""
        with self._connect() as db:
            db.execute(
                "UPDATE trials SET answer = ?, seconds = ? WHERE session = ? AND position = ? AND answer IS NULL",
                (answer, seconds, session, position),
            )

    def session(self, session: str) -> Session | None:
        with self._connect() as db:
            row = db.execute("SELECT id, person, mode, started FROM sessions WHERE id = ?", (session,)).fetchone()
            return self._with_trials(db, row) if row else None

    def sessions(self) -> list[Session]:
        """All sessions, newest first."""
        with self._connect() as db:
            rows = db.execute("SELECT id, person, mode, started FROM sessions ORDER BY started DESC, rowid DESC")
            return [self._with_trials(db, row) for row in rows.fetchall()]

    @staticmethod
    def _with_trials(db: sqlite3.Connection, row: tuple) -> Session:
        trials = db.execute(
            "SELECT position, truth, image, other, answer FROM trials WHERE session = ? ORDER BY position",
            (row[0],),
        )
        return Session(row[0], row[1], row[2], row[3], tuple(Trial(*t) for t in trials))


def confusion(trials: Sequence[Trial], kinds: Sequence[str]) -> dict[str, dict[str, int]]:
    """Counts ``[truth][answer]`` of answered single-image trials, the form of the paper's Table 1."""
    return {
        truth: {answer: sum(t.truth == truth and t.answer == answer for t in trials) for answer in kinds}
        for truth in kinds
    }


def judging_verdict(trials: Sequence[Trial]) -> dict:
    """Exact test whether the answers are better than guessing."""
    return metrics.binomial_test(sum(t.truth == t.answer for t in trials), len(trials))


def comparison_verdict(trials: Sequence[Trial], kinds: Sequence[str]) -> dict:
    """Exact two-sided test whether one of two kinds is preferred; counts are of the first kind."""
    return metrics.binomial_test(sum(t.answer == kinds[0] for t in trials), len(trials), "two-sided")
