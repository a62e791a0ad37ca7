"""What was rendered once is found again, and only then."""

import jax
import numpy as np
import pytest

from eyegan_jax import cache


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


WHAT = "eyes of 2020"


class Maker:
    """Counts how often it had to work."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"image": np.full((3, 2), self.calls, np.uint8)}


def test_the_same_on_the_same_inputs_is_made_once():
    make = Maker()
    first = cache.kept(WHAT, (jax.random.key(0), 5), make)
    again = cache.kept(WHAT, (jax.random.key(0), 5), make)
    assert make.calls == 1
    np.testing.assert_array_equal(first["image"], again["image"])


@pytest.mark.parametrize(
    "changed",
    [
        ("eyes of 2021", (jax.random.key(0), 5)),
        (WHAT, (jax.random.key(1), 5)),
        (WHAT, (jax.random.key(0), 6)),
        (WHAT, (jax.random.key(0), np.ones(5))),
    ],
    ids=["what", "key", "count", "type"],
)
def test_anything_else_is_rendered_anew(changed):
    make = Maker()
    cache.kept(WHAT, (jax.random.key(0), 5), make)
    assert cache.kept(*changed, make)["image"][0, 0] == make.calls == 2


def test_a_damaged_file_is_made_anew(home, caplog):
    make = Maker()
    cache.kept(WHAT, (), make)
    (stored,) = home.rglob("output.pkl")
    stored.write_bytes(stored.read_bytes()[:20])
    assert cache.kept(WHAT, (), make)["image"][0, 0] == make.calls == 2
    assert "while loading" in caplog.text


def test_a_home_that_cannot_be_written_costs_only_the_cache(home):
    home.write_text("not a folder")
    make = Maker()
    assert cache.kept(WHAT, (), make)["image"][0, 0] == make.calls == 1


def test_rendered_people_come_back_as_they_were():
    from eyegan_jax.data.neighbours import simulated_people
    from eyegan_jax.simulator import View

    options = {"people": 2, "images": 2, "chunk": 2}
    made, found = (simulated_people("simulated", View(16, 24, "infrared", 1), **options) for _ in range(2))
    other = simulated_people("simulated", View(16, 24, "infrared", 1), **options, first_person=1)
    for name in made:
        np.testing.assert_array_equal(made[name], found[name])
    np.testing.assert_array_equal(other["image"][:2], made["image"][2:])


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of four modules in place of ours: a imports b, b imports c within a function, nobody imports d."""
    texts = {"a": "from eyegan_jax.b import (\n    one,\n    two,\n)\n", "d": "", "c/__init__": "", "c/e": "x = 1\n"}
    texts["b"] = "def one():\n    from eyegan_jax.c import e, function\n"
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
    cache.code.cache_clear()
    yield tmp_path
    cache.code.cache_clear()


@pytest.mark.parametrize(("module", "counts"), [("a", True), ("b", True), ("c/e", True), ("d", False)])
def test_code_is_that_of_a_module_and_of_what_it_imports(package, module, counts):
    before = cache.code("eyegan_jax.a")
    (package / f"{module}.py").write_text((package / f"{module}.py").read_text() + "y = 2\n")
    cache.code.cache_clear()
    assert (cache.code("eyegan_jax.a") != before) == counts


def test_what_was_rendered_is_found_without_tracing_the_renderer():
    from eyegan_jax.data.sources import DeviceSource
    from eyegan_jax.data.streams import collect

    traced = []

    def draw(resident, key):
        traced.append(resident)
        return {"image": jax.random.bits(key, (2, 2), "uint8")}

    def pictures(recipe, seed=0):
        return collect(DeviceSource(draw, recipe=recipe), 3, jax.random.key(seed), ("image",))["image"]

    first = pictures("noise")
    assert len(traced) == 1
    np.testing.assert_array_equal(pictures("noise"), first)
    assert len(traced) == 1
    assert (pictures("noise", seed=1) != first).any()
    assert len(traced) == 2
    np.testing.assert_array_equal(pictures("other words"), first)
    assert len(traced) == 3
    pictures("")  # what draws is not known: only its program tells
    pictures("")
    assert len(traced) == 5
