"""What stands in collections that one cannot read has no influence on what one finds, nor on how sure the portal is."""

from __future__ import annotations

import pytest

from db.database import Database
from db.tables import Chunk, Collection, Document
from services.retrieval.lexical import LexicalIndex

OWN = [
    "Employees get 20 days of annual leave each year.",
    "Unused annual leave is carried over until the end of March.",
    "The VPN error E305 means that the certificate has expired.",
    "年假未休完的，最多可以结转五天。",
    "Travel expenses are reimbursed within ten working days.",
]
QUESTIONS = ["How many days of annual leave?", "What does error E305 mean?", "年假可以结转几天？", "Who audits quartz?"]
NOBODYS = [
    ["Quartz is audited by the plutonium board."] * 40,
    ["Annual leave, annual leave, annual leave and days of error."] * 40,
    ["年假结转年假结转"] * 7,
]


@pytest.fixture
def index(tmp_path):
    """index(texts of others): the own texts in collection 1, the others' in collection 2."""
    opened = []

    def build(others: list[str]) -> LexicalIndex:
        database = Database.open(tmp_path / f"{len(opened)}.sqlite3")
        opened.append(database)
        lexical = LexicalIndex(database)
        with database.session() as session:
            for number, texts in ((1, OWN), (2, others)):
                session.add(Collection(id=number, name=str(number), created_by="anna"))
                session.flush()
                file = {
                    "sha256": str(number),
                    "title": "x.pdf",
                    "format": "pdf",
                    "size_bytes": 1,
                    "uploaded_by": "anna",
                }
                session.add(Document(id=number, collection_id=number, **file))
                session.flush()
                where = {"document_id": number, "collection_id": number, "segments": [[1, 0]], "tokens": 9}
                chunks = [Chunk(ordinal=place, text=text, **where) for place, text in enumerate(texts)]
                session.add_all(chunks)
                session.flush()
                lexical.add(session, chunks)
        return lexical

    yield build
    for database in opened:
        database.close()


@pytest.mark.parametrize("question", QUESTIONS)
def test_scores_and_weights_do_not_depend_on_what_others_wrote(index, question):
    found = [index(others).search(question, [1], 30) for others in NOBODYS]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("question", QUESTIONS[:3])
def test_the_best_passage_is_the_one_that_a_whole_index_gives(index, question):
    alone, beside = index([]).search(question, [1], 30), index(NOBODYS[0]).search(question, [1], 30)
    assert alone.chunks[0].chunk_id == beside.chunks[0].chunk_id
    assert alone.chunks[0].score == pytest.approx(beside.chunks[0].score, abs=0.2)


def test_a_word_of_others_only_is_as_unknown_as_one_that_nobody_wrote(index):
    lexical = index(NOBODYS[0])
    assert lexical.search("quartz", [1], 30).chunks == []
    assert lexical.search("quartz", [1], 30).weights["quartz"] == lexical.search("zzz", [1], 30).weights["zzz"]
