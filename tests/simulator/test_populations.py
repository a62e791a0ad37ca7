"""What is drawn lies in its declared range, follows its declared distribution and correlations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eyegan_jax.gaze import vector_to_angles
from eyegan_jax.simulator import DOMAINS, VIEWS, sample_captures, sample_subjects, simulator_source
from eyegan_jax.simulator.distributions import Normal, Sometimes, Uniform, draw, scalars_of
from eyegan_jax.simulator.populations import SUBJECTS, capture_table


def draws(table, count=4000):
    return jax.jit(jax.vmap(lambda key: draw(key, table)))(jax.random.split(jax.random.key(0), count))


@pytest.mark.parametrize("population", sorted(SUBJECTS))
def test_every_value_lies_in_its_declared_range(population):
    for table in (
        SUBJECTS[population],
        capture_table(population, "visible", "crop"),
        capture_table(population, "infrared", "close"),
    ):
        for name, values in draws(table, 2000).items():
            values = np.asarray(values).reshape(2000, -1)
            for k, scalar in enumerate(scalars_of(table[name])):
                low = min(scalar.low, 0.0) if isinstance(scalar, Sometimes) else scalar.low
                assert values[:, k].min() >= low - 1e-5, name
                assert values[:, k].max() <= scalar.high + 1e-5, name


def test_distributions_are_the_declared_ones():
    table = {"u": Uniform(-2.0, 3.0), "n": Normal(1.0, 2.0, -1.5, 9.0), "s": Sometimes(0.3, 1.0, 2.0)}
    values = {name: np.asarray(v) for name, v in draws(table).items()}
    assert scipy.stats.kstest(values["u"], scipy.stats.uniform(-2, 5).cdf).pvalue > 1e-3
    truncated = scipy.stats.truncnorm(-1.25, 4.0, loc=1.0, scale=2.0)
    assert scipy.stats.kstest(values["n"], truncated.cdf).pvalue > 1e-3
    assert np.mean(values["s"] > 0) == pytest.approx(0.3, abs=0.03)
    assert values["s"][values["s"] > 0].min() >= 1.0


@pytest.fixture(scope="module")
def crowd():
    view = VIEWS["unityeyes_35x55"]

    def people(domain):
        subjects = jax.jit(lambda k: sample_subjects(k, 3000, domain))(jax.random.key(1))
        captures = jax.jit(lambda k, s: sample_captures(k, s, domain, view))(jax.random.key(2), subjects)
        return jax.device_get((subjects, captures))

    return people


def test_both_domains_have_the_same_gaze(crowd):
    simulated, captured = (crowd(DOMAINS[name])[1].gaze for name in ("simulated", "captured"))
    np.testing.assert_array_equal(simulated, captured)
    assert np.degrees(np.abs(simulated[:, 0]).max()) < 45 and np.degrees(np.abs(simulated[:, 1]).max()) < 52


def test_infrared_close_ups_blink_and_the_crops_of_a_photo_do_not():
    def opening(view, domain):
        subjects = jax.jit(lambda k: sample_subjects(k, 3000, domain))(jax.random.key(1))
        captures = jax.jit(lambda k, s: sample_captures(k, s, domain, VIEWS[view]))(jax.random.key(2), subjects)
        return np.asarray(captures.aperture)

    for view, name in (("meye_128", "simulated"), ("meye_128", "randomized"), ("openeds_160x100", "randomized")):
        aperture = opening(view, DOMAINS[name])
        assert aperture.min() == 0.0
        assert np.mean(aperture == 0.0) == pytest.approx(0.03, abs=0.012), view  # a quarter of the blinks
    for view, name in (("unityeyes_35x55", "simulated"), ("openeds_160x100", "captured")):
        assert opening(view, DOMAINS[name]).min() > 0.5, view


@pytest.mark.parametrize(
    "switch,first,second",
    [
        ("iris_follows_skin", lambda s, c: s.melanin, lambda s, c: s.iris_color.sum(-1)),
        (
            "pupil_follows_light",
            lambda s, c: c.ambient + 0.5 * c.light_intensity[:, 0],
            lambda s, c: c.pupil_radius,
        ),
    ],
)
def test_correlations_hold_and_can_be_broken(crowd, switch, first, second):
    def correlation(domain):
        subjects, captures = crowd(domain)
        return np.corrcoef(first(subjects, captures), second(subjects, captures))[0, 1]

    domain = dataclasses.replace(DOMAINS["randomized"], **{switch: True})
    assert correlation(domain) < -0.2
    assert abs(correlation(dataclasses.replace(domain, **{switch: False}))) < 0.08


def test_glints_follow_the_lamps_unless_broken(crowd):
    _, kept = crowd(DOMAINS["simulated"])
    _, broken = crowd(dataclasses.replace(DOMAINS["simulated"], glints_follow_lights=False))
    np.testing.assert_array_equal(kept.light_angles, kept.glint_angles)
    assert np.abs(broken.light_angles - broken.glint_angles).max() > 0.1


def test_source_gives_fixed_people_and_their_references():
    view = VIEWS["unityeyes_35x55"].resized(16, 24)
    source = simulator_source("simulated", view, seed=4, subjects=3, first_subject=10, references=2)
    sample = jax.jit(jax.vmap(lambda key: source.draw(source.resident, key)))(jax.random.split(jax.random.key(0), 12))
    assert sample["image"].shape == (12, 16, 24, 1) and sample["image"].dtype == jnp.uint8
    assert sample["mask"].dtype == jnp.uint8 and sample["subject"].dtype == jnp.int32
    assert sample["references"].shape == (12, 2, 16, 24, 1) and sample["reference_masks"].shape == (
        12,
        2,
        16,
        24,
    )
    assert sample["landmarks"].shape == (12, 55, 2) and sample["pupil"].shape == (12, 5)
    assert set(np.unique(sample["subject"])) <= {10, 11, 12} and len(np.unique(sample["subject"])) > 1
    np.testing.assert_allclose(np.linalg.norm(sample["gaze"], axis=-1), 1.0, atol=1e-5)
    assert np.abs(np.asarray(vector_to_angles(sample["gaze"]))).max() < 1.0
    # References show the same person in another pose.
    assert (np.asarray(sample["references"])[:, 0] != np.asarray(sample["references"])[:, 1]).any()
