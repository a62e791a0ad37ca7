"""Figures of gaze redirection, judged with judges that know the truth: an oracle, a copy, and what is between."""

import numpy as np
import pytest

from eyegan_jax.evaluation import redirection
from eyegan_jax.evaluation.perceptual import perceptual_distances
from eyegan_jax.gaze import angles_to_vector

SIZE = (24, 32)


def vectors(degrees):
    return np.asarray(angles_to_vector(np.radians(np.asarray(degrees, np.float32))))


def drawn(angles, person):
    """A square whose place is the gaze, on a background that is the person: a picture that a judge reads exactly."""
    images = np.zeros((len(angles), *SIZE, 1), np.uint8)
    columns = np.arange(SIZE[1])
    for image, (pitch, yaw), who in zip(images, angles, person, strict=True):
        image[:] = (60 + 40 * who + 20 * np.sin(columns * (1 + who) / 2))[None, :, None]
        y, x = place(pitch, yaw)
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    return images


def place(pitch, yaw):
    return round(12 - pitch / 4), round(16 - yaw / 2.5)


def read(images):
    found = [np.argwhere(image[..., 0] == 255).mean(0) for image in images]
    return vectors([((12 - y) * 4, (16 - x) * 2.5) for y, x in found])


def masks(images):
    return np.where(images[..., 0] == 255, 2, 0).astype(np.uint8)


JUDGES = redirection.Judges(gaze=read, segment=masks, glasses=lambda x: x[:, 0, 0, 0] > 200)


@pytest.fixture(scope="module")
def bench():
    rng = np.random.default_rng(0)
    angles = [rng.integers(-2, 3, (12, 2)) * [4.0, 10.0] for _ in range(2)]
    angles[1][:6] = angles[0][:6] + np.array([4.0, 0.0])
    person = np.arange(12) % 3
    before, after = (drawn(a, person) for a in angles)
    worn = np.arange(12) % 4 == 0
    source = before.copy()
    source[worn, 0] = 210
    pairs = {
        "image": source,
        "mask": masks(before),
        "gaze": vectors(angles[0]),
        "glasses": worn,
        "references": drawn(angles[1][::-1], person)[:, None],
        "subject": person,
        "target_image": after,
        "target_mask": masks(after),
        "target_gaze": vectors(angles[1]),
        "target_glasses": np.zeros(12, bool),
    }
    gallery = {"image": drawn(angles[1], (person + 1) % 3), "gaze": vectors(angles[1])}
    degrees = np.where(np.arange(12) < 6, 5.0, 20.0)
    return redirection.Bench(pairs, degrees, gallery, JUDGES), angles, person


def oracle(person):
    def turn(pictures, wanted):
        return drawn(redirection.degrees_of(wanted), person[: len(wanted)])

    return turn


def test_oracle_has_no_error_and_copy_has_the_turn(bench):
    bench, _angles, person = bench
    perfect = redirection.judge(oracle(person), bench)
    assert perfect["gaze_error"]["mean"] < 1e-3 and perfect["own_error"]["mean"] < 1e-3
    assert perfect["miou"] == perfect["miou_ceiling"] == 1.0
    assert perfect["distance"]["mean"] < 1e-6
    copied = redirection.judge(redirection.copy, bench)
    assert copied["by_turn"]["5"]["gaze_error"]["mean"] == pytest.approx(4.0, abs=1e-3)
    assert copied["gaze_error"]["n"] == 12 and copied["by_turn"]["5"]["gaze_error"]["n"] == 6
    assert copied["round_trip"]["mean"] == 0.0 and copied["round_trip"]["n"] == 9
    assert copied["miou"] < 1.0
    assert redirection.verdict(perfect | {"sweep": {"rank": {"mean": 1.0}}}) == {
        "gaze within 3 degrees": True,
        "gaze within twice the judge's own error": perfect["gaze_error"]["mean"] <= 2 * perfect["own_error"]["mean"],
        "sweep follows the wish (rank above 0.95)": True,
    }


def test_identity_tells_the_person(bench):
    bench, _, person = bench
    own = redirection.identity(bench.pairs["target_image"], bench.pairs)
    assert own["recognised"] > 0.85 and own["same"] < own["others"]
    stranger = redirection.identity(drawn(np.zeros((12, 2)), (person + 1) % 3), bench.pairs)
    assert stranger["recognised"] < 0.6


def test_glasses_that_go_and_glasses_that_stay(bench):
    bench, _, person = bench
    gone = redirection.judge(oracle(person), bench)["glasses"]
    assert (gone["seen_before"], gone["seen_after"], gone["seen_in_truth"], gone["n"]) == (1.0, 0.0, 0.0, 3)
    kept = redirection.judge(redirection.copy, bench)["glasses"]
    assert kept["seen_after"] == 1.0


def test_nearest_neighbour_looks_along_the_wish_and_prefers_the_like(bench):
    bench, _, _ = bench
    found = redirection.nearest(bench.gallery)(bench.pairs, bench.pairs["target_gaze"])
    np.testing.assert_allclose(read(found), bench.pairs["target_gaze"], atol=np.radians(3.1))
    # Two candidates of the same gaze: the one that resembles the source wins.
    angles = np.array([[0.0, 10.0]] * 2)
    gallery = {"image": drawn(angles, [2, 0]), "gaze": vectors(angles)}
    source = {"image": drawn(np.zeros((1, 2)), [0])}
    chosen = redirection.nearest(gallery)(source, vectors([[0.0, 10.0]]))
    np.testing.assert_array_equal(chosen[0], gallery["image"][1])


def test_sweep_of_an_oracle_follows_the_wish(bench):
    bench, _, person = bench
    pictures = redirection.first(bench.pairs, 3)
    figures, images = redirection.sweep(oracle(person), pictures, JUDGES)
    assert images.shape == (3, len(redirection.SWEEP), *SIZE, 1)
    assert figures["rank"]["mean"] > 0.999 and figures["slope"]["mean"] == pytest.approx(1.0, abs=0.05)

    def backwards(pictures, wanted):
        return oracle(person)(pictures, wanted * [-1, 1, 1])

    assert redirection.sweep(backwards, pictures, JUDGES)[0]["rank"]["mean"] < -0.999
    assert redirection.sweep(redirection.copy, pictures, JUDGES)[0]["rank"]["mean"] == 0.0


def test_perceptual_distance_is_zero_for_equals_symmetric_and_grows():
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.normal(size=(4, 30, 40, 1)), axis=2)
    image = np.clip(128 + 10 * smooth, 0, 255).astype(np.uint8)
    noisy = [np.clip(image + rng.normal(0, s, image.shape), 0, 255).astype(np.uint8) for s in (2, 20)]
    np.testing.assert_array_equal(perceptual_distances(image, image), 0)
    near, far = (perceptual_distances(image, other) for other in noisy)
    assert (near < far).all() and (near > 0).all()
    np.testing.assert_allclose(perceptual_distances(noisy[1], image), far, rtol=1e-5)
    rgb = [np.repeat(x, 3, axis=-1) for x in (image, noisy[1])]
    np.testing.assert_allclose(perceptual_distances(*rgb), far, rtol=1e-3)
