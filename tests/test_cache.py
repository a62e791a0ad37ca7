"""What was rendered once is found again, and only then."""

import jax
import numpy as np
import pytest

from eyegan_jax import cache


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def program(factor=2.0):
    return jax.jit(lambda x: factor * x).lower(np.float32(1.0))


class Maker:
    """Counts how often it had to work."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"image": np.full((3, 2), self.calls, np.uint8)}


def test_the_same_program_on_the_same_inputs_is_run_once():
    make = Maker()
    first = cache.rendered(program(), (jax.random.key(0), 5), make)
    again = cache.rendered(program(), (jax.random.key(0), 5), make)
    assert make.calls == 1
    np.testing.assert_array_equal(first["image"], again["image"])


@pytest.mark.parametrize(
    "changed",
    [
        (program(3.0), (jax.random.key(0), 5)),
        (program(), (jax.random.key(1), 5)),
        (program(), (jax.random.key(0), 6)),
        (program(), (jax.random.key(0), np.ones(5))),
    ],
    ids=["program", "key", "count", "type"],
)
def test_anything_else_is_rendered_anew(changed):
    make = Maker()
    cache.rendered(program(), (jax.random.key(0), 5), make)
    assert cache.rendered(*changed, make)["image"][0, 0] == make.calls == 2


def test_a_damaged_file_is_made_anew(home, caplog):
    make = Maker()
    cache.rendered(program(), (), make)
    (stored,) = home.rglob("output.pkl")
    stored.write_bytes(stored.read_bytes()[:20])
    assert cache.rendered(program(), (), make)["image"][0, 0] == make.calls == 2
    assert "while loading" in caplog.text


def test_a_home_that_cannot_be_written_costs_only_the_cache(home):
    home.write_text("not a folder")
    make = Maker()
    assert cache.rendered(program(), (), make)["image"][0, 0] == make.calls == 1


def test_rendered_people_come_back_as_they_were():
    from eyegan_jax.data.neighbours import simulated_people
    from eyegan_jax.simulator import View

    options = {"people": 2, "images": 2, "chunk": 2}
    made, found = (simulated_people("simulated", View(16, 24, "infrared", 1), **options) for _ in range(2))
    other = simulated_people("simulated", View(16, 24, "infrared", 1), **options, first_person=1)
    for name in made:
        np.testing.assert_array_equal(made[name], found[name])
    np.testing.assert_array_equal(other["image"][:2], made["image"][2:])
