"""``eyegan redirect``: wishes, warnings, colours, finding and pasting, and the command on folders and files."""

import logging
import runpy
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from randommodel import write_model

from eyegan_jax import commands, redirecting
from eyegan_jax.data.geometry import middle_box
from eyegan_jax.data.neighbours import simulated_people
from eyegan_jax.errors import UserError
from eyegan_jax.eye_finding import OPENING_WIDTH, SHOWN_IRIS, certainty_of, find_eye, frame_eyes
from eyegan_jax.layers.detail import Change
from eyegan_jax.models import load_model, released
from eyegan_jax.photos import eye_finder
from eyegan_jax.redirecting import (
    Redirector,
    Wish,
    framed,
    paste,
    redirect_folder,
    redirect_pictures,
    redirector,
)
from eyegan_jax.systems import gaze_gan

SHAPE = (16, 24, 1)


def repainted(before, after, flow=(0.0, 0.0)):
    """The change from gray levels ``[..., H, W, C]`` to others; ``flow`` is that of every pixel, in shares."""
    before, after = (np.asarray(x, np.float32) / 127.5 - 1.0 for x in (before, after))
    share = np.ones((*before.shape[:-1], 1), np.float32)
    return Change(np.broadcast_to(np.float32(flow), (*before.shape[:-1], 2)), share, before, after)


def stand_in(opening=0.3, seen=(2.0, -5.0), asked=None, certain=0.9):
    """A model that paints everything 10 gray levels brighter and notes the angles it was asked for."""

    def change(images, angles, references=None):
        if asked is not None:
            asked.append(np.asarray(angles))
        return repainted(images, images + 10.0)

    return Redirector(
        shape=SHAPE,
        look=lambda images: (np.tile(seen, (len(images), 1)), *(np.full(len(images), x) for x in (opening, certain))),
        change=change,
    )


def test_wishes_are_absolute_relative_and_partial():
    seen = np.array([[5.0, -10.0]])
    np.testing.assert_allclose(Wish(None, 20.0).of(seen), [[5, 20]])
    np.testing.assert_allclose(Wish(3.0, 20.0, relative=True).of(seen), [[8, 10]])
    np.testing.assert_allclose(Wish(None, 20.0, relative=True).of(seen), [[5, 10]])
    np.testing.assert_allclose(Wish(8.0, None).times(-0.5).of(seen), [[-4, -10]])
    with pytest.raises(UserError, match="--pitch"):
        Wish(None, None)


def test_sixty_degrees_are_drawn_at_the_reach_with_a_warning():
    asked = []
    picture = np.full((1, *SHAPE), 100, np.uint8)
    result = redirect_pictures(stand_in(asked=asked), picture, [middle_box(16, 24, SHAPE)], Wish(None, 60.0))[0]
    np.testing.assert_allclose(asked[0], [[2.0, 30.0]])
    assert "yaw 60" in result.warning and "yaw 30" in result.warning
    assert (result.image == 110).all()
    modest = redirect_pictures(stand_in(), picture, [middle_box(16, 24, SHAPE)], Wish(None, 20.0))[0]
    assert modest.warning == ""


def test_a_closed_eye_is_left_alone_with_a_warning():
    picture = np.full((1, *SHAPE), 100, np.uint8)
    result = redirect_pictures(stand_in(opening=0.001), picture, [middle_box(16, 24, SHAPE)], Wish(None, 10.0))[0]
    np.testing.assert_array_equal(result.image, picture[0])
    assert "no open eye" in result.warning


def test_an_eye_that_the_model_is_unsure_of_is_turned_with_a_warning():
    picture = np.full((1, *SHAPE), 100, np.uint8)
    result = redirect_pictures(stand_in(certain=0.5), picture, [middle_box(16, 24, SHAPE)], Wish(None, 10.0))[0]
    assert (result.image == 110).all() and "certain to 50 %" in result.warning


def test_certainty_is_that_of_the_eye_alone():
    shares = np.full((2, 2, 3, 4), [0.7, 0.1, 0.1, 0.1])
    shares[0, 0, 0], shares[0, 1, 2] = [0.1, 0.6, 0.2, 0.1], [0.0, 0.1, 0.1, 0.8]
    np.testing.assert_allclose(certainty_of(shares), [0.7, 0.0])


