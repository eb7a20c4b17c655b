"""Every role × every public service method that acts for somebody: allowed and refused as services.permissions says.

The pages are walked role by role in tests/ui/test_every_page.py.
"""

from __future__ import annotations

import io
import shutil
from itertools import chain, combinations

import pytest

from db.tables import Collection, Document
from services.audit.events import Action, EventOutcome
from services.audit.filters import Filter
from services.code.answer import CodeQuestion, Task
from services.documents.membership import Access, Member
from services.engines.options import DeploymentSettings
from services.engines.schedules import Schedule
from services.errors import Denied, PortalError
from services.images.question import ImageQuestion
from services.permissions import CONSOLE, GRANTS, Actor, Permission, Role
from services.settings import Settings
from tests.fakes import PASSWORD, add_people
from tests.services_setup import built, call, methods_with_an_actor

P = Permission
ANYBODY = None  # their own things, of which they have none; or a question that is answered with no
EVERY_ROLES = [frozenset(chosen) for chosen in chain.from_iterable(combinations(Role, n) for n in range(len(Role) + 1))]

METHODS: dict[str, Permission | None] = {
    "ask.conversations": P.ASK,
    "ask.delete": P.ASK,
    "ask.export_markdown": P.ASK,
    "ask.history": P.ASK,
    "ask.rate": P.ASK,
    "ask.regenerate": P.ASK,
    "ask.rename": P.ASK,
    "ask.stream": P.ASK,
    "code_help.availability": P.ASK,
    "code_help.conversations": P.ASK,
    "code_help.delete": P.ASK,
    "code_help.export_markdown": P.ASK,
    "code_help.history": P.ASK,
    "code_help.rate": P.ASK,
    "code_help.regenerate": P.ASK,
    "code_help.rename": P.ASK,
    "code_help.stream": P.ASK,
    "code_help.turns": P.ASK,
    "image_analysis.admit": P.ASK,
    "image_analysis.conversations": P.ASK,
    "image_analysis.delete": P.ASK,
    "image_analysis.export_markdown": P.ASK,
    "image_analysis.history": P.ASK,
    "image_analysis.picture": P.ASK,
    "image_analysis.rate": P.ASK,
    "image_analysis.regenerate": P.ASK,
    "image_analysis.rename": P.ASK,
    "image_analysis.stream": P.ASK,
    "image_analysis.turns": P.ASK,
    "library.add": P.EDIT_DOCUMENTS,
    "library.chunk": P.READ_DOCUMENTS,
    "library.collections": P.READ_DOCUMENTS,
    "library.delete": P.READ_DOCUMENTS,  # and an editor of its collection: see test_membership.py
    "library.editable_collections": ANYBODY,
    "library.ensure_collection": P.EDIT_DOCUMENTS,
    "library.get": P.READ_DOCUMENTS,
    "library.list": P.READ_DOCUMENTS,
    "library.managed_collections": P.MANAGE_COLLECTIONS,
    "library.reindex": P.RUN_MODELS,
    "library.retry": P.READ_DOCUMENTS,
    "library.statistics": P.READ_DOCUMENTS,
    "preview.page_image": P.READ_DOCUMENTS,
    "preview.passage": P.READ_DOCUMENTS,
    "preferences.get": ANYBODY,
    "preferences.set": ANYBODY,
    "accounts.change_password": ANYBODY,
    "accounts.has_password": ANYBODY,
    "accounts.own_sessions": ANYBODY,
    "accounts.sign_out": ANYBODY,
    "accounts.sign_out_everywhere": ANYBODY,
    "people.add_group": P.MANAGE_PEOPLE,
    "people.disable": P.MANAGE_PEOPLE,
    "people.enable": P.MANAGE_PEOPLE,
    "people.groups": P.MANAGE_PEOPLE,
    "people.invite": P.MANAGE_PEOPLE,
    "people.list": P.MANAGE_PEOPLE,
    "people.remove_group": P.MANAGE_PEOPLE,
    "people.reset": P.MANAGE_PEOPLE,
    "people.set_groups": P.MANAGE_PEOPLE,
    "people.set_roles": P.MANAGE_PEOPLE,
    "people.unlock": P.MANAGE_PEOPLE,
    "membership.candidates": P.MANAGE_COLLECTIONS,  # of a collection that one may read only
    "membership.editable": ANYBODY,
    "membership.may_read_chunks": P.READ_DOCUMENTS,
    "membership.members": P.MANAGE_COLLECTIONS,
    "membership.readable": P.READ_DOCUMENTS,
    "membership.require_editor": P.EDIT_DOCUMENTS,
    "membership.require_reader": P.READ_DOCUMENTS,
    "membership.set_members": P.MANAGE_COLLECTIONS,
    "audit_log.actors": P.READ_AUDIT,
    "audit_log.counts": P.READ_AUDIT,
    "audit_log.event": P.READ_AUDIT,
    "audit_log.export": P.READ_AUDIT,
    "audit_log.forget": P.READ_AUDIT,
    "audit_log.head": P.READ_AUDIT,
    "audit_log.save": P.READ_AUDIT,
    "audit_log.saved": P.READ_AUDIT,
    "audit_log.search": P.READ_AUDIT,
    "audit_log.verify": P.READ_AUDIT,
    "model_operations.accuracy": P.RUN_MODELS,
    "model_operations.add_external": P.RUN_MODELS,
    "model_operations.add_from_folder": P.RUN_MODELS,
    "model_operations.add_from_hub": P.RUN_MODELS,
    "model_operations.add_schedule": P.RUN_MODELS,
    "model_operations.bundles": P.RUN_MODELS,
    "model_operations.cancel_fetch": P.RUN_MODELS,
    "model_operations.cancel_rollout": P.RUN_MODELS,
    "model_operations.catalogue": P.RUN_MODELS,
    "model_operations.consult_hub": P.RUN_MODELS,
    "model_operations.downloads": P.RUN_MODELS,
    "model_operations.export_bundle": P.RUN_MODELS,
    "model_operations.fetch": P.RUN_MODELS,
    "model_operations.forget": P.RUN_MODELS,
    "model_operations.history": P.RUN_MODELS,
    "model_operations.import_bundle": P.RUN_MODELS,
    "model_operations.log": P.RUN_MODELS,
    "model_operations.pause": P.RUN_MODELS,
    "model_operations.plan": P.RUN_MODELS,
    "model_operations.remove": P.RUN_MODELS,
    "model_operations.remove_schedule": P.RUN_MODELS,
    "model_operations.resume": P.RUN_MODELS,
    "model_operations.roles": P.RUN_MODELS,
    "model_operations.roll_back": P.RUN_MODELS,
    "model_operations.rollout": P.RUN_MODELS,
    "model_operations.run_schedule": P.RUN_MODELS,
    "model_operations.samples": P.RUN_MODELS,
    "model_operations.schedules": P.RUN_MODELS,
    "model_operations.settings_for": P.RUN_MODELS,
    "model_operations.start": P.RUN_MODELS,
    "model_operations.stop": P.RUN_MODELS,
    "model_operations.switch": P.RUN_MODELS,
    "model_operations.verify": P.RUN_MODELS,
    "replays.passages": P.READ_AUDIT,
    "replays.replay": P.READ_AUDIT,
}
WRITING = {"audit.act", "audit.begin", "audit.record", "audit.require"}  # of the record itself: not offered to anybody

