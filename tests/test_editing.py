"""``eyegan edit``: files and folders, one sentence and several, and every sentence that is refused."""

import dataclasses
import logging
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from randommodel import write_model

from eyegan_jax import commands, editing
from eyegan_jax.data.geometry import resample
from eyegan_jax.editing import edit_folder, editor, encode_texts
from eyegan_jax.errors import UserError
from eyegan_jax.images import to_float, to_uint8
from eyegan_jax.models import load_model
from eyegan_jax.systems import text_edit

SIZE = (8, 12)
TEXTS = ("looking far left", "A blue iris, and a wide pupil!")


@pytest.fixture(scope="module")
def checkpoint(root, tmp_path_factory):
    """A released-model folder with random networks, their parameters large enough to matter."""
    config = runpy.run_path(str(root / "configs" / "text_edit.py"))["get_config"]("smoke").unlock()
    config.image_shape = (*SIZE, 3)
    config.data.edits.attributes = ("gaze yaw", "iris", "pupil", "lid")
    config.text_edit.generator.update({"width": 2, "code": 3})
    config.text_edit.text.update({"embedding": 4, "features": 4})
    system = text_edit.build(config)
    tokens = np.ones((1, 1, 32), np.int32)
    batch = {"edits": {"image": np.zeros((1, 1, *SIZE, 3), np.uint8), "own": tokens}}
    return write_model(tmp_path_factory.mktemp("model"), config, system, batch, 1.0)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """Three pictures: of the model's size, of another shape in a folder below, and gray."""
    top, rng = tmp_path_factory.mktemp("eyes"), np.random.default_rng(1)
    for name, shape in {"a.png": (*SIZE, 3), "deep/b.png": (20, 20, 3), "c.png": SIZE}.items():
        (top / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(top / name)
    return top


def read(path):
    return np.asarray(Image.open(path)).astype(int)


def test_several_sentences_make_folders_and_a_sheet(checkpoint, eyes, tmp_path):
    report = edit_folder(eyes, tmp_path / "out", TEXTS, checkpoint, batch=2)
    assert report.written == 3
    folders = ["looking_far_left", "a_blue_iris_and_a_wide_pupil"]
    model = load_model(checkpoint, ("average",))
    system = text_edit.build(model.config)
    source = to_float(jnp.asarray(read(eyes / "a.png")[None].astype(np.uint8)))
    edit = jax.jit(system.edit)
    for folder, (_, each) in zip(folders, encode_texts(model.config, TEXTS), strict=True):
        expected = edit(model.params["average"], source, each[:1])[0]
        for request in each[1:]:  # read anew from the picture that the one before has made
            expected = edit(model.params["average"], to_float(to_uint8(expected[None])), request[None])[0]
        assert np.abs(expected).max() <= 1
        np.testing.assert_allclose(
            read(tmp_path / "out" / folder / "a.png"), (np.asarray(expected) + 1) * 127.5, atol=1
        )
        # The middle of a square, in the model's proportions and at the picture's own resolution.
        assert read(tmp_path / "out" / folder / "deep/b.png").shape == (13, 20, 3)
    assert (
        np.abs(read(tmp_path / "out" / folders[0] / "a.png") - read(tmp_path / "out" / folders[1] / "a.png")).max() > 3
    )
    # Three rows; the picture and two sentences side by side.
    height, width, _ = read(tmp_path / "out/sheet.png").shape
    assert height >= 3 * SIZE[0] and width >= 3 * SIZE[1]


def test_clauses_are_followed_one_after_the_other_whatever_their_order_in_the_sentence(checkpoint, monkeypatch):
    model = load_model(checkpoint, ("average",))
    eyes = np.random.default_rng(3).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    at_once = np.stack(editor(model, ["half closed eye with a wide pupil, now looking far left"])(eyes))[:, 0]
    behind_lids = "lids half closed looking far left dilated pupil"  # what an eye that opens has to know, first
    monkeypatch.setattr(editing, "asked_in_turn", lambda text: [text])
    for text in (behind_lids, "looking far left", "dilated pupil", "lids half closed"):
        eyes = np.stack(editor(model, [text])(eyes))[:, 0]
    np.testing.assert_array_equal(at_once, eyes)


def test_a_picture_that_the_whole_sentence_describes_is_left_as_it_is(checkpoint, monkeypatch):
    """The whole sentence says more than each of its clauses: what it leaves alone, no clause may touch."""
    model = load_model(checkpoint, ("average",))
    eyes = np.random.default_rng(4).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    eyes[1] = 128
    edited = editor(model, [TEXTS[1]])(eyes)
    assert all(np.abs(new[0].astype(int) - old).mean() > 1 for new, old in zip(edited, eyes, strict=True))
    # Of the three the gray one alone passes for described.
    monkeypatch.setattr(editing, "unchanged", lambda before, after: before.std() == 0)
    now = editor(model, [TEXTS[1]])(eyes)
    np.testing.assert_array_equal(now[1][0], eyes[1])
    for n in (0, 2):
        np.testing.assert_array_equal(now[n], edited[n])


@pytest.mark.parametrize("step, described", [(0, True), (1, False)])
def test_a_mean_of_a_tenth_of_a_gray_level_is_a_change(step, described):
    before = np.full((10, 10, 3), 200, np.uint8)
    after = before.copy()
    after[0] -= np.uint8(step)  # of a tenth of the pixels
    assert editing.unchanged(before, after) == described


def test_a_model_that_has_learnt_nothing_returns_every_pixel(checkpoint):
    model = load_model(checkpoint, ("average",))
    untouched = dataclasses.replace(model, params=jax.tree.map(np.zeros_like, model.params))
    noise = np.random.default_rng(2).integers(0, 256, (1, 48, 72, 3), dtype=np.uint8)
    same = editor(untouched, TEXTS)(noise)
    np.testing.assert_array_equal(same, np.broadcast_to(noise[:, None], (1, 2, 48, 72, 3)))


def test_crops_of_many_sizes_are_edited_as_each_would_be_alone_and_by_few_programs(checkpoint):
    """As a detector makes them."""
    edit = editor(load_model(checkpoint, ("average",)), TEXTS, 4)
    rng = np.random.default_rng(5)
    crops = [rng.integers(0, 256, (33 + i, 49 + i, 3), dtype=np.uint8) for i in range(9)]
    made = []

    def listen(event, _, **other):
        made.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        together = edit(crops)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    compiled = sum("backend_compile" in event for event in made)
    assert 0 < compiled < len(crops)
    for crop, result in zip(crops, together, strict=True):
        np.testing.assert_allclose(edit([crop])[0].astype(int), result, atol=1)


def test_a_larger_photo_stays_whole_and_its_eye_is_edited_in_place(checkpoint, tmp_path):
    """In a box of 24x30, of which the middle 24x16 has the model's proportions; beyond the photo's edge, too."""
    photo = np.random.default_rng(5).integers(60, 200, (40, 50, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(photo).save(tmp_path / "in/a.png")
    edit_folder(tmp_path / "in", tmp_path / "out", TEXTS[:1], checkpoint, box=(0, 3, 24, 33))
    edited, inside = read(tmp_path / "out/a.png"), np.zeros((40, 50), bool)
    inside[10:26, :24] = True
    np.testing.assert_array_equal(edited[~inside], photo[~inside])
    (alone,) = editor(load_model(checkpoint, ("average",)), TEXTS[:1])([photo[10:26, :24]])
    assert np.abs(alone[0, 3:13, 3:20].astype(int) - photo[13:23, 3:20]).mean() > 1
    np.testing.assert_array_equal(edited[13:23, :20], alone[0, 3:13, :20])  # but for where it fades out
    assert (np.abs(edited - photo)[10, :24] <= np.abs(alone[0, 0].astype(int) - photo[10, :24]) / 4 + 1).all()
    with pytest.raises(UserError, match="--box: expected LEFT,TOP,RIGHT,BOTTOM within 50x40 pixels"):
        edit_folder(tmp_path / "in/a.png", tmp_path / "no", TEXTS[:1], checkpoint, box=(0, 0, 51, 10))


def test_eyes_are_looked_for_in_larger_photos_and_the_middle_is_edited_where_there_is_none(
    checkpoint, tmp_path, monkeypatch, caplog
):
    rng = np.random.default_rng(6)
    photos = {name: rng.integers(60, 200, (40, 50, 3), dtype=np.uint8) for name in ("here.png", "nowhere.png")}
    (tmp_path / "in").mkdir()
    for name, photo in photos.items():
        Image.fromarray(photo).save(tmp_path / "in" / name)
    first = photos["here.png"]
    monkeypatch.setattr(
        editing, "eye_finder", lambda shape: lambda photo: (26, 20, 50, 36) if (photo == first).all() else None
    )
    caplog.set_level(logging.WARNING)
    drawn = []
    monkeypatch.setattr(editing.pictures, "grid_png", lambda table, *_, **__: drawn.append(table))
    edit_folder(tmp_path / "in", tmp_path / "out", TEXTS, checkpoint, paste=True)
    for name, (left, top, right, bottom) in {"here.png": (26, 20, 50, 36), "nowhere.png": (0, 3, 50, 36)}.items():
        for folder in editing.folder_names(TEXTS):
            change = np.abs(read(tmp_path / "out" / folder / name) - photos[name]).max(-1)
            assert change[top + 4 : bottom - 4, left + 6 : right - 6].any()
            change[top:bottom, left:right] = 0
            assert not change.any()
    assert [r.getMessage() for r in caplog.records] == ["nowhere.png: found no eye, edited the middle"]
    # The sheet shows the eye, not the middle of the photo.
    (table,) = drawn
    np.testing.assert_array_equal(table[0, 0], resample(first, (26, 20, 50, 36), *table.shape[2:4]))


def test_a_single_picture_through_the_command(checkpoint, eyes, tmp_path, capsys):
    arguments = [
        "edit",
        str(eyes / "c.png"),
        str(tmp_path / "out"),
        "--text",
        "blue iris",
        "--checkpoint",
        str(checkpoint),
    ]
    assert commands.main(arguments) == 0
    assert read(tmp_path / "out/c.png").shape == (*SIZE, 3)
    with pytest.raises(SystemExit) as stopped:
        commands.main(arguments)
    assert stopped.value.code == 2 and "--overwrite" in capsys.readouterr().err
    assert commands.main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize(
    "texts, message",
    [
        ([""], "found no words"),
        (["purple iris"], "found 'purple'"),
        (["closed eye with dilated pupil"], "hides the pupil"),
        (["blue iris", "thick glasses"], r"model edits \(gaze yaw, iris, pupil, lid\), found glasses"),
        (["blue iris", "Blue iris."], "expected different sentences"),
        ([], "expected at least one sentence"),
    ],
)
def test_sentences_that_are_refused(checkpoint, eyes, tmp_path, texts, message):
    with pytest.raises(UserError, match=message):
        edit_folder(eyes, tmp_path / "out", texts, checkpoint)
    assert not (tmp_path / "out").exists()