def test_a_gray_model_keeps_colours():
    picture = np.tile(np.array([90, 120, 60], np.uint8), (1, 16, 24, 1))
    result = redirect_pictures(stand_in(), picture, [middle_box(16, 24, SHAPE)], Wish(None, 10.0))[0]
    np.testing.assert_array_equal(result.image, picture[0] + 10)


@given(
    size=st.tuples(st.integers(20, 60), st.integers(20, 60)),
    corner=st.tuples(st.integers(-8, 30), st.integers(-8, 30)),
    extent=st.tuples(st.integers(6, 40), st.integers(6, 40)),
)
@settings(max_examples=50)
def test_paste_changes_the_inside_of_the_box_alone(size, corner, extent):
    picture = np.random.default_rng(0).integers(50, 100, (*size, 1)).astype(np.uint8)
    # Partly outside, but never wholly.
    left, top = (max(min(c, s - 1), 1 - e) for c, s, e in zip(corner[::-1], size[::-1], extent[::-1], strict=True))
    box = (left, top, left + extent[1], top + extent[0])
    before = np.full((8, 12, 1), 60, np.uint8)
    np.testing.assert_array_equal(paste(picture, box, repainted(before, before)), picture)
    change = paste(picture, box, repainted(before, before + 40)).astype(int) - picture
    outside = np.ones(size, bool)
    outside[max(top, 0) : top + extent[0], max(left, 0) : left + extent[1]] = False
    assert not change[outside].any()
    inside = change[~outside]
    assert inside.min() >= 0 and inside.max() <= 40
    if min(~outside.any(0).sum(), 10) and outside.any() and min(extent) > 20 and (~outside).sum() > 400:
        assert inside.max() == 40


def test_a_change_over_the_whole_picture_is_not_faded():
    picture = np.full((16, 24, 1), 100, np.uint8)
    changed = paste(picture, (0, 0, 24, 16), repainted(picture, picture + 25))
    assert (changed == 125).all()


def eye_photo(height, width, center, span):
    """A photo of flat skin with one almond eye of ``span`` pixels: sclera 240, iris 80."""
    y, x = np.mgrid[:height, :width]
    dx, dy = (x - center[0]) / (span / 2), (y - center[1]) / (span / 2)
    photo = np.full((height, width, 1), 150, np.uint8)
    photo[(np.abs(dy) < 0.45 * (1 - dx**2)) & (np.abs(dx) < 1)] = 240
    photo[(np.hypot(dx, dy) < 0.35) & (np.abs(dy) < 0.45 * (1 - dx**2))] = 80
    return photo


def by_brightness(images):
    """Class probabilities of such a photo."""
    gray = images[..., 0].astype(float)
    part = np.where(gray > 195, 1, np.where(gray < 115, 2, 0))
    return 0.9 * np.eye(4)[part] + 0.025


@pytest.mark.parametrize(("span", "center"), [(60, (150, 110)), (40, (230, 70)), (100, (120, 160))])
def test_the_eye_of_a_photo_is_found_and_framed(span, center):
    photo = eye_photo(240, 320, center, span)
    left, top, right, bottom = find_eye(by_brightness, photo, (32, 48, 1))
    assert abs((left + right) / 2 - center[0]) < 0.15 * span and abs((top + bottom) / 2 - center[1]) < 0.15 * span
    assert (right - left) * OPENING_WIDTH == pytest.approx(span, rel=0.2)
    assert (bottom - top) / (right - left) == pytest.approx(32 / 48, rel=0.05)


def test_no_eye_no_box():
    assert find_eye(by_brightness, np.full((100, 120, 1), 150, np.uint8), (32, 48, 1)) is None
    white = np.full((100, 120, 1), 255, np.uint8)  # a region, but without an iris
    assert find_eye(by_brightness, white, (32, 48, 1)) is None


def test_eyes_of_strangers_are_found_in_photos():
    """Simulated eyes of 72x120 somewhere on plain skin, by the segmenter that comes with the package."""
    eyes = simulated_people("simulated", "unityeyes_72x120", people=6, images=1, first_person=2_000_000)
    find, rng, hits = eye_finder((32, 48, 1)), np.random.default_rng(0), 0
    for eye, mask in zip(eyes["image"], eyes["mask"], strict=True):
        photo = np.full((240, 320, 1), np.median(eye), np.uint8)
        top, left = rng.integers(0, 240 - 72), rng.integers(0, 320 - 120)
        photo[top : top + 72, left : left + 120] = eye
        rows, columns = np.nonzero(mask)
        box = find(photo)
        if box is not None:
            x, y = (box[0] + box[2]) / 2 - left - columns.mean(), (box[1] + box[3]) / 2 - top - rows.mean()
            hits += np.hypot(x, y) < 0.25 * np.ptp(columns)
    assert hits >= 5


