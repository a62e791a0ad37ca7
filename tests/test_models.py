"""Trained models: released, loaded, exported; and what comes with the package."""

import json
import shutil

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from eyegan_jax import editing, redirecting
from eyegan_jax.data.geometry import equalize
from eyegan_jax.data.neighbours import simulated_people
from eyegan_jax.errors import UserError
from eyegan_jax.evaluation.metrics import mean_iou
from eyegan_jax.evaluation.pupil import pupil_centres
from eyegan_jax.images import to_float, to_uint8
from eyegan_jax.interchange.export import export_refiner
from eyegan_jax.models import RELEASED, load_model, release, released
from eyegan_jax.networks.refiner import Refiner
from eyegan_jax.refining import refine_images
from eyegan_jax.segmenting import segment_images
from eyegan_jax.simulator import find_view


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 35, 55, 1), dtype=np.uint8)


def test_released_refiner_is_what_the_main_job_trains(images):
    model = load_model(released("refiner"), ("refiner_average",))
    network, params = Refiner(width=32, blocks=3, output="residual"), model.params["refiner_average"]
    wanted = jax.eval_shape(network.init, jax.random.key(0), to_float(images))["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, wanted)
    equalised = np.stack([equalize(image[..., 0]) for image in images])
    refined = to_uint8(network.apply({"params": params}, to_float(equalised[..., None])))
    difference = np.abs(np.asarray(refine_images(model, images)).astype(int) - np.asarray(refined))
    assert difference.max() <= 1  # compiled differently


def test_released_segmenter_is_the_published_network_and_reads_strangers():
    """On headset pictures of simulated people that it never saw, against the simulator's own masks."""
    model = load_model(released("segmenter"), ("average",))
    assert sum(leaf.size for leaf in jax.tree.leaves(model.params["average"]["params"])) == 248_900
    view = find_view("openeds_160x100").resized(128, 128)
    eyes = simulated_people("captured", view, people=2, images=4, first_person=2_000_000)
    assert mean_iou(np.asarray(segment_images(model, eyes["image"])), eyes["mask"])["miou"] > 0.7


def test_released_redirector_moves_the_pupils_of_strangers():
    """Yaw is positive towards the left edge: the pupil, found by a detector that learns nothing, goes there."""
    tool = redirecting.redirector(load_model(released("redirect"), redirecting.STATE))
    view = find_view("unityeyes_72x120").resized(*tool.shape[:2])
    eyes = simulated_people("simulated", view, people=12, images=1, first_person=2_000_000)["image"]
    angles = (-20.0, -10.0, 0.0, 10.0, 20.0)
    across = [pupil_centres(tool.turn(eyes, np.tile([0.0, yaw], (len(eyes), 1))))[0][:, 0] for yaw in angles]
    assert (np.diff(np.mean(across, axis=1)) < -0.5).all()  # pixels of 48, for every ten degrees
    assert np.mean(across[0] > across[-1]) > 0.9


def test_released_text_editor_does_what_it_is_told_to_strangers():
    """Opposite sentences, told apart by what learns nothing: a pupil detector, mean tones, the simulator's masks."""
    pairs = {
        "looking far left": "looking far right",
        "looking far up": "looking far down",
        "bright light": "dim light",
        "lit from the left": "lit from the right",
        "warm tones": "cool tones",
        "very light skin": "very dark skin",
        "blue iris": "brown iris",
        "constricted pupil": "dilated pupil",
    }
    eyes = simulated_people("simulated", "color_crop_64x96", people=24, images=1, first_person=2_000_000)
    texts = [text for pair in pairs.items() for text in pair]
    edited = np.stack(editing.editor(load_model(released("text_edit"), editing.STATE), texts)(eyes["image"]))
    assert edited.shape == (24, len(texts), 64, 96, 3)  # twice the model's size
    gray = edited @ np.array([0.299, 0.587, 0.114])
    skin, iris = (eyes["mask"][:, None] == kind for kind in (0, 2))
    pupils = pupil_centres(edited.reshape(-1, *edited.shape[2:]))[0].reshape(24, len(texts), 2)
    measured = {
        "looking far left": -pupils[..., 0],
        "looking far up": -pupils[..., 1],
        "bright light": gray.mean((2, 3)),
        "lit from the left": gray[..., :48].mean((2, 3)) - gray[..., 48:].mean((2, 3)),
        "warm tones": (edited[..., 0].astype(float) - edited[..., 2]).mean((2, 3)),
        "very light skin": (gray * skin).sum((2, 3)),
        "blue iris": ((edited[..., 2].astype(float) - edited[..., 0]) * iris).sum((2, 3)),
        "constricted pupil": (gray * iris).sum((2, 3)),
    }
    for more, less in pairs.items():
        right = measured[more][:, texts.index(more)] > measured[more][:, texts.index(less)]
        assert right.mean() > 0.8, more


def test_colour_images_keep_their_colour_differences(images):
    model = load_model(released("refiner"), ("refiner_average",))
    gray = np.clip(images, 60, 190)
    colour = np.concatenate([gray, gray - 20, gray + 20], axis=-1).astype(np.uint8)
    refined = np.asarray(refine_images(model, colour)).astype(int)
    inside = (refined > 0).all(-1) & (refined < 255).all(-1)
    np.testing.assert_allclose((refined[..., 2] - refined[..., 1])[inside], 40, atol=1)


def test_release_and_load_round_trip(tmp_path):
    names = ("refiner_average", "discriminator")
    before = load_model(RELEASED / "refiner", names)
    release(RELEASED / "refiner", tmp_path / "copy", names)
    after = load_model(tmp_path / "copy", names)
    jax.tree.map(np.testing.assert_array_equal, before.params, after.params)
    assert after.step == before.step and after.config.to_dict() == before.config.to_dict()


def test_a_release_forgets_folders_of_the_machine_and_bfloat16(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(RELEASED / "refiner", run)
    config = json.loads((run / "config.json").read_text())
    config["data"]["real"] |= {"kind": "folder", "dir": "/home/somebody/eyes", "table": "/home/somebody/eyes.csv"}
    config["start"] = {"painter": "/home/somebody/run", "segmenter": "package", "redirector": ""}
    config["dtype"] = "bfloat16"
    (run / "config.json").write_text(json.dumps(config))
    release(run, tmp_path / "released", ("refiner_average",))
    assert "somebody" not in (tmp_path / "released" / "config.json").read_text()
    config = load_model(tmp_path / "released", ("refiner_average",)).config
    assert config.data.real.kind == "folder" and config.dtype == "float32"
    assert config.start.to_dict() == {"painter": "", "segmenter": "package", "redirector": ""}


def test_half_precision_halves_a_release_and_keeps_three_digits(tmp_path):
    names = ("refiner_average",)
    before = load_model(RELEASED / "refiner", names)
    for half in (False, True):
        release(RELEASED / "refiner", tmp_path / str(half), names, half)
    after = load_model(tmp_path / "True", names)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-11, atol=1e-7), before.params, after.params)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(after.params))
    sizes = [(tmp_path / str(half) / "params.npz").stat().st_size for half in (True, False)]
    assert sizes[0] < 0.6 * sizes[1]


def test_exported_refiner_runs_alone(tmp_path, images):
    export_refiner(RELEASED / "refiner", tmp_path / "refiner.bin")
    exported = jax.export.deserialize((tmp_path / "refiner.bin").read_bytes())
    model = load_model(RELEASED / "refiner", ("refiner_average",))
    for count in (1, 3):
        difference = np.asarray(exported.call(images[:count])).astype(int) - refine_images(model, images[:count])
        assert np.abs(difference).max() <= 2


def test_missing_models_are_named(tmp_path):
    with pytest.raises(UserError, match=r"config\.json"):
        load_model(tmp_path, ("refiner_average",))
    with pytest.raises(UserError, match="no telescope"):
        released("telescope")
    with pytest.raises(UserError, match="average"):
        load_model(RELEASED / "refiner", ("average",))
