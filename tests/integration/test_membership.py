"""Who may read and edit which collection, and that what was taken away is gone with the next call."""

from __future__ import annotations

import io
import shutil

import pytest
from sqlalchemy import event

from db.account_tables import CollectionMember
from db.tables import Chunk, Collection, Document
from services.audit.filters import Filter
from services.documents.membership import Access, Member
from services.errors import Denied, NotFound, UnsupportedFormat
from services.permissions import CONSOLE, Actor, Role
from services.settings import Settings
from tests.fakes import ADMIN, AUDITOR, USER, FakeChatModel, add_people
from tests.services_setup import built

ANNA, BEN = (Actor(id=name, name=name, roles=frozenset({Role.USER})) for name in ("anna", "ben"))
SECRET = "The marzipan vault opens at midnight."


@pytest.fixture(scope="module")
def module_services(migrated, tmp_path_factory):
    home = tmp_path_factory.mktemp("portal") / "home"
    shutil.copytree(migrated, home)
    settings = Settings(home=home, disk_reserve_mib=1, refusal_threshold=0.0)
    with built(settings, FakeChatModel(lambda request: request.messages[-1]["content"])) as services:
        add_people(services.database, ANNA, BEN, ADMIN, AUDITOR, USER)
        with services.database.session() as session:
            session.add(Collection(id=1, name="Vault", created_by="anna"))
            session.flush()
            file = {"format": "docx", "size_bytes": 1, "sha256": "0" * 64, "title": "vault.docx"}
            session.add(Document(id=1, collection_id=1, uploaded_by="anna", state="failed", **file))
            session.flush()
            place = {"segments": [[1, 0]], "tokens": 9, "ordinal": 0, "embedded": True}
            chunk = Chunk(id=1, document_id=1, collection_id=1, text=SECRET, **place)
            session.add(chunk)
            session.flush()
            services.lexical.add(session, [chunk])
        vectors = services.embedder.embed_documents([SECRET])
        services.vector_store.upsert([1], vectors, [{"document_id": 1, "collection_id": 1}])
        yield services


@pytest.fixture
def services(module_services):
    """Nobody is a member of the vault."""
    module_services.membership.set_members(CONSOLE, 1, [])
    return module_services


@pytest.fixture
def group(services):
    """A group with Anna in it."""
    group_id = services.people.add_group(ADMIN, "Night shift")
    services.people.set_groups(ADMIN, ANNA.id, [group_id])
    return group_id


def opened_to(services, *members: Member) -> None:
    services.membership.set_members(CONSOLE, 1, members)


def reads(services, actor: Actor) -> bool:
    """By every way there is; all must agree."""
    found = [
        services.membership.readable(actor) == [1],
        [collection.id for collection in services.library.collections(actor)] == [1],
        [document.id for document in services.library.list(actor)] == [1],
        services.library.statistics(actor).chunks == 1,
        _works(lambda: services.library.get(1, actor)),
        _works(lambda: services.library.chunk(1, actor)),
        _works(lambda: services.preview.passage(1, actor)),
        _works(lambda: services.membership.require_reader(actor, 1)),
        services.membership.may_read_chunks(actor, [1]) == {1},
        SECRET in "".join(services.ask.stream("When does the vault open?", actor=actor).deltas),
    ]
    assert len(set(found)) == 1, found
    return found[0]


def edits(services, actor: Actor) -> bool:
    found = [
        services.membership.editable(actor) == [1],
        [collection.id for collection in services.library.editable_collections(actor)] == [1],
        _works(lambda: services.library.retry(1, actor)) or services.library.get(1, CONSOLE).state == "gone",
        _works(lambda: services.library.add(io.BytesIO(b"text"), "x.pdf", actor=actor, collection_id=1)),
    ]
    with services.database.session() as session:
        session.get_one(Document, 1).state = "failed"
    assert len(set(found)) == 1, found
    return found[0]


def _works(act) -> bool:
    """Whether it goes beyond the question of membership."""
    try:
        act()
    except UnsupportedFormat:
        return True
    except (Denied, NotFound):
        return False
    return True


EVERYBODY_READS, EVERYBODY_EDITS = Member(Access.READER), Member(Access.EDITOR)
ANNA_READS, ANNA_EDITS = Member(Access.READER, person_id="anna"), Member(Access.EDITOR, person_id="anna")


@pytest.mark.parametrize(
    ("members", "anna", "ben"),
    [
        ([], "", ""),
        ([ANNA_READS], "r", ""),
        ([ANNA_EDITS], "re", ""),
        ([EVERYBODY_READS], "r", "r"),
        ([EVERYBODY_EDITS], "re", "re"),
        ([EVERYBODY_READS, ANNA_EDITS], "re", "r"),
        ([ANNA_EDITS, ANNA_READS], "r", ""),  # the last word on each counts
    ],
    ids=str,
)
def test_readers_read_editors_edit_too_and_others_know_nothing(services, members, anna, ben):
    opened_to(services, *members)
    assert (reads(services, ANNA), edits(services, ANNA)) == ("r" in anna, "e" in anna)
    assert (reads(services, BEN), edits(services, BEN)) == ("r" in ben, "e" in ben)


@pytest.mark.parametrize("access", Access)
def test_a_groups_members_have_what_the_group_has(services, group, access):
    opened_to(services, Member(access, group_id=group))
    assert (reads(services, ANNA), edits(services, ANNA)) == (True, access == Access.EDITOR)
    assert not reads(services, BEN)


