"""Domains: named worlds to draw people and pictures from, with the correlations that can be broken."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from eyegan_jax.errors import UserError
from eyegan_jax.gaze import angles_to_vector, vector_to_angles
from eyegan_jax.simulator.distributions import draw
from eyegan_jax.simulator.geometry import head_rotation
from eyegan_jax.simulator.parameters import Capture, Subject
from eyegan_jax.simulator.populations import (
    IRIS_COLORS,
    IRIS_SHARES_DARK,
    IRIS_SHARES_LIGHT,
    SUBJECTS,
    capture_table,
)
from eyegan_jax.simulator.views import View


@dataclass(frozen=True)
class Domain:
    """A world to draw from; hashable, a static argument of jit.

    population: a key of the tables in :mod:`eyegan_jax.simulator.populations`.
    sensor: False gives the ideal picture: exposure and tone only, no blur, noise, vignetting, compression or
        equalisation, so that every pixel depends on what is seen there alone.
    The other switches break one correlation each, for tests of disentanglement.
    """

    name: str
    population: str
    sensor: bool = True
    lids_follow_gaze: bool = True
    pupil_follows_light: bool = True
    iris_follows_skin: bool = True
    glints_follow_lights: bool = True

    def __post_init__(self):
        if self.population not in SUBJECTS:
            raise UserError(f"domain: expected population {', '.join(SUBJECTS)}, found {self.population!r}")


DOMAINS = {
    "simulated": Domain("simulated", "simulated"),
    "captured": Domain("captured", "captured"),
    "randomized": Domain("randomized", "randomized"),
}


def find_domain(domain: "Domain | str") -> Domain:
    """A Domain by its name; raises UserError for an unknown one."""
    if isinstance(domain, Domain):
        return domain
    if domain not in DOMAINS:
        raise UserError(f"domain: expected {', '.join(DOMAINS)}, found {domain!r}")
    return DOMAINS[domain]


def _pick(shares, u):
    return jnp.minimum(jnp.sum(jnp.cumsum(shares) < u), len(IRIS_COLORS) - 1).astype(jnp.int32)


def sample_subject(key, domain: Domain, look: str = "visible") -> Subject:
    """One person of the domain's population. ``look`` is accepted for symmetry: people do not change with it."""
    del look
    values = draw(jax.random.fold_in(key, 0), SUBJECTS[domain.population])
    extra = jax.random.uniform(jax.random.fold_in(key, 1), (4,))
    seeds = jax.random.bits(jax.random.fold_in(key, 2), (2,), jnp.uint32)
    # Dark skin goes with dark irises; broken, the iris is drawn as for some other person's skin.
    darkness = values["melanin"] if domain.iris_follows_skin else 0.75 * extra[3]
    mix = jnp.clip(darkness / 0.6, 0.0, 1.0)
    kind = _pick((1.0 - mix) * jnp.array(IRIS_SHARES_LIGHT) + mix * jnp.array(IRIS_SHARES_DARK), extra[0])
    color = jnp.array(IRIS_COLORS, jnp.float32)[kind] * (0.85 + 0.3 * extra[1])
    # Brown irises seldom have a central ring of another colour; hair darkens with skin.
    values["heterochromia"] = jnp.where(kind < 2, 0.3, 1.0) * values["heterochromia"]
    hair = jnp.array([0.060, 0.038, 0.025]) * (1.2 - mix) * (0.4 + 1.2 * extra[2]) + 0.006
    return Subject(**values, iris_kind=kind, iris_color=color, iris_seed=seeds[0], skin_seed=seeds[1], hair_color=hair)


def sample_capture(key, subject: Subject, domain: Domain, view: View) -> Capture:
    """One picture's circumstances. The gaze is drawn in the head and turned into the camera frame."""
    table = capture_table(domain.population, view.look, view.framing)
    values = draw(jax.random.fold_in(key, 0), table)
    in_head = jnp.stack([values.pop("eye_pitch"), values.pop("eye_yaw")])
    gaze = vector_to_angles(head_rotation(values["head"]) @ angles_to_vector(in_head))
    seed = jax.random.bits(jax.random.fold_in(key, 1), (), jnp.uint32)
    if domain.pupil_follows_light:
        # Half of the pupil's spread is explained by the light: one stop closes it by about 0.35 mm.
        light = values["ambient"] + 0.5 * values["light_intensity"][0]
        shrink = 0.35 * jnp.log2(jnp.maximum(light, 0.05) / 0.7)
        values["pupil_radius"] = jnp.clip(values["pupil_radius"] - shrink, 0.9, 4.0)
    if view.look == "visible" and not domain.glints_follow_lights:
        values["glint_angles"] = values["led_angles"][: values["light_angles"].shape[0]]
    else:
        values["glint_angles"] = values["light_angles"]
    values["aperture"] = values["aperture"] * jnp.maximum(1.0 - values.pop("blink", 0.0), 0.0)
    values["side"] = jnp.where(values["side"] >= 0.0, 1.0, -1.0)
    return Capture(**values, gaze=gaze, metered_melanin=subject.melanin, capture_seed=seed)


def sample_subjects(key, count: int, domain: Domain, look: str = "visible") -> Subject:
    """``count`` people, every field with a leading axis; person i depends on (key, i) only."""
    return jax.vmap(lambda i: sample_subject(jax.random.fold_in(key, i), domain, look))(jnp.arange(count))


def sample_captures(key, subjects: Subject, domain: Domain, view: View) -> Capture:
    """One capture for each of the ``subjects`` (leading axis); picture i depends on (key, i) only."""
    count = subjects.melanin.shape[0]
    return jax.vmap(lambda i, s: sample_capture(jax.random.fold_in(key, i), s, domain, view))(
        jnp.arange(count), subjects
    )
