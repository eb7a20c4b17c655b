"""Documents."""

from __future__ import annotations

import pytest

from services.errors import CorruptFile, EmptyFile, NoTextLayer, PasswordNeeded, PortalError
from tests.ui.conftest import text_of
from tests.ui.fakes import document

PAGE = "pages/documents.py"
SCAN = NoTextLayer("This is a scan.", hint="Text recognition is coming.")
LOCKED = PasswordNeeded("The file is protected by a password.")


def failed(id_: int, error: PortalError, **changes):
    return document(id_, state="failed", error=error.to_record(), chunks_total=0, chunks_done=0, **changes)


def upload(test, *names: str):
    files = [(name, b"%PDF-1.7", "application/pdf") for name in names]
    test.file_uploader[0].set_value(files)
    next(button for button in test.button if button.label == "Add").click()
    return test.run()


def test_an_empty_collection_says_what_to_do(opened) -> None:
    assert "Drop PDF or Word files" in text_of(opened(PAGE))


def test_without_a_collection_the_first_upload_makes_one_of_ones_own(opened, services) -> None:
    services.library.names = []
    test = upload(opened(PAGE), "a.pdf")
    assert services.library.names == ["Documents of anna"]
    assert "Added: 1." in test.success[0].value


def test_a_new_collection_is_made_by_its_name(opened, services) -> None:
    test = opened(PAGE)
    next(i for i in test.text_input if i.label == "Name of the collection").set_value("Safety")
    next(button for button in test.button if button.label == "Create").click().run()
    assert services.library.names == ["Handbook", "Safety"]


def test_a_reader_finds_nothing_to_delete_or_to_try_again(opened, services) -> None:
    services.library.documents = [document(1), failed(2, CorruptFile("The file is damaged."))]
    services.library.read_only = True
    shown = {button.key or button.label for button in opened(PAGE).button}
    assert not shown & {"delete-1", "retry-2"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (document(1, state="queued"), "Waiting"),
        (document(1, state="reading", pages_done=120), "Reading page 120 of 251"),
        (document(1, state="reading", pages_done=20, format="docx"), "Reading paragraph 20 of 251"),
        (document(1, state="embedding", chunks_done=461), "Search by meaning is being prepared: 45 %"),
        (document(1), "1,024 passages"),
        (failed(1, SCAN), "Text recognition is coming"),
        (document(1, notes=[SCAN.to_record()]), "This is a scan"),
    ],
)
def test_a_document_says_how_far_it_is(opened, services, row, words: str) -> None:
    services.library.documents = [row]
    assert words in text_of(opened(PAGE)).replace("\\", "")


def test_one_bad_file_of_several_gets_its_own_message(opened, services) -> None:
    services.library.refuse = {"b.pdf": EmptyFile("The file is empty.", hint="Check it.")}
    test = upload(opened(PAGE), "a.pdf", "b.pdf", "c.pdf")
    assert {d.title for d in services.library.documents} == {"a.pdf", "c.pdf"}
    assert "Added: 2." in test.success[0].value
    assert "The file is empty" in test.error[0].value


def test_a_file_that_is_there_already_is_named(opened, services) -> None:
    services.library.documents = [document(1, title="a.pdf")]
    assert "Already in this collection" in text_of(upload(opened(PAGE), "a.pdf"))


def test_two_hundred_documents_are_paged_and_can_be_searched(opened, services) -> None:
    services.library.documents = [document(number) for number in range(1, 201)]
    test = opened(PAGE)
    assert "1 of 20" in text_of(test)
    assert len([m for m in test.markdown if "handbook" in m.value]) == 10
    test.text_input(key="title_filter").set_value("handbook-17.").run()
    assert len([m for m in test.markdown if "handbook" in m.value]) == 1


def test_the_filter_shows_only_the_failed_ones(opened, services) -> None:
    services.library.documents = [document(n) for n in range(1, 10)] + [failed(10, SCAN, title="scan.pdf")]
    test = opened(PAGE)
    test.button_group(key="state_filter").set_value("failed").run()
    assert "scan" in text_of(test)
    assert not [m for m in test.markdown if "handbook" in m.value]


def test_a_failed_document_can_be_tried_again(opened, services) -> None:
    services.library.documents = [failed(5, CorruptFile("The file is damaged."))]
    opened(PAGE).button(key="retry-5").click().run()
    assert services.library.retried == [(5, None)]


def test_an_encrypted_document_takes_its_password(opened, services) -> None:
    services.library.documents = [failed(5, LOCKED)]
    test = opened(PAGE)
    next(i for i in test.text_input if i.label == "Password of the file").set_value("open sesame")
    next(button for button in test.button if button.label == "Unlock").click().run()
    assert services.library.retried == [(5, "open sesame")]


def test_a_wrong_password_is_said_on_its_card_and_the_others_stay(opened, services) -> None:
    services.library.documents = [failed(5, LOCKED, title="locked.pdf"), document(6, title="other.pdf")]
    services.library.refuse = {"locked.pdf": PasswordNeeded("The password does not open this file.")}
    test = opened(PAGE)
    next(i for i in test.text_input if i.label == "Password of the file").set_value("wrong")
    next(button for button in test.button if button.label == "Unlock").click().run()
    assert "does not open this file" in test.error[0].value
    assert "other" in text_of(test)


def test_a_deletion_names_what_is_lost_and_waits_for_yes(opened, services) -> None:
    services.library.documents = [document(7)]
    test = opened(PAGE)
    test.button(key="delete-7").click().run()
    assert "1,024 passages" in text_of(test)
    assert services.library.deleted == []
    test.button(key="delete_document").click().run()
    assert services.library.deleted == [7]
