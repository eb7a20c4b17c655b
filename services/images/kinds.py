"""What a file is, by its first bytes; its name is not asked."""

from __future__ import annotations

import re

HEAD_BYTES = 1024 + 8
PICTURES = {  # by Pillow's name of the format
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "TIFF": re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+"),
    "BMP": re.compile(rb"BM"),
}
PDF = re.compile(rb".{0,1024}?%PDF-", re.DOTALL)  # a header may come first
TEXT = rb"(?i:(?:\xef\xbb\xbf)?\s*"
ADDRESS = "URL"
OTHERS = {  # names that people know them by
    "SVG": re.compile(TEXT + rb"(?:<\?xml.{0,900}?)?(?:<!--.{0,900}?-->\s*|<!DOCTYPE svg.{0,900}?)*<svg)", re.DOTALL),
    "HTML": re.compile(TEXT + rb"(?:<!--.{0,900}?-->\s*)?<(?:!doctype html|html|head|body|script|a |img ))", re.DOTALL),
    "XML": re.compile(TEXT + rb"<\?xml)"),
    ADDRESS: re.compile(TEXT + rb"(?:\[InternetShortcut\]|[a-z][a-z0-9+.-]{1,20}://\S+\s*$|data:[a-z]+/))"),
    "HEIC": re.compile(rb".{4}ftyp(?:hei[cmxs]|hev[cmx]|mif1|msf1)", re.DOTALL),
    "AVIF": re.compile(rb".{4}ftypavi[fs]", re.DOTALL),
    "MP4": re.compile(rb".{4}ftyp", re.DOTALL),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "Photoshop": re.compile(rb"8BPS"),
    "DDS": re.compile(rb"DDS "),
    "ICNS": re.compile(rb"icns"),
    "ICO": re.compile(rb"\0\0[\x01\x02]\0"),
    "PostScript": re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"),
    "WMF / EMF": re.compile(rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", re.DOTALL),
    "ZIP / Office": re.compile(rb"PK[\x03\x05\x07]"),
    "Office 97": re.compile(rb"\xd0\xcf\x11\xe0"),
    "gzip": re.compile(rb"\x1f\x8b"),
}


def picture_kind(head: bytes) -> str | None:
    """Pillow's name of the format, or "PDF"; None when it is neither. head: the first HEAD_BYTES."""
    for kind, magic in PICTURES.items():
        if magic.match(head):
            return kind
    return "PDF" if PDF.match(head) else None


def other_kind(head: bytes) -> str | None:
    """The name of a kind of file that is refused, or None when it is not known."""
    return next((kind for kind, magic in OTHERS.items() if magic.match(head)), None)
