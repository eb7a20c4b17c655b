"""What administrators do with accounts and groups, each act with its event."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from db.database import Database
from services.accounts.accounts import Accounts
from services.accounts.people import People
from services.audit.filters import Filter
from services.audit.log import AuditLog
from services.audit.trail import AuditTrail, open_audit
from services.errors import AuditUnavailable, BadInput, Denied, NotFound, SignInRefused
from services.permissions import CONSOLE, Role
from tests.fakes import ADMIN, AUDITOR, PASSWORD, USER, FakeClock, QuickPasswords, add_people


@pytest.fixture
def settings(fresh):
    return fresh()


@pytest.fixture
def database(settings):
    database = Database.open(settings.database_path)
    add_people(database, ADMIN, USER, AUDITOR)
    yield database
    database.close()


@pytest.fixture
def audit(settings):
    audit_database = open_audit(settings)
    trail = AuditTrail(audit_database, settings)
    trail.database = audit_database
    yield trail
    trail.close()
    audit_database.close()


@pytest.fixture
def accounts(database, settings, audit):
    return Accounts(database, settings, audit, passwords=QuickPasswords())


@pytest.fixture
def people(database, accounts, audit):
    return People(database, accounts, audit)


@pytest.fixture
def events(audit, settings):
    """events(): (action, outcome, actor id, target) of all that was recorded, oldest first."""
    log = AuditLog(audit.database, audit, settings)

    def read():
        found = log.search(Filter(), CONSOLE, limit=500).events
        return [
            (event.action, event.outcome, event.actor_id, event.target)
            for event in reversed(found)
            if event.action != "audit.read"
        ]

    return read


def view(people: People, name: str):
    return next(person for person in people.list(ADMIN) if person.name == name)


def sign_in(accounts: Accounts, name: str, password: str = PASSWORD) -> str:
    return accounts.sign_in(name, password, address="10.0.0.1", browser="Firefox")


def test_an_invitation_becomes_an_account_with_the_persons_own_password(people, accounts):
    _id, token = people.invite(ADMIN, "Li.Na@Example.com", [Role.USER], full_name=" Li Na ", email="li.na@example.com")
    invited = view(people, "li.na@example.com")
    assert (invited.method, invited.full_name, invited.roles) == ("invited", "Li Na", {Role.USER})
    with pytest.raises(SignInRefused):
        sign_in(accounts, "li.na@example.com")
    accounts.use_link(token, PASSWORD)
    assert accounts.identify(sign_in(accounts, "LI.NA@example.com")).name == "Li Na"
    used = view(people, "li.na@example.com")
    assert used.method == "password"
    assert used.seen_at is not None


def test_a_name_is_one_persons_however_it_is_written(people):
    people.invite(ADMIN, "li.na@example.com", [Role.USER])
    for same in ("li.na@example.com", "LI.NA@EXAMPLE.COM", "ｌｉ．ｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ", " li.na@example.com "):
        with pytest.raises(BadInput):
            people.invite(ADMIN, same, [Role.USER])


def test_of_eight_invitations_of_one_name_at_once_one_is_made(people):
    def invite(_number: int) -> bool:
        try:
            people.invite(ADMIN, "wang", [Role.USER])
        except BadInput:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(invite, range(8))) == 1


@pytest.mark.parametrize("roles", [[], ["root"]])
def test_an_account_needs_a_role_that_there_is(people, roles):
    with pytest.raises((BadInput, ValueError)):
        people.invite(ADMIN, "wang", roles)
    assert "wang" not in {person.name for person in people.list(ADMIN)}


def test_other_roles_take_effect_and_end_the_sessions(people, accounts):
    person_id, token = people.invite(ADMIN, "wang", [Role.USER])
    accounts.use_link(token, PASSWORD)
    session = sign_in(accounts, "wang")
    people.set_roles(ADMIN, person_id, [Role.AUDITOR, Role.USER])
    assert accounts.identify(session) is None
    assert accounts.identify(sign_in(accounts, "wang")).roles == {Role.AUDITOR, Role.USER}


def test_a_disabled_account_is_out_at_once_and_comes_back_when_it_is_enabled(people, accounts):
    person_id, token = people.invite(ADMIN, "wang", [Role.USER])
    accounts.use_link(token, PASSWORD)
    session = sign_in(accounts, "wang")
    people.disable(ADMIN, person_id)
    assert accounts.identify(session) is None
    with pytest.raises(SignInRefused):
        sign_in(accounts, "wang")
    people.enable(ADMIN, person_id)
    assert accounts.identify(session) is None
    assert sign_in(accounts, "wang")


def test_a_reset_gives_a_link_and_leaves_the_old_password_until_it_is_used(people, accounts):
    person_id, token = people.invite(ADMIN, "wang", [Role.USER])
    accounts.use_link(token, PASSWORD)
    first, second = people.reset(ADMIN, person_id), people.reset(ADMIN, person_id)
    with pytest.raises(SignInRefused):
        accounts.use_link(first, "another long password")
    assert sign_in(accounts, "wang")
    accounts.use_link(second, "another long password")
    with pytest.raises(SignInRefused):
        sign_in(accounts, "wang")


def test_ones_own_account_is_protected(people):
    for act in (
        lambda: people.disable(ADMIN, ADMIN.id),
        lambda: people.enable(ADMIN, ADMIN.id),
        lambda: people.set_roles(ADMIN, ADMIN.id, list(Role)),
    ):
        with pytest.raises(Denied):
            act()
    assert view(people, ADMIN.name).roles == {Role.ADMIN}


def test_groups_are_made_once_filled_and_removed(people):
    lab, office = people.add_group(ADMIN, "Lab"), people.add_group(ADMIN, " Office ")
    assert people.add_group(ADMIN, "Lab") == lab
    people.set_groups(ADMIN, USER.id, [lab, office, 999])
    people.set_groups(ADMIN, AUDITOR.id, [lab])
    assert {group.name: group.members for group in people.groups(ADMIN)} == {"Lab": 2, "Office": 1}
    people.set_groups(ADMIN, USER.id, [office])
    people.remove_group(ADMIN, lab)
    assert view(people, USER.name).groups == (office,)
    assert [group.name for group in people.groups(ADMIN)] == ["Office"]
    with pytest.raises(NotFound):
        people.remove_group(ADMIN, lab)
    with pytest.raises(BadInput):
        people.add_group(ADMIN, "  ")


@pytest.mark.parametrize("act", ["reset", "unlock", "disable", "enable"])
def test_an_id_of_nobody_is_not_found(people, act):
    with pytest.raises(NotFound):
        getattr(people, act)(ADMIN, "0" * 32)


def test_every_act_leaves_its_event(people, accounts, events):
    person_id, token = people.invite(ADMIN, "wang", [Role.USER])
    accounts.use_link(token, PASSWORD)
    sign_in(accounts, "wang")
    people.set_roles(ADMIN, person_id, [Role.AUDITOR])
    group = people.add_group(ADMIN, "Lab")
    people.set_groups(ADMIN, person_id, [group])
    people.remove_group(ADMIN, group)
    people.disable(ADMIN, person_id)
    people.enable(ADMIN, person_id)
    people.unlock(ADMIN, person_id)
    people.reset(ADMIN, person_id)
    with pytest.raises(BadInput):
        people.invite(ADMIN, "wang", [Role.USER])
    assert events() == [
        ("people.invite", "succeeded", ADMIN.id, "wang"),
        ("password.change", "succeeded", person_id, "wang"),
        ("sign_in", "succeeded", person_id, ""),
        ("people.change", "succeeded", ADMIN.id, "wang"),
        ("people.groups", "succeeded", ADMIN.id, "Lab"),
        ("people.groups", "succeeded", ADMIN.id, "wang"),
        ("people.groups", "succeeded", ADMIN.id, "Lab"),
        ("people.disable", "succeeded", ADMIN.id, "wang"),
        ("people.enable", "succeeded", ADMIN.id, "wang"),
        ("people.unlock", "succeeded", ADMIN.id, "wang"),
        ("people.reset", "succeeded", ADMIN.id, "wang"),
        ("people.invite", "failed", ADMIN.id, "wang"),
    ]


def test_ones_own_acts_leave_events_too(people, accounts, events):
    _id, token = people.invite(ADMIN, "wang", [Role.USER])
    accounts.use_link(token, PASSWORD)
    session = sign_in(accounts, "wang")
    wang = accounts.identify(session)
    accounts.change_password(wang, PASSWORD, "another long password", keep=session)
    with pytest.raises(SignInRefused):
        accounts.change_password(wang, "wrong password", "one more long password")
    accounts.sign_out_everywhere(wang)
    accounts.sign_out(session, wang)
    assert [(action, outcome) for action, outcome, actor, _target in events() if actor == wang.id][2:] == [
        ("password.change", "succeeded"),
        ("password.change", "failed"),
        ("session.revoke", "succeeded"),
        ("sign_out", "succeeded"),
    ]


def test_no_event_holds_a_password_or_a_token(people, accounts, audit, settings):
    _id, token = people.invite(ADMIN, "wang", [Role.USER])
    accounts.use_link(token, PASSWORD)
    session = sign_in(accounts, "wang")
    with pytest.raises(SignInRefused):
        sign_in(accounts, "a password typed as a name", "another one")
    files = [path.read_bytes() for path in settings.home.glob("audit.sqlite3*")]
    for secret in (token, PASSWORD, session, "typed as a name", "another one"):
        assert not [1 for content in files if secret.encode() in content], secret


def test_what_cannot_be_recorded_is_not_done(people, audit):
    audit.close()
    with pytest.raises(AuditUnavailable):
        people.invite(ADMIN, "wang", [Role.USER])
    with pytest.raises(AuditUnavailable):
        people.disable(ADMIN, USER.id)
    assert {person.name for person in people.list(ADMIN)} == {ADMIN.name, USER.name, AUDITOR.name}
    assert not view(people, USER.name).disabled


def test_the_first_administrators_link_is_for_an_empty_portal_only(fresh, tmp_path):
    settings = fresh()
    database, audit_database = Database.open(settings.database_path), open_audit(settings)
    audit, clock = AuditTrail(audit_database, settings), FakeClock()
    accounts = Accounts(database, settings, audit, clock=clock, passwords=QuickPasswords())
    first = accounts.first_admin_link()
    second = accounts.first_admin_link()
    with pytest.raises(SignInRefused):
        accounts.use_link(first, PASSWORD, name="root")  # a newer one was printed
    with pytest.raises(BadInput):
        accounts.use_link(second, PASSWORD, name="<root>")
    clock.forward(hours=settings.link_hours + 1)
    with pytest.raises(SignInRefused):
        accounts.use_link(second, PASSWORD, name="root")
    third = accounts.first_admin_link()
    people = People(database, accounts, audit)
    people.invite(CONSOLE, "made.on.the.console", [Role.ADMIN])
    with pytest.raises(SignInRefused):
        accounts.use_link(third, PASSWORD, name="root")
    assert accounts.first_admin_link() is None
    assert [person.name for person in people.list(CONSOLE)] == ["made.on.the.console"]
    audit.close()
    audit_database.close()
    database.close()


def test_of_many_first_administrators_at_once_there_is_one(fresh):
    settings = fresh()
    database, audit_database = Database.open(settings.database_path), open_audit(settings)
    audit = AuditTrail(audit_database, settings)
    accounts = Accounts(database, settings, audit, passwords=QuickPasswords())
    token = accounts.first_admin_link()

    def claim(number: int) -> bool:
        try:
            accounts.use_link(token, PASSWORD, name=f"root{number}")
        except SignInRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(8))) == 1
    assert len(People(database, accounts, audit).list(CONSOLE)) == 1
    audit.close()
    audit_database.close()
    database.close()