EDITED, READ_ONLY = 1, 2  # collections: everybody edits the one and reads the other
ARGUMENTS: dict[str, object] = {
    "question": "How many days of leave?",
    "conversation_id": "0" * 32,
    "title": "x.pdf",
    "language": "en",
    "source": lambda: io.BytesIO(b"no document"),
    "collection_id": READ_ONLY,
    "document_id": 999,
    "document": Document(id=999),
    "page": 1,
    "quotes": [],
    "chunk_id": 999,
    "chunk_ids": [999],
    "name": "somebody new",
    "value": "x",
    "token": "no token",
    "old": "wrong password",
    "new": PASSWORD,
    "person_id": "0" * 32,
    "roles": [Role.USER],
    "group_id": 999,
    "group_ids": [],
    "members": [Member(Access.READER)],
    "action": Action.DELETE,
    "chosen": Filter(),
    "event_id": 1,
    "since": None,
    "until": None,
    "head": "",
    "role": "chat",
    "model_id": "no-such-model",
    "entry_id": "no-such-model",
    "deployment_id": 999,
    "schedule_id": 999,
    "schedule": Schedule(1, "chat", "no-such-model", DeploymentSettings(), "22:00", (0,), "x", None, None),
    "settings": DeploymentSettings(),
    "kind": "huggingface",
    "repo": "nobody/nothing",
    "revision": "main",
    "path": "/no/such/file",
    "folder": "/no/such/folder",
    "url": "http://127.0.0.1:1/v1",
    "model": "x",
    "api_key": "",
    "at": "22:00",
    "days": [0],
    "question_id": 999,
    "rating": "up",
    "library.add": {"collection_id": EDITED},
    "sha256": "0" * 64,
    "image_analysis.admit": {"source": b"no picture"},
    "image_analysis.stream": {"question": ImageQuestion("What is it?", ("0" * 64,))},
    "code_help.stream": {"question": CodeQuestion(Task.EXPLAIN, "python", "", "x = 1")},
    "membership.require_editor": {"collection_id": EDITED},
}