def close_up(iris):
    """A picture of 64x96 whose iris is so many times as wide as it."""
    return eye_photo(64, 96, (48, 32), 96 * iris / 0.35)


@given(st.floats(0.25, 0.9))
@settings(max_examples=30, deadline=None)
def test_a_close_up_is_seen_in_a_wider_frame_about_its_middle(iris):
    (box,) = frame_eyes(by_brightness, [close_up(iris)], (64, 96, 1))
    left, top, right, bottom = box
    if iris < 0.45:
        assert box == (0, 0, 96, 64)
    elif iris > 0.55:
        assert (right - left) / 96 == pytest.approx(min(iris / SHOWN_IRIS, 2.0), rel=0.12)
        assert abs(left + right - 96) <= 1 and abs(top + bottom - 64) <= 1
        assert (bottom - top) / (right - left) == pytest.approx(64 / 96, rel=0.03)


@pytest.mark.parametrize("blind", [0, 1, 2])
def test_a_frame_in_which_the_segmenter_errs_does_not_decide(blind):
    def masks(images):
        probabilities = by_brightness(images)
        probabilities[blind::3] = [0.97, 0.01, 0.01, 0.01]
        return probabilities

    boxes = frame_eyes(masks, [close_up(0.3), close_up(0.6)], (64, 96, 1))
    assert boxes[0] == (0, 0, 96, 64)
    assert (boxes[1][2] - boxes[1][0]) / 96 == pytest.approx(0.6 / SHOWN_IRIS, rel=0.12)


def test_close_ups_of_strangers_are_turned_like_their_whole_pictures():
    """By the model of the package: the middle of a picture, cut out, against the middle of the turned picture."""
    eyes = simulated_people("simulated", "unityeyes_72x120", people=8, images=1, first_person=2_000_000)
    whole = eyes["image"][:, :, 6:-6]  # 72x108, the model's proportions
    inner = (slice(None), slice(16, 56), slice(24, 84))
    tool = redirector(load_model(released("redirect"), redirecting.STATE), batch=8)
    frames = framed(tool, list(whole[inner]))
    assert framed(tool, list(whole)) == [(0, 0, 108, 72)] * 8
    assert sum(right - left > 60 * 1.3 for left, _, right, _ in frames) >= 7
    wish = Wish(0.0, 20.0)
    truth = np.stack([r.image for r in redirect_pictures(tool, whole, framed(tool, list(whole)), wish)])[inner]

    def distance(boxes):
        results = redirect_pictures(tool, whole[inner], boxes, wish)
        return np.abs(np.stack([r.image for r in results]).astype(float) - truth).mean((1, 2, 3))

    wider, own = distance(frames), distance([middle_box(40, 60, tool.shape)] * 8)
    assert (wider < own).sum() >= 6 and wider.mean() < 0.8 * own.mean()


@pytest.fixture(scope="module")
def checkpoint(root, tmp_path_factory):
    """A released-model folder of the baseline with random networks."""
    config = runpy.run_path(str(root / "configs" / "redirect.py"))["get_config"]("baseline_smoke").unlock()
    config.image_shape = SHAPE
    config.gaze_gan.generator.update({"width": 4, "blocks": 1})
    config.gaze_gan.discriminator.update({"width": 4, "layers": 2})
    system = gaze_gan.build(config)
    batch = {"pairs": {"image": np.zeros((1, 1, *SHAPE), np.uint8)}}
    return write_model(tmp_path_factory.mktemp("model"), config, system, batch, 0.02)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    for name, shape in (("a.png", (16, 24)), ("deep/b.png", (30, 30, 3)), ("c.png", (16, 24))):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(60, 200, shape).astype(np.uint8)).save(folder / name)
    return folder


def read(path):
    return np.asarray(Image.open(path)).astype(int)


