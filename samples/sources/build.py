"""Build the sample handbook: two PDFs through headless Chromium, two Word files through python-docx.

Run `python samples/sources/build.py [--chromium PROGRAM]`; the four files are written beside this folder.
The PDFs want the fonts Liberation Sans and WenQuanYi Zen Hei.
"""

import argparse
import copy
import shutil
import subprocess
import tempfile
from pathlib import Path

import docx
import pypdfium2
from docx.document import Document
from docx.oxml.ns import qn
from docx.oxml.shared import OxmlElement
from docx.shared import Cm, Pt, RGBColor
from docx.table import _Cell
from lxml import etree, html

SOURCES = Path(__file__).resolve().parent
SAMPLES = SOURCES.parent
PDFS = {"handbook.zh.html": "员工手册.pdf", "handbook.en.html": "employee-handbook.pdf"}
WORD_FILES = {"guide.zh.html": "安全与IT指南.docx", "guide.en.html": "safety-and-it-guide.docx"}
LATIN_FONT, CJK_FONT = "Arial", "Microsoft YaHei"
ACCENT = RGBColor(0x1D, 0x5C, 0x4D)


def parse(source: Path) -> html.HtmlElement:
    """Return the root element of an HTML source."""
    return html.document_fromstring(source.read_text("utf-8"), parser=html.HTMLParser(encoding="utf-8"))


def print_pdf(chromium: str, page: html.HtmlElement, target: Path) -> None:
    """Print the page to target. Raises CalledProcessError when Chromium fails."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(SOURCES / "handbook.css", folder)
        source = Path(folder, "handbook.html")
        source.write_bytes(etree.tostring(page, method="html", encoding="utf-8", doctype="<!doctype html>"))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
        options += ["--generate-pdf-document-outline", f"--user-data-dir={folder}/profile", f"--print-to-pdf={target}"]
        subprocess.run([chromium, *options, source.as_uri()], check=True, capture_output=True, timeout=120)


def chapter_pages(pdf: Path, headings: list[str]) -> dict[str, int]:
    """Return the 1-based document page on which each heading stands as a line of its own."""
    document = pypdfium2.PdfDocument(pdf)
    lines = [page.get_textpage().get_text_bounded().splitlines() for page in document]
    document.close()
    return {text: next(i for i, page in enumerate(lines, start=1) if text in page and i > 1) for text in headings}


def fill_contents(page: html.HtmlElement, pages: dict[str, int]) -> None:
    """Write the table of contents: one line per chapter with its document page (empty when not yet known)."""
    contents = page.get_element_by_id("contents")
    contents.clear()
    contents.set("id", "contents")
    for heading in page.iter("h2"):
        link = etree.SubElement(etree.SubElement(contents, "li"), "a", href=f"#{heading.get('id')}")
        etree.SubElement(link, "span").text = heading.text
        etree.SubElement(link, "span").text = str(pages.get(heading.text, ""))


def build_pdf(chromium: str, source: Path, target: Path) -> None:
    """Print twice: the second time with the page numbers that the first one showed."""
    page = parse(source)
    fill_contents(page, {})
    print_pdf(chromium, page, target)
    fill_contents(page, chapter_pages(target, [heading.text for heading in page.iter("h2")]))
    print_pdf(chromium, page, target)


def set_fonts(document: Document) -> None:
    """Give the built-in styles one Latin and one Chinese font, and the headings the accent colour."""
    for name in ("Normal", "Title", "Heading 1", "Heading 2"):
        style = document.styles[name]
        style.font.name = LATIN_FONT
        fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
        for theme in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
            fonts.attrib.pop(qn(f"w:{theme}"), None)
        fonts.set(qn("w:eastAsia"), CJK_FONT)
        if name != "Normal":
            style.font.color.rgb = ACCENT
    document.styles["Normal"].font.size = Pt(10.5)


def restarted_list(document: Document) -> int:
    """Return the id of a new numbering like that of "List Number" which begins at 1 again."""
    numbering = document.part.numbering_part.numbering_definitions._numbering
    list_id = document.styles["List Number"].element.pPr.numPr.numId.val
    abstract_id = numbering.num_having_numId(list_id).abstractNumId.val
    number = numbering.add_num(abstract_id)
    number.add_lvlOverride(ilvl=0).add_startOverride(1)
    return number.numId


def add_steps(document: Document, steps: html.HtmlElement) -> None:
    """Append a numbered list that begins at 1."""
    list_id = restarted_list(document)
    for step in steps.iter("li"):
        properties = document.add_paragraph(step.text_content(), style="List Number")._p.get_or_add_pPr()
        numbering = properties.get_or_add_numPr()
        numbering.get_or_add_ilvl().val = 0
        numbering.get_or_add_numId().val = list_id


def shade(cell: _Cell, colour: str) -> None:
    """Fill a cell with a colour, six hexadecimal digits."""
    shading = OxmlElement("w:shd")
    for key, value in (("val", "clear"), ("color", "auto"), ("fill", colour)):
        shading.set(qn(f"w:{key}"), value)
    cell._tc.get_or_add_tcPr().append(shading)


def add_table(document: Document, source: html.HtmlElement) -> None:
    """Append a table whose first row is a repeated header; rows do not break across pages."""
    rows = [[cell.text_content() for cell in row] for row in source.iter("tr")]
    table = document.add_table(rows=0, cols=len(rows[0]), style="Table Grid")
    for texts in rows:
        row = table.add_row()
        row._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
            cell.paragraphs[0].paragraph_format.keep_with_next = texts is not rows[-1]
    table.rows[0]._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    for cell in table.rows[0].cells:
        shade(cell, "DCE8E4")
        cell.paragraphs[0].runs[0].bold = True
    document.add_paragraph().paragraph_format.space_after = Pt(2)


def add_page_number(document: Document) -> None:
    """Put a PAGE field into the footer."""
    paragraph = document.sections[0].footer.paragraphs[0]
    field = OxmlElement("w:fldSimple")
    field.set(qn("w:instr"), "PAGE")
    field.append(copy.deepcopy(paragraph.add_run("1")._r))
    paragraph._p.remove(paragraph.runs[0]._r)
    paragraph._p.append(field)


def build_word(source: Path, target: Path) -> None:
    """Turn h1, h2, h3, p, ol and table into Title, Heading 1, Heading 2, text, numbered steps and tables."""
    page = parse(source)
    document = docx.Document()
    set_fonts(document)
    add_page_number(document)
    document.core_properties.title = page.findtext("head/title")
    document.core_properties.author, document.core_properties.comments = "Zhiku samples", ""
    section = document.sections[0]
    section.page_width, section.page_height = Cm(21), Cm(29.7)
    section.left_margin = section.right_margin = Cm(2.2)
    for element in page.body:
        if element.tag in ("h1", "h2", "h3"):
            document.add_heading(element.text_content(), level=int(element.tag[1]) - 1)
        elif element.tag == "ol":
            add_steps(document, element)
        elif element.tag == "table":
            add_table(document, element)
        else:
            document.add_paragraph(element.text_content())
    document.save(target)


def main() -> None:
    """Build all four files."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--chromium", default="chromium")
    chromium = arguments.parse_args().chromium
    for source, target in PDFS.items():
        build_pdf(chromium, SOURCES / source, SAMPLES / target)
    for source, target in WORD_FILES.items():
        build_word(SOURCES / source, SAMPLES / target)


if __name__ == "__main__":
    main()
