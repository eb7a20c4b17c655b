"""The gate for pictures, with its real child and real files."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pypdfium2 as pdfium
import pytest
from PIL import Image, ImageCms
from pypdf import PdfWriter

from services.errors import (
    BadInput,
    CorruptFile,
    EmptyFile,
    FileTooLarge,
    NotFound,
    PasswordNeeded,
    ReadingLimit,
    StorageFull,
    UnreadableFile,
    UnsupportedFormat,
)
from services.images.gate import Gate
from services.images.pictures import CleanImage
from services.images.store import ImageStore
from services.settings import Settings
from tests.evaluation_data import EVAL

FILES = sorted((EVAL / "images").iterdir())
GPS = 0x8825
ORIENTATION = 0x0112


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(Settings(home=tmp_path))


def encoded(picture: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def opened(image: CleanImage) -> Image.Image:
    return Image.open(io.BytesIO(image.data), formats=[image.format.upper()])


def outcome_of(gate: Gate, path: Path) -> CleanImage | UnreadableFile:
    try:
        return gate.admit(path)
    except UnreadableFile as error:
        return error


def half_red(mode: str = "RGB") -> Image.Image:
    picture = Image.new("RGB", (40, 20), "white")
    picture.paste("red", (0, 0, 20, 20))
    return picture.convert(mode)


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_hostile_file_ends_in_a_clean_picture_or_a_reason(gate: Gate, path: Path) -> None:
    outcome = outcome_of(gate, path)
    if isinstance(outcome, UnreadableFile):
        assert outcome.hint
    else:
        assert opened(outcome).size == (outcome.width, outcome.height)


def test_the_files_that_are_whole_are_admitted(gate: Gate) -> None:
    for name in ("hopper.jpg", "hopper.tif", "g4-multi.tiff", "dispose_bgnd.gif", "hopper_bad_exif.jpg"):
        assert gate.admit(EVAL / "images" / name).width > 0


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PDF"])
def test_each_format_is_admitted_by_its_content(gate: Gate, format: str) -> None:
    image = gate.admit(encoded(half_red(), format))
    assert image.original_format == format.lower()
    left = opened(image).convert("RGB").getpixel((2, image.height // 2))
    assert left[0] > 240
    assert left[1] < 20


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "I;16", "F", "RGBA"])
def test_every_kind_of_pixels_is_understood(gate: Gate, mode: str) -> None:
    picture = half_red("L").convert("I;16") if mode == "I;16" else half_red(mode)
    assert gate.admit(encoded(picture, "TIFF")).width == 40


def test_sixteen_bits_are_scaled_not_clipped(gate: Gate) -> None:
    image = gate.admit(encoded(Image.new("I;16", (10, 10), 0x8000), "PNG"))
    assert abs(opened(image).convert("L").getpixel((5, 5)) - 128) <= 1


def test_a_transparent_picture_stands_on_white(gate: Gate) -> None:
    image = gate.admit(encoded(Image.new("RGBA", (10, 10), (0, 0, 0, 0)), "PNG"))
    assert opened(image).convert("RGB").getpixel((5, 5)) == (255, 255, 255)


def test_a_photo_is_turned_upright_and_forgets_where_it_was_taken(gate: Gate) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif.get_ifd(GPS)[1] = "N"
    source = encoded(half_red(), "JPEG", exif=exif, comment=b"at home")
    assert GPS in Image.open(io.BytesIO(source)).getexif()
    image = gate.admit(source)
    clean = opened(image)
    assert (image.width, image.height) == (20, 40)
    assert clean.convert("RGB").getpixel((10, 5))[1] < 60  # its left side is on top now
    assert not clean.getexif()
    assert "comment" not in clean.info
    assert b"at home" not in image.data


def test_what_hangs_behind_a_picture_does_not_come_along(gate: Gate) -> None:
    for format in ("PNG", "JPEG", "GIF"):
        image = gate.admit(encoded(half_red(), format) + b"<script>alert(1)</script>PK\x03\x04")
        assert b"script" not in image.data


def test_a_huge_picture_is_scaled_down(gate: Gate) -> None:
    image = gate.admit(encoded(Image.new("L", (6000, 3000), "white"), "PNG"))
    assert (image.width, image.height) == (4000, 2000)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_truncated_file_is_refused(gate: Gate, format: str) -> None:
    noise = Image.effect_noise((200, 200), 80).convert("RGB")
    content = encoded(noise, format)
    with pytest.raises(CorruptFile):
        gate.admit(content[: len(content) * 2 // 3])


def test_a_small_file_of_very_many_pixels_is_refused_before_it_is_decoded(gate: Gate) -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    with pytest.raises(FileTooLarge):
        gate.admit(bomb)


def test_a_text_chunk_that_unpacks_without_end_is_refused(gate: Gate) -> None:
    whole = encoded(half_red(), "PNG")
    bomb = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a" * 50_000_000))
    with pytest.raises(UnreadableFile):
        gate.admit(whole[:33] + bomb + whole[33:])


def test_a_film_of_thousands_of_frames_is_refused(gate: Gate) -> None:
    whole = encoded(half_red("P"), "GIF")
    start = whole.index(b"\x2c")
    with pytest.raises(ReadingLimit):
        gate.admit(whole[:start] + whole[start:-1] * 3000 + b";")


@pytest.mark.parametrize(
    "source", ["https://example.org/a.png", b"http://example.org/a.png", b"[InternetShortcut]\nURL=http://a.example"]
)
def test_a_web_address_is_refused(gate: Gate, source: str | bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="web address"):
        gate.admit(source)


@pytest.mark.parametrize(("content", "name"), [(b"<svg xmlns=''/>", "SVG"), (b"<!DOCTYPE html><p>", "HTML")])
def test_a_refusal_says_what_the_file_is(gate: Gate, content: bytes, name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=name):
        gate.admit(content)


def test_empty_small_and_heavy_files_are_refused(gate: Gate, tmp_path: Path) -> None:
    with pytest.raises(EmptyFile):
        gate.admit(b"")
    with pytest.raises(UnreadableFile, match="at least 8"):
        gate.admit(encoded(Image.new("L", (7, 100)), "PNG"))
    with pytest.raises(FileTooLarge):
        Gate(Settings(home=tmp_path, image_max_mib=1)).admit(b"\xff\xd8\xff" + bytes(1 << 20))


def test_the_page_asked_for_is_drawn(gate: Gate) -> None:
    document = pdfium.PdfDocument.new()
    document.new_page(300, 200)
    document.new_page(200, 400)
    stream = io.BytesIO()
    document.save(stream)
    image = gate.admit(stream.getvalue(), page=2)
    assert image.pages == 2
    assert image.height == pytest.approx(2 * image.width, abs=2)
    with pytest.raises(BadInput):
        gate.admit(stream.getvalue(), page=3)


def test_two_at_once_get_their_own_pictures_and_leave_nothing(gate: Gate, tmp_path: Path) -> None:
    sources = [encoded(Image.new("L", (10 + n, 10)), "PNG") for n in range(4)]
    with ThreadPoolExecutor(2) as pool:
        assert [image.width for image in pool.map(gate.admit, sources)] == [10, 11, 12, 13]
    assert not any(Settings(home=tmp_path).spool_dir.iterdir())


def test_the_store_keeps_for_its_owner_only_and_discards_all_but_the_auditors_copy(gate: Gate, tmp_path: Path) -> None:
    store = ImageStore(Settings(home=tmp_path, audit_images=True, disk_reserve_mib=1))
    image = gate.admit(encoded(half_red(), "PNG"))
    store.put(image)
    store.keep_for_audit(image)
    kept = store.get(image.sha256)
    assert (kept.data, kept.width, kept.height) == (image.data, image.width, image.height)
    [path] = (tmp_path / "images").iterdir()
    assert path.stat().st_mode & 0o077 == 0
    store.discard([image.sha256, "../portal.db"])
    with pytest.raises(NotFound):
        store.get(image.sha256)
    assert (tmp_path / "audit_images" / path.name).read_bytes() == image.data


def test_without_the_setting_auditors_get_no_copy(gate: Gate, tmp_path: Path) -> None:
    ImageStore(Settings(home=tmp_path)).keep_for_audit(gate.admit(encoded(half_red(), "PNG")))
    assert not (tmp_path / "audit_images").exists()


def test_a_full_disk_is_said_and_nothing_half_written_stays(gate: Gate, tmp_path: Path) -> None:
    image = gate.admit(encoded(half_red(), "PNG"))
    with pytest.raises(StorageFull):
        ImageStore(Settings(home=tmp_path, disk_reserve_mib=1 << 40)).put(image)
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"8BPS\0\1", "Photoshop"),
        (b"PK\3\4" + bytes(30), "ZIP"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office 97"),
        (b"\0\0\1\0\1\0", "ICO"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg/>", "SVG"),
        (b"  <!-- saved --><HTML><body>", "HTML"),
    ],
)
def test_what_is_no_picture_is_named_whatever_the_file_is_called(gate: Gate, content: bytes, name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=name):
        gate.admit(content, name="holiday.jpg")


def test_an_address_that_became_a_path_is_refused_as_an_address(gate: Gate) -> None:
    with pytest.raises(UnsupportedFormat, match="web address"):
        gate.admit(Path("https://example.org/a.png"))
    with pytest.raises(NotFound):
        gate.admit(Path("no/such/file.png"))


def test_a_picture_of_the_largest_size_fits_into_the_childs_memory(tmp_path: Path) -> None:
    gate = Gate(Settings(home=tmp_path), timeout_s=60)
    image, peak_mib = gate.admit_measured(encoded(Image.new("RGBA", (8160, 6120), (0, 0, 255, 128)), "PNG"))
    assert (image.width, image.height) == (4000, 3000)
    assert opened(image).convert("RGB").getpixel((2000, 1500)) == (127, 127, 255)
    assert 20 < peak_mib <= 300


def test_a_picture_scaled_strip_by_strip_has_no_seams(gate: Gate) -> None:
    slope = Image.linear_gradient("L").resize((1000, 6000), Image.Resampling.BICUBIC)
    column = opened(gate.admit(encoded(slope, "PNG"))).convert("L").crop((300, 0, 301, 4000)).tobytes()
    assert all(0 <= below - above <= 1 for above, below in pairwise(column))


def test_a_photos_own_colours_become_those_of_the_screen(gate: Gate) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for icc in (profile, b"not a profile"):
        image = gate.admit(encoded(half_red(), "PNG", icc_profile=icc))
        assert opened(image).getpixel((2, 2)) == (255, 0, 0)  # a profile that does not suit is left out
        assert "icc_profile" not in opened(image).info


def test_a_picture_of_another_page_of_a_tiff_is_taken(gate: Gate) -> None:
    pages = [Image.new("L", (20 + number, 10)) for number in range(3)]
    content = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [gate.admit(content, page=page).width for page in (1, 3)] == [20, 22]
    with pytest.raises(BadInput):
        gate.admit(content, page=4)


def test_a_protected_pdf_is_refused_as_protected(gate: Gate) -> None:
    writer = PdfWriter()
    writer.add_blank_page(200, 200)
    writer.encrypt("secret")
    stream = io.BytesIO()
    writer.write(stream)
    with pytest.raises(PasswordNeeded):
        gate.admit(stream.getvalue())


def test_a_strip_of_one_line_is_refused(gate: Gate) -> None:
    with pytest.raises(UnreadableFile, match="narrow"):
        gate.admit(encoded(Image.new("1", (60_000, 20)), "PNG"))


def test_what_takes_too_long_is_refused_and_ended(tmp_path: Path) -> None:
    with pytest.raises(ReadingLimit):
        Gate(Settings(home=tmp_path), timeout_s=0.01).admit(encoded(half_red(), "PNG"))
    assert not any(Settings(home=tmp_path).spool_dir.iterdir())
