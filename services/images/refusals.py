"""Why a picture is refused, in words for the person who sent it."""

from __future__ import annotations

from services.errors import (
    CorruptFile,
    EmptyFile,
    FileTooLarge,
    NotFound,
    PasswordNeeded,
    ReadingLimit,
    UnreadableFile,
    UnsupportedFormat,
)
from services.translation import N_


def empty() -> EmptyFile:
    return EmptyFile(N_("The picture is empty."), hint=N_("Check that it was saved, and upload it again."))


def too_many_bytes(limit_mib: int) -> FileTooLarge:
    return FileTooLarge(
        N_("The picture is larger than {limit_mib} MiB."),
        hint=N_("Make it smaller, or ask an administrator to raise the limit."),
        limit_mib=limit_mib,
    )


def too_many_pixels(width: int, height: int, limit_megapixels: int) -> FileTooLarge:
    return FileTooLarge(
        N_("The picture has {width} × {height} pixels; at most {limit_megapixels} million are allowed."),
        hint=N_("Make it smaller, or ask an administrator to raise the limit."),
        width=width,
        height=height,
        limit_megapixels=limit_megapixels,
    )


def unpacks_too_large(limit_megapixels: int) -> FileTooLarge:
    return FileTooLarge(
        N_("The picture has more than {limit_megapixels} million pixels."),
        hint=N_("Make it smaller, or ask an administrator to raise the limit."),
        limit_megapixels=limit_megapixels,
    )


def too_few_pixels(width: int, height: int, least: int) -> UnreadableFile:
    return UnreadableFile(
        N_("The picture has only {width} × {height} pixels; each side must have at least {least}."),
        hint=N_("Upload a larger picture."),
        width=width,
        height=height,
        least=least,
    )


def too_narrow(width: int, height: int) -> UnreadableFile:
    return UnreadableFile(
        N_("The picture is too long and narrow: {width} × {height} pixels."),
        hint=N_("Cut out the part that you ask about and upload that."),
        width=width,
        height=height,
    )


def damaged() -> CorruptFile:
    return CorruptFile(
        N_("The picture is damaged or incomplete."), hint=N_("Get it again from where it came from, or save it anew.")
    )


def broke() -> CorruptFile:
    return CorruptFile(
        N_("The picture cannot be read: the reader broke on it."),
        hint=N_("It is probably damaged. Open it in a picture program and save it as PNG."),
    )


def too_slow(limit_s: float) -> ReadingLimit:
    return ReadingLimit(
        N_("Opening the picture took longer than {limit_s} seconds."),
        hint=N_("Make it smaller, or save it as PNG, and upload that."),
        limit_s=round(limit_s),
    )


def too_much_memory(limit_mib: int) -> ReadingLimit:
    return ReadingLimit(
        N_("Opening the picture needs more than {limit_mib} MiB of memory."),
        hint=N_("Make it smaller, or save it as PNG, and upload that."),
        limit_mib=limit_mib,
    )


def wrong_kind(kind: str | None) -> UnsupportedFormat:
    """kind: what the file is, by the name people know; None when that is not known."""
    hint = N_("PNG, JPEG, WebP, GIF, BMP, TIFF and PDF can be used: save it as one of these and upload that.")
    if kind is None:
        return UnsupportedFormat(N_("This is not a picture that can be read, whatever its name says."), hint=hint)
    return UnsupportedFormat(N_("Files of this kind cannot be used as a picture: {kind}."), hint=hint, kind=kind)


def web_address() -> UnsupportedFormat:
    return UnsupportedFormat(
        N_("This is a web address, not a picture: the portal does not fetch pictures."),
        hint=N_("Save the picture to a file, and upload the file."),
    )


def too_many_frames(limit: int) -> ReadingLimit:
    return ReadingLimit(
        N_("The picture has more than {limit} frames."),
        hint=N_("Save one of them as PNG, and upload that."),
        limit=limit,
    )


def missing(name: str) -> NotFound:
    return NotFound(N_("There is no file {name}."), name=name)


def no_such_page(page: int, pages: int) -> UnreadableFile:
    return UnreadableFile(
        N_("There is no page {page}: the file has {pages}."), hint=N_("Choose another page."), page=page, pages=pages
    )


def protected() -> PasswordNeeded:
    return PasswordNeeded(
        N_("The PDF is protected by a password."), hint=N_("Save a copy without a password and upload that.")
    )
