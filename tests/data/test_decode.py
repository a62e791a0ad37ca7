"""Image files of every mode, and every way in which one can be broken."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eyegan_jax.data.decode import MAX_PIXELS, decode_image, decode_mask
from eyegan_jax.data.examples import BadExample

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def encoded(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims any size, with next to no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 4)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def test_gray_and_colour_keep_their_channels_and_values():
    gray = decode_image(encoded(Image.fromarray(RAMP)))
    assert gray.dtype == np.uint8
    np.testing.assert_array_equal(gray, RAMP[..., None])
    colour = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=-1)
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(colour))), colour)


def test_channels_on_request():
    colour = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=-1)
    gray = decode_image(encoded(Image.fromarray(colour)), channels=1)
    np.testing.assert_allclose(gray[..., 0], colour @ [0.299, 0.587, 0.114], atol=0.51)
    np.testing.assert_array_equal(
        decode_image(encoded(Image.fromarray(RAMP)), channels=3), RAMP[..., None].repeat(3, -1)
    )


def test_sixteen_bits_are_divided_by_257():
    wide = np.array([[0, 257, 65535], [128, 129, 32896]], np.uint16)
    expected = [[0, 1, 255], [0, 1, 128]]
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(wide)))[..., 0], expected)
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(wide), "TIFF"), channels=3)[..., 2], expected)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_float_tiff_in_either_range(scale):
    pixels = np.array([[0.0, 0.5, 1.0]], np.float32)
    decoded = decode_image(encoded(Image.fromarray(pixels * scale), "TIFF"))
    np.testing.assert_array_equal(decoded[..., 0], [[0, 128, 255]])


@pytest.mark.parametrize("pixels", [[[np.nan, 0.5]], [[-1.0, 0.5]], [[0.0, 1000.0]]])
def test_float_tiff_outside_of_every_range(pixels):
    with pytest.raises(BadExample, match=r"float pixels|NaN"):
        decode_image(encoded(Image.fromarray(np.array(pixels, np.float32)), "TIFF"))


def test_palette_cmyk_bilevel_and_alpha():
    colour = Image.fromarray(np.full((4, 4, 3), (200, 30, 60), np.uint8))
    np.testing.assert_array_equal(decode_image(encoded(colour.quantize(4)))[0, 0], (200, 30, 60))
    cmyk = decode_image(encoded(colour.convert("CMYK"), "JPEG", quality=95))
    np.testing.assert_allclose(cmyk[2, 2].astype(int), (200, 30, 60), atol=4)
    bilevel = Image.fromarray(RAMP > 100)
    np.testing.assert_array_equal(decode_image(encoded(bilevel))[..., 0], np.where(RAMP > 100, 255, 0))
    seen_through = np.zeros((2, 2, 4), np.uint8)
    seen_through[..., :3], seen_through[0, :, 3] = 200, 255
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(seen_through)))[..., 0], [[200, 200], [0, 0]])


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: rotate by 90 degrees clockwise to stand upright.
    data = encoded(Image.fromarray(RAMP), "TIFF", exif=exif)
    np.testing.assert_array_equal(decode_image(data)[..., 0], np.rot90(RAMP, -1))


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(np.full((3, 3), value, np.uint8)) for value in (10, 200)]
    np.testing.assert_array_equal(
        decode_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))[..., 0], 10
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not an image at all", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (encoded(Image.fromarray(RAMP))[:-30], "truncated"),
        (encoded(Image.fromarray(RAMP).resize((80, 60)), "JPEG")[:400], "truncated"),
        (png_claiming(8, 6), "truncated"),
        (png_claiming(8000, MAX_PIXELS // 8000 + 1), "pixels"),
        (png_claiming(100_000, 100_000), "pixels"),
    ],
)
def test_broken_files_say_why_in_one_line(data, reason):
    with pytest.raises(BadExample, match=reason) as caught:
        decode_image(data, "a.png")
    assert caught.value.name == "a.png"
    assert "\n" not in caught.value.reason


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(BadExample, match="cannot be read"):
        decode_image(tmp_path / "gone.png")
    with pytest.raises(BadExample, match="cannot be read"):
        decode_image(tmp_path)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"GIF89a", b""]),
)
def test_no_bytes_raise_anything_else(junk, magic):
    try:
        decode_image(magic + junk)
    except BadExample as bad:
        assert "\n" not in str(bad)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_no_damage_raises_anything_else(where, patch):
    data = bytearray(encoded(Image.fromarray(RAMP).resize((40, 30)), "JPEG"))
    data[where : where + len(patch)] = patch
    with contextlib.suppress(BadExample):
        assert decode_image(bytes(data)).dtype == np.uint8


IDS = np.array([[0, 1, 2], [3, 3, 0]], np.uint8)


def test_masks_hold_ids_in_gray_palette_colour_and_npy(tmp_path):
    palette = Image.fromarray(IDS)
    palette.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    assert palette.mode == "P"
    for image in (Image.fromarray(IDS), palette, Image.fromarray(IDS[..., None].repeat(3, -1))):
        np.testing.assert_array_equal(decode_mask(encoded(image)), IDS)
    for array in (IDS, IDS.astype(np.int64), IDS[..., None]):
        np.save(tmp_path / "m.npy", array)
        np.testing.assert_array_equal(decode_mask(tmp_path / "m.npy"), IDS)


def test_mask_values_are_mapped():
    np.testing.assert_array_equal(
        decode_mask(encoded(Image.fromarray(IDS > 2)), values={0: 0, 255: 3}), np.where(IDS > 2, 3, 0)
    )


def test_masks_with_other_values_are_refused(tmp_path):
    with pytest.raises(BadExample, match=r"\[7\]"):
        decode_mask(encoded(Image.fromarray(IDS + np.uint8(4) * (IDS == 3))))
    with pytest.raises(BadExample, match="colour"):
        decode_mask(encoded(Image.fromarray(np.full((2, 2, 3), (255, 0, 0), np.uint8))))
    for array, reason in [
        (IDS / 2, "integer"),
        (IDS - 4.0, "integer"),
        (np.int8(IDS) - 1, "-1"),
        (IDS[0], "shape"),
    ]:
        np.save(tmp_path / "m.npy", array)
        with pytest.raises(BadExample, match=reason):
            decode_mask(tmp_path / "m.npy")


def test_npy_files_are_never_unpickled(tmp_path):
    np.save(tmp_path / "m.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadExample, match=r"not a readable \.npy"):
        decode_mask(tmp_path / "m.npy")


@given(st.binary(max_size=100))
def test_no_npy_bytes_raise_anything_else(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("npy") / "m.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + junk)
    with pytest.raises(BadExample):
        decode_mask(path)