def test_what_is_taken_away_is_gone_with_the_next_call(services, group):
    opened_to(services, Member(Access.READER, group_id=group), Member(Access.READER, person_id=BEN.id))
    assert reads(services, ANNA)
    services.people.set_groups(ADMIN, ANNA.id, [])
    assert not reads(services, ANNA)
    services.people.set_groups(ADMIN, ANNA.id, [group])
    assert reads(services, ANNA)
    services.people.remove_group(ADMIN, group)
    assert not reads(services, ANNA)
    assert reads(services, BEN)
    opened_to(services, ANNA_READS)
    assert not reads(services, BEN)


def test_a_collection_of_a_removed_group_is_not_open_to_everybody(services, group):
    """A member row without person and group means everybody: none may come about by a deletion."""
    opened_to(services, Member(Access.EDITOR, group_id=group))
    services.people.remove_group(ADMIN, group)
    with services.database.session() as session:
        assert session.query(CollectionMember).filter_by(collection_id=1).all() == []
    assert not reads(services, BEN)


def test_administrators_manage_members_but_read_only_what_they_are_members_of(services):
    opened_to(services, ANNA_EDITS)
    assert not reads(services, ADMIN)
    assert [member.name for member in services.membership.members(ADMIN, 1)] == ["anna"]
    services.membership.set_members(ADMIN, 1, [ANNA_EDITS, Member(Access.READER, person_id=ADMIN.id)])
    assert reads(services, ADMIN)


def test_an_editor_chooses_members_and_a_reader_does_not(services):
    opened_to(services, ANNA_EDITS, Member(Access.READER, person_id=BEN.id))
    services.membership.set_members(ANNA, 1, [ANNA_EDITS, EVERYBODY_READS])
    with pytest.raises(Denied):
        services.membership.set_members(BEN, 1, [EVERYBODY_EDITS])
    with pytest.raises(Denied):
        services.membership.members(BEN, 1)
    opened_to(services, ANNA_EDITS)
    with pytest.raises(NotFound):
        services.membership.candidates(BEN, 1)


def test_a_role_without_documents_is_refused_whatever_it_is_a_member_of(services):
    opened_to(services, EVERYBODY_EDITS, Member(Access.EDITOR, person_id=AUDITOR.id))
    with pytest.raises(Denied):
        services.library.list(AUDITOR)
    with pytest.raises(Denied):
        services.ask.stream("When?", actor=AUDITOR)
    assert services.membership.editable(AUDITOR) == []


def test_the_console_reaches_every_collection(services):
    assert reads(services, CONSOLE)


def test_candidates_are_everybody_groups_and_people_who_are_not_disabled(services, group):
    services.people.disable(ADMIN, USER.id)
    names = [member.name for member in services.membership.candidates(ADMIN, 1)]
    services.people.enable(ADMIN, USER.id)
    assert names == ["", "Night shift", ADMIN.name, "anna", AUDITOR.name, "ben"]


def test_a_change_of_members_is_in_the_audit_with_both_lists(services):
    opened_to(services, ANNA_EDITS)
    services.membership.set_members(ANNA, 1, [ANNA_EDITS, EVERYBODY_READS])
    (found, *_) = services.audit_log.search(Filter(action="collection.members"), CONSOLE).events
    assert (found.actor_id, found.target, found.outcome) == ("anna", "Vault", "succeeded")
    assert found.detail["members_before"] == ["editor: anna"]
    assert len(found.detail["members"]) == 2


def test_a_group_that_was_deleted_while_the_dialog_was_open_is_left_out(services):
    services.membership.set_members(CONSOLE, 1, [ANNA_EDITS, Member(Access.READER, group_id=98_765)])
    assert services.membership.members(CONSOLE, 1) == [Member(Access.EDITOR, person_id="anna", name="anna")]


# The filter is inside the queries


def test_the_collections_are_part_of_the_full_text_query(services):
    statements: list[str] = []

    def note(_connection, _cursor, statement, *_):
        statements.append(statement)

    event.listen(services.database.engine, "before_cursor_execute", note)
    try:
        assert services.lexical.search("marzipan vault", [1], 5).chunks
        assert services.lexical.search("marzipan vault", [2], 5).chunks == []
        assert services.lexical.search("marzipan vault", [], 5).chunks == []
    finally:
        event.remove(services.database.engine, "before_cursor_execute", note)
    searches = [statement for statement in statements if "MATCH" in statement]
    assert searches
    assert all("collection_id IN" in statement for statement in searches)


def test_the_collections_are_part_of_the_vector_query(services):
    vector = services.embedder.embed_query(SECRET)
    assert [hit.chunk_id for hit in services.vector_store.search(vector, [1], 5)] == [1]
    assert services.vector_store.search(vector, [2], 5) == []
    assert services.vector_store.search(vector, [], 5) == []


def test_many_better_hits_in_foreign_collections_do_not_crowd_out_ones_own(services):
    """A filter after the search would find nothing among the best thirty."""
    with services.database.session() as session:
        session.add(Collection(id=50, name="Crowd", created_by="ben"))
        session.flush()
        file = {"format": "docx", "size_bytes": 1, "sha256": "1" * 64, "title": "crowd.docx"}
        session.add(Document(id=50, collection_id=50, uploaded_by="ben", state="ready", **file))
        session.flush()
        place = {"document_id": 50, "collection_id": 50, "segments": [[1, 0]], "tokens": 9, "embedded": True}
        crowd = [Chunk(id=1000 + n, ordinal=n, text=f"marzipan vault midnight {n}", **place) for n in range(80)]
        session.add_all(crowd)
        session.flush()
        services.lexical.add(session, crowd)
    same = services.embedder.embed_query(SECRET)
    where = [{"document_id": 50, "collection_id": 50}] * 80
    services.vector_store.upsert([chunk.id for chunk in crowd], [same] * 80, where)
    opened_to(services, ANNA_READS)
    answer = services.ask.stream("marzipan vault midnight", actor=ANNA)
    assert [passage.chunk_id for passage in answer.passages] == [1]
    services.library.finish_delete(50)
