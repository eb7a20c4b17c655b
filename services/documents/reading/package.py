"""A Word file as a package: sizes checked before unpacking, parts parsed without entities, nothing fetched."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from services.documents.reading.refusals import damaged, password_needed, rights_managed
from services.errors import FileTooLarge, UnsupportedFormat
from services.translation import N_

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MIB = 1 << 20
OLE_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
MAX_PARTS = 20_000
BOMB_RATIO = 200
BOMB_MIB = 50
MAIN_PART_TYPES = (
    "wordprocessingml.document.main",
    "ms-word.document.macroEnabled.main",
    "wordprocessingml.template.main",
)


class WordPackage:
    """The parts of an open package."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = set(archive.namelist())
        self.main = self._main_part()
        self.folder = self.main.rpartition("/")[0]

    def xml(self, name: str) -> Element | None:
        """A part by its full name, parsed; None when there is none. Raises CorruptFile."""
        if name not in self._names:
            return None
        from defusedxml import DefusedXmlException, ElementTree

        try:
            return ElementTree.fromstring(self._archive.read(name), forbid_dtd=True)
        except (ParseError, DefusedXmlException, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise damaged() from error

    def beside_main(self, name: str) -> Element | None:
        """A part in the folder of the main part."""
        return self.xml(f"{self.folder}/{name}" if self.folder else name)

    def named_like(self, prefix: str) -> list[str]:
        """Names, without the folder, of the XML parts beside the main part that begin with the prefix."""
        start = f"{self.folder}/{prefix}" if self.folder else prefix
        found = sorted(name for name in self._names if name.startswith(start) and name.endswith(".xml"))
        return [name.rpartition("/")[2] for name in found]

    def has_pictures(self) -> bool:
        return any("/media/" in name for name in self._names)

    def _main_part(self) -> str:
        types = self.xml("[Content_Types].xml")
        if types is not None:
            for override in types:
                if any(kind in override.get("ContentType", "") for kind in MAIN_PART_TYPES):
                    return override.get("PartName", "").lstrip("/")
            if "word/document.xml" in self._names:
                return "word/document.xml"
        raise UnsupportedFormat(
            N_("This is a ZIP file or another Office format, not a Word document."),
            hint=N_("Save it as PDF or DOCX and upload that."),
        )


@contextmanager
def open_package(path: Path, unpacked_max_mib: int) -> Iterator[WordPackage]:
    """Raises PasswordNeeded, CorruptFile, UnsupportedFormat, FileTooLarge (unpacked, or packed beyond reason)."""
    with path.open("rb") as stream:
        if stream.read(len(OLE_MAGIC)) == OLE_MAGIC:
            raise _locked(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise damaged() from error
    with archive:
        _check_sizes(archive, path.stat().st_size, unpacked_max_mib)
        yield WordPackage(archive)


def _check_sizes(archive: zipfile.ZipFile, packed: int, unpacked_max_mib: int) -> None:
    """By what the directory declares: zipfile never unpacks more of a part than that."""
    parts = archive.infolist()
    unpacked = sum(part.file_size for part in parts)
    bomb = unpacked > BOMB_MIB * MIB and unpacked > BOMB_RATIO * packed
    if unpacked > unpacked_max_mib * MIB or bomb or len(parts) > MAX_PARTS:
        raise FileTooLarge(
            N_("The file unpacks to {size_mib} MiB from {packed_mib} MiB: too large, or made to do harm."),
            hint=N_("Save it again in Word with smaller pictures, or split it."),
            size_mib=round(unpacked / MIB),
            packed_mib=round(packed / MIB, 1),
        )
    if any(part.flag_bits & 1 for part in parts):
        raise damaged()


def _locked(path: Path) -> Exception:
    import olefile

    with path.open("rb") as stream:
        try:
            with olefile.OleFileIO(stream) as container:
                names = ["/".join(entry) for entry in container.listdir(storages=True)]
        except (OSError, ValueError, IndexError, TypeError) as error:
            raise damaged() from error
    return rights_managed() if any("DRM" in name for name in names) else password_needed()
