"""A folder in, the same tree out: nested, mixed sizes and formats, labels carried, resumable, nothing overwritten."""

import json
import runpy
from functools import partial

import flax.traverse_util
import jax
import numpy as np
import pytest
from PIL import Image

from eyegan_jax import bulk, commands, compiler
from eyegan_jax.bulk import MANIFEST, process_folder, process_picture
from eyegan_jax.data.decode import decode_image
from eyegan_jax.errors import UserError
from eyegan_jax.models import released

STAMP = {"command": "invert", "checkpoint": "a"}


def invert(images):
    return 255 - images


def picture(height, width, channels=1, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(noise[..., 0] if channels == 1 else noise)


def read(path):
    return np.asarray(Image.open(path))


@pytest.fixture
def source(tmp_path):
    """Two sizes, gray and colour, PNG and JPEG, folders in folders, labels of three kinds, three broken files."""
    folder = tmp_path / "source"
    for i in range(5):
        path = folder / "a" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(12, 16, seed=i).save(path)
        path.with_suffix(".json").write_text(json.dumps({"look": i}))
    (folder / "b" / "deep er").mkdir(parents=True)
    picture(20, 24, 3, seed=9).save(folder / "b" / "deep er" / "colour.png")
    # Smooth, so that JPEG keeps it nearly as it is.
    ramp = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (12, 1))
    Image.fromarray(ramp).save(folder / "b" / "photo.JPG", quality=95)
    (folder / "index.csv").write_text("name,pitch\n0.png,1\n")
    (folder / "masks").mkdir()
    picture(12, 16, seed=3).save(folder / "masks" / "0.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    whole = (folder / "a" / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    return folder


GOOD = ["a/0.png", "a/1.png", "a/2.png", "a/3.png", "a/4.png", "b/deep er/colour.png", "b/photo.JPG"]


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_the_same_tree_comes_out(source, tmp_path):
    dest = tmp_path / "dest"
    report = process_folder(source, dest, invert, stamp=STAMP, batch=4)
    broken = ["cut.png", "empty.png", "text.png"]
    assert sorted(bad.name for bad in report.broken) == broken
    assert (report.written, report.already, report.copied) == (7, 0, 7)
    assert tree(dest) == sorted({*tree(source), MANIFEST} - set(broken))
    for name in GOOD[:-1]:
        np.testing.assert_array_equal(read(dest / name), 255 - read(source / name), err_msg=name)
    assert np.abs(read(dest / GOOD[-1]).astype(int) - (255 - read(source / GOOD[-1]).astype(int))).max() < 8
    for name in ("a/3.json", "index.csv", "masks/0.png"):
        assert (dest / name).read_bytes() == (source / name).read_bytes()
    said = str(report)
    assert "7 images written" in said and "3 could not be read" in said and "cut.png" in said


def test_each_size_is_computed_in_batches_of_one_shape(source, tmp_path):
    shapes = []

    def apply(images):
        shapes.append(images.shape)
        return images

    process_folder(source, tmp_path / "dest", apply, stamp=STAMP, batch=4)
    assert sorted(shapes) == [(4, 12, 16, 1), (4, 12, 16, 1), (4, 20, 24, 3)]


def test_large_pictures_come_in_small_batches(tmp_path):
    """64 pictures of a camera's size at once were more than a machine's memory."""
    (tmp_path / "source").mkdir()
    for i in range(3):
        picture(720, 1280, seed=i).save(tmp_path / "source" / f"{i}.png")
    shapes = []

    def apply(images):
        shapes.append(images.shape)
        return invert(images)

    assert process_folder(tmp_path / "source", tmp_path / "dest", apply, stamp=STAMP).written == 3
    assert len(set(shapes)) == 1 and np.prod(shapes[0]) <= bulk.PIXELS
    assert shapes[0] == (1, 720, 1280, 1)
    for i in range(3):
        expected = 255 - np.asarray(picture(720, 1280, seed=i))
        np.testing.assert_array_equal(read(tmp_path / "dest" / f"{i}.png"), expected)


def test_a_picture_too_large_for_the_memory_is_named_and_the_rest_done(source, tmp_path):
    def apply(images):
        if images.shape[1] == 20:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 60421018640 bytes.")
        return invert(images)

    report = process_folder(source, tmp_path / "dest", apply, stamp=STAMP, batch=4)
    assert report.written == 6
    (large,) = (bad for bad in report.broken if bad.name == "b/deep er/colour.png")
    assert large.reason == "24x20 pixels, too many for this device's memory"
    with pytest.raises(UserError, match="fits into memory, found 24x20 pixels"):
        process_picture(source / "b" / "deep er" / "colour.png", tmp_path / "one", lambda x: apply(np.stack(x)))

    def short(images):
        if len(images) > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate.")
        return invert(images)

    # Where a batch is too much, pictures go one by one, and none is lost.
    assert process_folder(source, tmp_path / "singly", short, stamp=STAMP, batch=4).written == 7
    np.testing.assert_array_equal(read(tmp_path / "singly" / "a" / "3.png"), 255 - read(source / "a" / "3.png"))

    def fail(images):
        raise jax.errors.JaxRuntimeError("INTERNAL: the device failed")

    with pytest.raises(jax.errors.JaxRuntimeError, match="the device failed"):
        process_folder(source, tmp_path / "other", fail, stamp=STAMP)


def test_pictures_whose_results_would_have_one_name_are_refused(source, tmp_path):
    """a.png and a.jpg, both written to masks/a.png: one of them would be lost."""
    picture(12, 16).convert("RGB").save(source / "a" / "3.jpg")
    with pytest.raises(UserError, match=r"differ by more than their endings, .* found a/3\.jpg and a/3\.png"):
        process_folder(source, tmp_path / "dest", invert, stamp=STAMP, by_stem=True)
    assert not (tmp_path / "dest").exists()
    assert process_folder(source, tmp_path / "dest", invert, stamp=STAMP).written == 8


def test_pictures_of_all_sizes_neither_pile_up_nor_fill_the_process(tmp_path, monkeypatch):
    """Crops that a detector made: each of another size. Few wait, and no program stays that is not needed."""
    (tmp_path / "source").mkdir()
    sizes = [(8 + i % 7, 10 + i % 5) for i in range(60)]
    for i, size in enumerate(sizes):
        picture(*size, seed=i).save(tmp_path / "source" / f"{i:02d}.png")
    monkeypatch.setattr(bulk, "WAITING", 6 * 14 * 14)
    monkeypatch.setattr(compiler, "MOST_MAPS", 0)
    program, decoded, seen, programs = jax.jit(invert), [], [], []

    def decode(*arguments):
        decoded.append(arguments[1])
        return decode_image(*arguments)

    def apply(images):
        seen.append(len(decoded))
        result = np.asarray(program(images))
        programs.append(program._cache_size())
        return result

    monkeypatch.setattr(bulk, "decode_image", decode)
    assert process_folder(tmp_path / "source", tmp_path / "dest", apply, stamp=STAMP, batch=2).written == len(sizes)
    for i, size in enumerate(sizes):
        expected = 255 - np.asarray(picture(*size, seed=i))
        np.testing.assert_array_equal(read(tmp_path / "dest" / f"{i:02d}.png"), expected)
    assert seen[0] < 20
    assert len(set(sizes)) == 35 and max(programs) == 1


def test_pictures_of_mixed_sizes_go_through_together(source, tmp_path, monkeypatch):
    groups = []

    def apply(pictures, largest=12 * 16 * 4):
        groups.append([image.shape for image in pictures])
        if sum(image.size for image in pictures) > largest:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 60421018640 bytes.")
        return [255 - image for image in pictures]

    picture(9, 31, seed=7).save(source / "a" / "5.png")
    assert (
        process_folder(source, tmp_path / "dest", partial(apply, largest=10**6), stamp=STAMP, mixed=True).written == 8
    )
    # Gray with gray, colour with colour, whatever their sizes.
    assert sorted(len(group) for group in groups) == [1, 7]
    assert {shape[2] for shape in max(groups, key=len)} == {1} and len(set(max(groups, key=len))) == 2
    for name in [*GOOD[:6], "a/5.png"]:
        np.testing.assert_array_equal(read(tmp_path / "dest" / name), 255 - read(source / name))
    groups.clear()
    report = process_folder(source, tmp_path / "two", partial(apply, largest=10**6), stamp=STAMP, mixed=True, batch=2)
    assert report.written == 8 and max(map(len, groups)) == 2
    # What does not fit together goes one by one, and what does not fit alone is named.
    report = process_folder(source, tmp_path / "small", apply, stamp=STAMP, mixed=True)
    assert report.written == 7 and "b/deep er/colour.png" in {bad.name for bad in report.broken}
    np.testing.assert_array_equal(read(tmp_path / "small" / "a" / "5.png"), 255 - read(source / "a" / "5.png"))
    # Few large ones wait.
    monkeypatch.setattr(bulk, "WAITING", 2 * 12 * 16)
    groups.clear()
    process_folder(source, tmp_path / "few", partial(apply, largest=10**6), stamp=STAMP, mixed=True)
    assert max(map(len, groups)) == 3


def test_an_interrupted_job_goes_on_where_it_stopped(source, tmp_path):
    dest = tmp_path / "dest"

    def fail_on_the_second(images, calls=[]):  # noqa: B006  (the default is the memory)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return invert(images)

    with pytest.raises(KeyboardInterrupt):
        process_folder(source, dest, fail_on_the_second, stamp=STAMP, batch=2)
    done = {name: (dest / name).stat().st_mtime_ns for name in GOOD if (dest / name).exists()}
    assert 0 < len(done) < len(GOOD)
    report = process_folder(source, dest, invert, stamp=STAMP, batch=2)
    assert report.already == len(done) and report.written == len(GOOD) - len(done)
    assert all((dest / name).stat().st_mtime_ns == when for name, when in done.items())
    again = process_folder(source, dest, invert, stamp=STAMP)
    assert (again.already, again.written, again.copied) == (len(GOOD), 0, 0)


def test_no_half_written_file_is_left_under_its_name(source, tmp_path, monkeypatch):
    def torn(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", torn)
    with pytest.raises((OSError, UserError), match="No space left"):
        process_folder(source, tmp_path / "dest", invert, stamp=STAMP)
    assert not any((tmp_path / "dest" / name).exists() for name in GOOD)
    assert not [name for name in tree(tmp_path / "dest") if "writing" in name]


def test_what_is_hidden_is_neither_a_picture_nor_carried_over(source, tmp_path):
    """Drafts and markers of a job that was killed in ``source``, and what a Mac notes beside each picture."""
    before = process_folder(source, tmp_path / "before", invert, stamp=STAMP)
    for name in (".writing-1/0.png", "a/.writing-2/labels.json", ".done/0.png.done"):
        (source / name).parent.mkdir(exist_ok=True)
        picture(12, 16).save(source / name, format="png")
    (source / "a" / "._0.png").write_bytes(b"Mac OS X")
    after = process_folder(source, tmp_path / "after", invert, stamp=STAMP)
    assert (after.written, after.copied, len(after.broken)) == (before.written, before.copied, len(before.broken))
    assert tree(tmp_path / "after") == tree(tmp_path / "before")


def test_nothing_is_overwritten_unasked(source, tmp_path):
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="expected a new or empty folder"):
        process_folder(source, dest, invert, stamp=STAMP)
    assert tree(dest) == ["mine.txt"]
    (dest / "mine.txt").unlink()
    process_folder(source, dest, invert, stamp=STAMP)
    with pytest.raises(UserError, match="checkpoint = b, found those of a"):
        process_folder(source, dest, lambda x: x, stamp=STAMP | {"checkpoint": "b"})
    np.testing.assert_array_equal(read(dest / "a/0.png"), 255 - read(source / "a/0.png"))
    report = process_folder(source, dest, lambda x: x, stamp=STAMP | {"checkpoint": "b"}, overwrite=True)
    assert report.written == 7
    np.testing.assert_array_equal(read(dest / "a/0.png"), read(source / "a/0.png"))


def test_processes_share_the_files_between_them(source, tmp_path, monkeypatch):
    dest, written = tmp_path / "dest", []
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    for index in range(3):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        written.append(process_folder(source, dest, invert, stamp=STAMP).written)
    assert sum(written) == 7 and max(written) < 7
    assert all((dest / name).exists() for name in GOOD)


@pytest.mark.parametrize("where", ["", "inside"])
def test_source_and_destination_are_kept_apart(source, where):
    with pytest.raises(UserError, match="expected a folder outside of"):
        process_folder(source, source / where, invert, stamp=STAMP)


def test_only_broken_images_are_an_error(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.png").write_text("no image")
    with pytest.raises(UserError, match=r"found 1 broken ones: a\.png"):
        process_folder(tmp_path / "source", tmp_path / "dest", invert, stamp=STAMP)


def test_a_damaged_manifest_is_one_line(source, tmp_path):
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / MANIFEST).write_text("{")
    with pytest.raises(UserError, match=MANIFEST):
        process_folder(source, tmp_path / "dest", invert, stamp=STAMP)


@pytest.mark.slow
def test_broken_files_among_ten_thousand(tmp_path):
    """Every kind of file that calls itself an image, among 10,000 good ones: counted, named, and the rest is done."""
    folder = tmp_path / "source"
    folder.mkdir()
    for i in range(10_000):
        picture(12, 16, seed=i % 50).save(folder / f"{i:05d}.png", compress_level=1)
    bad = {"zero.png": b"", "text.jpg": b"hello", "short.png": (folder / "00000.png").read_bytes()[:40]}
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    fine = {"deep16.png": Image.fromarray(np.arange(192, dtype=np.uint16).reshape(12, 16) * 300)}
    fine["cmyk.jpg"] = picture(12, 16, 3).convert("CMYK")
    fine["palette.png"] = picture(12, 16, 3).convert("P")
    for name, image in fine.items():
        image.save(folder / name)
    Image.new("L", (40_000, 40_000)).save(folder / "bomb.png")
    report = process_folder(folder, tmp_path / "dest", invert, stamp=STAMP, batch=512)
    assert {b.name for b in report.broken} == {*bad, "bomb.png"}
    assert report.written == 10_000 + len(fine)


@pytest.fixture(scope="module")
def model(tmp_path_factory, root):
    """A released model whose refiner darkens every pixel by a known rule: ``tanh(artanh(x) - 0.25)``."""
    config = runpy.run_path(str(root / "configs" / "simgan.py"))["get_config"]("smoke").unlock()
    config.image_shape = (12, 16, 1)
    config.simgan.refiner.output, config.simgan.equalised = "residual", False
    from eyegan_jax.systems import simgan

    system = simgan.build(config)
    params = system.refiner.init(jax.random.key(0), np.zeros((1, 12, 16, 1), np.float32))["params"]
    flat = {"/".join(k): np.asarray(v) for k, v in flax.traverse_util.flatten_dict({"refiner_average": params}).items()}
    kernel, bias = (next(name for name in flat if name.endswith(f"head/{part}")) for part in ("kernel", "bias"))
    flat[kernel], flat[bias] = np.zeros_like(flat[kernel]), np.full_like(flat[bias], -0.25)
    folder = tmp_path_factory.mktemp("model")
    np.savez(folder / "params.npz", step=7, **flat)
    (folder / "config.json").write_text(config.to_json_best_effort())
    return folder


def test_eyegan_refine_end_to_end(source, model, tmp_path, capsys):
    dest = tmp_path / "dest"
    assert commands.main(["refine", str(source), str(dest), f"--checkpoint={model}", "--batch=4"]) == 0
    said = capsys.readouterr().out
    assert "7 images written to" in said and "images/s" in said and "3 could not be read" in said
    for name in GOOD[:-1]:
        before, after = (read(folder / name).astype(float) / 127.5 - 1 for folder in (source, dest))
        assert after.shape == before.shape
        if after.ndim == 2:  # of colour only the luminance is refined
            wanted = np.tanh(np.arctanh(np.clip(before, -0.998, 0.998)) - 0.25)
            assert np.abs(after - wanted).max() < 1.01 / 127.5, name
        else:
            assert after.mean() < before.mean()
    assert json.loads((dest / MANIFEST).read_text())["step"] == 7
    assert (dest / "a" / "2.json").exists() and (dest / "index.csv").exists()
    assert commands.main(["refine", str(source), str(dest), f"--checkpoint={model}"]) == 0
    assert "7 were already there" in capsys.readouterr().out


def test_every_look_has_a_refiner_of_its_own(tmp_path):
    (tmp_path / "source").mkdir()
    eye = np.tile(np.linspace(40, 200, 24), (20, 1)).astype(np.uint8)
    Image.fromarray(eye).save(tmp_path / "source" / "eye.png")
    found = {}
    for look, name in commands.REFINERS.items():
        asked, named = tmp_path / look, tmp_path / f"{look}_by_name"
        commands.main(["refine", str(tmp_path / "source"), str(asked), f"--look={look}"])
        commands.main(["refine", str(tmp_path / "source"), str(named), f"--checkpoint={released(name)}"])
        found[look] = read(asked / "eye.png")
        np.testing.assert_array_equal(found[look], read(named / "eye.png"))
    assert np.abs(found["visible"].astype(float) - found["infrared"]).mean() > 1


def test_the_report_says_what_was_done():
    report = bulk.Report("out", written=5, already=2, copied=1, seconds=2.5)
    assert str(report) == "5 images written to out (2 images/s), 2 were already there, 1 other files carried over"
