"""Decrypted copies of password-protected files."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from services.documents.reading.refusals import damaged, rights_managed, wrong_password
from services.errors import PasswordNeeded


def unlock(path: Path, format: str, password: str, target: Path) -> None:
    """Write the decrypted file to `target`; a file that is not encrypted writes nothing.

    Raises PasswordNeeded for a wrong password, CorruptFile, UnsupportedFormat (rights management).
    """
    if format == "pdf":
        _unlock_pdf(path, password, target)
    else:
        _unlock_word(path, password, target)


def _unlock_pdf(path: Path, password: str, target: Path) -> None:
    from pypdfium2 import raw

    from services.documents.reading.pdf import open_pdf

    try:
        document = open_pdf(path, password)
    except PasswordNeeded as error:
        raise wrong_password() from error
    with closing(document):
        if raw.FPDF_GetSecurityHandlerRevision(document.raw) >= 0:
            document.save(target, flags=raw.FPDF_REMOVE_SECURITY)


def _unlock_word(path: Path, password: str, target: Path) -> None:
    from msoffcrypto import OfficeFile
    from msoffcrypto.exceptions import DecryptionError, FileFormatError, InvalidKeyError

    with path.open("rb") as source:
        try:
            office = OfficeFile(source)
            if not office.is_encrypted():
                return
            office.load_key(password=password, verify_password=True)
            with target.open("wb") as copy:
                office.decrypt(copy)
        except InvalidKeyError as error:
            raise wrong_password() from error
        except DecryptionError as error:
            raise rights_managed() from error
        except FileFormatError as error:
            raise damaged() from error
