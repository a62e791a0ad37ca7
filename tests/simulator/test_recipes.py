"""What a source says of itself tells it from every other one."""

import itertools

import pytest

from eyegan_jax.simulator import View, find_domain, pairs, simulator_source
from eyegan_jax.simulator.edits import edit_source

VIEW = View(16, 24)
PEOPLE = {"seed": 1, "subjects": 5, "first_subject": 2}
MAKERS = {
    "eyes": (simulator_source, {}, PEOPLE | {"references": 2}),
    "pairs": (
        pairs.pair_source,
        {"change": "gaze"},
        PEOPLE | {"references": 2, "change": "none", "before": "often_glasses", "reference_change": "none"},
    ),
    "edits": (edit_source, {}, PEOPLE | {"attributes": ("lid",), "most": 1, "same": 0.5, "prepared": 0.1}),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_setting_changes_the_recipe(kind):
    make, needed, changes = MAKERS[kind]
    recipes = [make("simulated", VIEW, **needed).recipe, make("captured", VIEW, **needed).recipe]
    recipes.append(make("simulated", View(16, 24, look="infrared", channels=1), **needed).recipe)
    recipes += [make("simulated", VIEW, **needed | {name: value}).recipe for name, value in changes.items()]
    assert all(recipes)
    assert len(set(recipes)) == len(recipes)


def test_sources_of_different_kinds_are_told_apart():
    recipes = [make("simulated", VIEW, **needed).recipe for make, needed, _ in MAKERS.values()]
    assert all(a != b for a, b in itertools.combinations(recipes, 2))


def test_a_change_that_is_a_function_has_no_recipe():
    assert not pairs.pair_source("simulated", VIEW, change=pairs.find_change("gaze")).recipe
    assert simulator_source(find_domain("simulated"), VIEW).recipe