@pytest.fixture(scope="module")
def services(migrated, tmp_path_factory):
    home = tmp_path_factory.mktemp("portal") / "home"
    shutil.copytree(migrated, home)
    with built(Settings(home=home, disk_reserve_mib=1)) as services:
        with services.database.session() as session:
            session.add_all(Collection(id=id_, name=f"Collection {id_}", created_by="test") for id_ in (1, 2))
        services.membership.set_members(CONSOLE, EDITED, [Member(Access.EDITOR)])
        services.membership.set_members(CONSOLE, READ_ONLY, [Member(Access.READER)])
        add_people(services.database, *map(person, EVERY_ROLES))
        services.audit.record(CONSOLE, Action.SETTINGS, EventOutcome.SUCCEEDED)
        yield services


def person(roles: frozenset[Role]) -> Actor:
    name = "-".join(sorted(roles)) or "no-role"
    return Actor(id=name, name=name, roles=roles)


def refused(services, method: str, actor: Actor) -> bool:
    try:
        call(services, method, actor, ARGUMENTS)
    except Denied:
        return True
    except PortalError:  # allowed, but there is nothing of that id
        return False
    return False


def test_the_table_names_every_method_that_acts_for_somebody():
    assert set(methods_with_an_actor()) - WRITING == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("roles", EVERY_ROLES, ids=lambda roles: person(roles).name)
def test_a_method_is_open_to_the_roles_that_have_its_permission(services, method: str, roles: frozenset[Role]) -> None:
    needed = METHODS[method]
    granted = needed is ANYBODY or any(needed in GRANTS[role] for role in roles)
    assert refused(services, method, person(roles)) is not granted


@pytest.mark.parametrize("roles", EVERY_ROLES, ids=lambda roles: person(roles).name)
def test_what_is_answered_with_no_instead_of_a_refusal(services, roles: frozenset[Role]) -> None:
    actor = person(roles)
    edits = actor.may(P.EDIT_DOCUMENTS)
    assert (EDITED in services.membership.editable(actor)) is edits
    assert bool(services.library.editable_collections(actor)) is edits


def test_every_permission_is_granted_by_some_role_and_asked_for_by_some_method():
    assert set(chain(*GRANTS.values())) == set(Permission)
    assert set(METHODS.values()) - {ANYBODY} == set(Permission)


def test_nobody_makes_auditors_of_themselves(services):
    admin = person(frozenset({Role.ADMIN}))
    with pytest.raises(Denied):
        services.people.set_roles(admin, admin.id, list(Role))
    with pytest.raises(Denied):
        services.people.disable(admin, admin.id)