def test_a_folder_keeps_its_tree_and_sizes_and_warns(checkpoint, pictures, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        report = redirect_folder(pictures, tmp_path / "out", checkpoint, Wish(0.0, 60.0), batch=2)
    assert report.written == 3
    assert read(tmp_path / "out/deep/b.png").shape == (30, 30, 3)
    assert sum("eyes turn no farther" in message for message in caplog.messages) == 3
    assert np.abs(read(tmp_path / "out/a.png") - read(pictures / "a.png")).max() > 0


def test_the_command_sweeps_one_picture(checkpoint, pictures, tmp_path, capsys):
    argv = ["redirect", str(pictures / "a.png"), str(tmp_path), "--yaw", "20", "--sweep", "3", "--checkpoint"]
    assert commands.main([*argv, str(checkpoint)]) == 0
    assert "1 images written" in capsys.readouterr().out
    with Image.open(tmp_path / "a_sweep.gif") as gif:
        assert gif.n_frames >= 2 and gif.size == (24, 16)
    with Image.open(tmp_path / "a_sweep.png") as sheet:
        assert sheet.width > 4 * 24


def test_a_folder_is_swept_as_deep_as_it_is(checkpoint, pictures, tmp_path):
    report = redirect_folder(pictures, tmp_path / "out", checkpoint, Wish(0.0, 20.0), sweep=2)
    assert report.written == 3
    assert (tmp_path / "out/deep/b_sweep.png").is_file() and (tmp_path / "out/deep/b_sweep.gif").is_file()


def test_one_broken_picture_is_named_and_nothing_is_overwritten_unasked(checkpoint, pictures, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"broken\.png: expected a picture"):
        redirect_folder(broken, tmp_path / "out", checkpoint, Wish(0.0, 20.0))
    swept = partial(redirect_folder, pictures / "a.png", tmp_path, checkpoint, Wish(0.0, 20.0), sweep=2)
    swept()
    before = (tmp_path / "a_sweep.png").read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        swept()
    assert (tmp_path / "a_sweep.png").read_bytes() == before


def test_what_cannot_be_done_is_named(checkpoint, pictures, tmp_path):
    do = partial(redirect_folder, pictures / "a.png", tmp_path / "x.png", checkpoint)
    with pytest.raises(UserError, match="--box"):
        do(Wish(0.0, 0.0), box=(0, 0, 40, 10))
    with pytest.raises(UserError, match="--sweep"):
        do(Wish(0.0, 0.0), sweep=1)
    with pytest.raises(UserError, match="nowhere: expected a picture or a folder of pictures, found nothing"):
        redirect_folder(tmp_path / "nowhere", tmp_path / "x", checkpoint, Wish(0.0, 0.0))
    do(Wish(0.0, 0.0), box=(2, 2, 20, 14))
    with pytest.raises(UserError, match="--overwrite"):
        do(Wish(0.0, 0.0))


def test_pasting_over_an_old_pupil_leaves_no_trace_of_it_and_keeps_detail_elsewhere():
    rng = np.random.default_rng(5)
    coarse = rng.integers(60, 190, (16, 24, 1)).astype(np.uint8)
    picture = np.repeat(np.repeat(coarse, 4, 0), 4, 1) + rng.integers(0, 40, (64, 96, 1)).astype(np.uint8)
    before = picture.reshape(16, 4, 24, 4, 1).mean((1, 3)).round().astype(np.uint8)
    after = before.copy()
    after[:, :12] = 120
    pasted = paste(picture, (0, 0, 96, 64), repainted(before, after)).astype(int)
    np.testing.assert_array_equal(pasted[:, 64:], picture[:, 64:])
    assert np.abs(pasted[:, :32] - 120).max() <= 3


def test_pixels_of_the_picture_itself_are_moved():
    """A model of 16x24 moves an eighth of the width; a picture of 64x96 moves with every detail."""
    picture = np.random.default_rng(6).integers(60, 190, (64, 96, 3)).astype(np.uint8)
    before = picture.reshape(16, 4, 24, 4, 3).mean((1, 3))
    moved = np.concatenate([before[:, 3:], np.repeat(before[:, -1:], 3, axis=1)], axis=1)
    pasted = paste(picture, (0, 0, 96, 64), repainted(moved, moved, flow=(0.0, 0.125))).astype(int)
    assert np.abs(pasted[:, :80] - picture[:, 12:92]).max() <= 1


def test_box_of_the_middle_has_the_proportions_of_the_model():
    assert middle_box(100, 300, (32, 48)) == (75, 0, 225, 100)
    assert middle_box(64, 96, (32, 48)) == (0, 0, 96, 64)
    left, top, right, bottom = middle_box(50, 50, SHAPE)
    assert (right - left, bottom - top) == (50, 33)
    assert redirecting.REACH == (25.0, 30.0)
