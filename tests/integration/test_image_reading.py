"""The reader of text in pictures, with its real child and models."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image, ImageDraw, ImageFont

from services.errors import CorruptFile, ReadingLimit
from services.images.gate import Gate
from services.images.pictures import CleanImage
from services.images.reading import Reader
from services.settings import Settings

TABLE = [["Quarter", "Revenue", "Profit"], ["Q1", "1280", "312"], ["Q2", "1455", "298"]]
LAID_OUT = "| Quarter | Revenue | Profit |\n| --- | --- | --- |\n| Q1 | 1280 | 312 |\n| Q2 | 1455 | 298 |"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def reader(settings: Settings) -> Iterator[Reader]:
    reader = Reader(settings)
    yield reader
    reader.close()


def drawn(rows: list[list[str]], settings: Settings, *, quarter_turns: int = 0, size: int = 24) -> CleanImage:
    """The rows as a picture, turned to the left."""
    chinese = ["fc-match", "-f", "%{file}", ":lang=zh-cn"]
    font = subprocess.run(chinese, capture_output=True, text=True, check=True).stdout
    picture = Image.new("RGB", (26 * size, int(2.5 * size) * len(rows)), "white")
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            place = (size + 9 * size * column, size // 2 + int(2.5 * size) * number)
            ImageDraw.Draw(picture).text(place, text, "black", ImageFont.truetype(font, size))
    stream = io.BytesIO()
    picture.rotate(90 * quarter_turns, expand=True).save(stream, "PNG")
    return Gate(settings).admit(stream.getvalue())


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_a_table_is_read_as_a_table_however_the_picture_lies(
    reader: Reader, settings: Settings, quarter_turns: int
) -> None:
    image = drawn(TABLE, settings, quarter_turns=quarter_turns)
    found = reader.read(image)
    assert found.layout == LAID_OUT
    assert all(0 <= x <= image.width and 0 <= y <= image.height for line in found.lines for x, y in line.box)
    first = next(line for line in found.lines if line.text == "Quarter")
    corner = [(0, 0), (0, image.height), (image.width, image.height), (image.width, 0)][quarter_turns]
    assert max(abs(first.box[0][0] - corner[0]), abs(first.box[0][1] - corner[1])) < 60


def test_chinese_and_english_are_read_together(reader: Reader, settings: Settings) -> None:
    found = reader.read(drawn([["营业收入 Revenue", "人民币 1,280 万元"]], settings))
    assert "营业收入" in found.layout
    assert "Revenue" in found.layout
    assert "1,280" in found.layout


def test_small_print_is_read(reader: Reader, settings: Settings) -> None:
    assert reader.read(drawn(TABLE, settings, size=10)).layout == LAID_OUT


@pytest.mark.parametrize("word", ["two", "42"])
def test_a_lone_word_is_read(reader: Reader, settings: Settings, word: str) -> None:
    assert reader.read(drawn([[word]], settings)).layout == word


def test_a_picture_without_text_gives_nothing(reader: Reader, settings: Settings) -> None:
    found = reader.read(drawn([[""]], settings))
    assert (found.lines, found.layout) == ([], "")


def test_the_same_picture_is_read_once(reader: Reader, settings: Settings) -> None:
    image = drawn(TABLE, settings)
    assert reader.read(image) is reader.read(image)


def test_two_at_once_get_their_own_text(reader: Reader, settings: Settings) -> None:
    images = [drawn([[word]], settings) for word in ("First", "Second")]
    with ThreadPoolExecutor(2) as pool:
        assert [found.layout for found in pool.map(reader.read, images)] == ["First", "Second"]


def test_the_child_outlives_the_thread_that_first_needed_it(settings: Settings) -> None:
    reader = Reader(settings)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(reader.read, drawn([["one"]], settings)).result()
    first = reader._child
    assert reader.read(drawn([["Second"]], settings)).layout == "Second"
    assert reader._child is first
    reader.close()


def test_a_child_that_died_is_started_again(reader: Reader, settings: Settings) -> None:
    reader.read(drawn([["before"]], settings))
    os.killpg(reader._child.pid, signal.SIGKILL)
    reader._child.wait()
    assert reader.read(drawn([["after"]], settings)).layout == "after"


def test_a_child_that_dies_while_it_reads_is_reported(settings: Settings) -> None:
    reader = Reader(settings)
    image = drawn(TABLE, settings)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(reader.read, image)
        while reader._child is None:
            time.sleep(0.01)
        os.killpg(reader._child.pid, signal.SIGKILL)
        with pytest.raises(CorruptFile):
            reading.result()
    assert reader.read(image).layout == LAID_OUT
    reader.close()


def test_what_takes_too_long_is_ended(settings: Settings) -> None:
    reader = Reader(settings, timeout_s=0.05)
    with pytest.raises(ReadingLimit):
        reader.read(drawn([["slow"]], settings))
    assert reader._child is None


def test_a_child_that_nobody_needs_ends(settings: Settings) -> None:
    reader = Reader(settings, idle_s=0.05)
    reader.read(drawn([["idle"]], settings))
    until = time.monotonic() + 10
    while reader._child is not None and time.monotonic() < until:
        time.sleep(0.02)
    assert reader._child is None
