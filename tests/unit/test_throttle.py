"""Guessing passwords costs time: by name, by address, in a row and all at once. The clock is put forward by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from db.database import Database
from services.accounts.accounts import Accounts
from services.accounts.people import People
from services.accounts.throttle import BY_ADDRESS, BY_NAME, Rule, Throttle
from services.audit.trail import AuditTrail, open_audit
from services.errors import Denied, SignInRefused, TooManyAttempts
from services.permissions import Role
from tests.fakes import ADMIN, ANNA, PASSWORD, USER, FakeClock, QuickPasswords, add_people

HOUR_S = 3600


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def settings(fresh):
    return fresh()


@pytest.fixture
def database(settings):
    database = Database.open(settings.database_path)
    yield database
    database.close()


@pytest.fixture
def throttle(database, clock):
    return Throttle(database, clock)


@pytest.fixture
def audit(settings, clock):
    audit_database = open_audit(settings)
    trail = AuditTrail(audit_database, settings, clock=clock)
    yield trail
    trail.close()
    audit_database.close()


@pytest.fixture
def accounts(database, settings, audit, clock):
    accounts = Accounts(database, settings, audit, clock=clock, passwords=QuickPasswords())
    add_people(database, ANNA, ADMIN, USER, password_hash=accounts.passwords.hash(PASSWORD, name=""))
    return accounts


def got_through(throttle: Throttle, clock: FakeClock, names, addresses) -> int:
    """Of a thousand attempts, spread over an hour, how many had their password looked at."""
    through = 0
    for name, address in zip(names, addresses, strict=True):
        try:
            throttle.attempt(name, address)
            through += 1
        except TooManyAttempts:
            pass
        clock.forward(seconds=HOUR_S / 1000)
    return through


def test_a_thousand_attempts_at_one_name_in_an_hour_are_a_dozen_and_a_half(throttle, clock):
    """From a new address each time: a botnet. 5 free, then 1 s, 2 s, … 15 min."""
    addresses = [f"10.0.{n // 250}.{n % 250}" for n in range(1000)]
    assert 10 <= got_through(throttle, clock, ["anna"] * 1000, addresses) <= 18


def test_a_thousand_names_from_one_address_in_an_hour_are_less_than_fifty(throttle, clock):
    """One password tried with everybody. 30 free, then 1 s, 2 s, … 5 min."""
    names = [f"name{n}" for n in range(1000)]
    assert 30 <= got_through(throttle, clock, names, ["10.0.0.1"] * 1000) <= 50


def test_a_hundred_attempts_at_once_are_throttled_like_a_hundred_in_a_row(throttle):
    def attempt(number: int) -> bool:
        try:
            throttle.attempt("anna", f"10.0.0.{number}")
        except TooManyAttempts:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(100))) == BY_NAME.free


def test_a_wait_grows_and_is_bounded():
    for rule in (BY_NAME, BY_ADDRESS):
        waits = [rule.wait_s(failures) for failures in range(10_000)]
        assert waits[: rule.free] == [0.0] * rule.free
        assert waits == sorted(waits)
        assert waits[-1] == rule.longest_s


def test_a_refused_attempt_does_not_lengthen_the_wait(throttle, clock):
    for _ in range(BY_NAME.free):
        throttle.attempt("anna", "10.0.0.1")
    for _ in range(50):
        with pytest.raises(TooManyAttempts):
            throttle.attempt("anna", "10.0.0.1")
    clock.forward(seconds=Rule(BY_NAME.free, 9, 9).wait_s(BY_NAME.free))
    assert throttle.attempt("anna", "10.0.0.1") == BY_NAME.free + 1


def test_the_message_names_the_seconds_to_wait(throttle):
    for _ in range(BY_NAME.free):
        throttle.attempt("anna", "10.0.0.1")
    with pytest.raises(TooManyAttempts) as refused:
        throttle.attempt("anna", "10.0.0.1")
    assert refused.value.params["seconds"] == 2


def test_success_forgets_the_name_and_does_not_charge_the_address(throttle):
    for _ in range(200):
        throttle.attempt("anna", "10.0.0.1")
        throttle.succeeded("anna", "10.0.0.1")
    assert throttle.attempt("anna", "10.0.0.1") == 1


def test_somebody_elses_success_does_not_clear_the_address_of_an_attacker(throttle, clock):
    for number in range(BY_ADDRESS.free):
        throttle.attempt(f"name{number}", "10.0.0.1")
    with pytest.raises(TooManyAttempts):
        throttle.attempt("one more", "10.0.0.1")
    clock.forward(seconds=2)
    throttle.attempt("mallory", "10.0.0.1")
    throttle.succeeded("mallory", "10.0.0.1")
    with pytest.raises(TooManyAttempts):
        throttle.attempt("another", "10.0.0.1")


def test_after_a_day_without_attempts_all_is_forgotten(throttle, clock):
    for _ in range(BY_NAME.free):
        throttle.attempt("anna", "10.0.0.1")
    clock.forward(seconds=BY_NAME.forget_s + 1)
    assert throttle.attempt("anna", "10.0.0.1") == 1


def test_waits_survive_a_restart(throttle, database, clock):
    for _ in range(BY_NAME.free):
        throttle.attempt("anna", "10.0.0.1")
    with pytest.raises(TooManyAttempts):
        Throttle(database, clock).attempt("anna", "10.0.0.1")


# The lock


def sign_in(accounts: Accounts, password: str) -> str:
    return accounts.sign_in(ANNA.name, password, address="10.0.0.1", browser="")


def guess_until_locked(accounts: Accounts, clock: FakeClock, settings) -> None:
    for _ in range(settings.sign_in_lock_after + 1):
        with pytest.raises(SignInRefused):
            sign_in(accounts, "wrong password")
        clock.forward(seconds=BY_NAME.longest_s)


def test_an_account_is_locked_after_too_many_wrong_passwords_and_no_wait_helps(accounts, clock, settings):
    guess_until_locked(accounts, clock, settings)
    clock.forward(days=30)
    with pytest.raises(SignInRefused):
        sign_in(accounts, PASSWORD)


def test_only_an_administrator_lifts_a_lock(accounts, clock, settings, database, audit):
    guess_until_locked(accounts, clock, settings)
    people = People(database, accounts, audit)
    assert [person.locked for person in people.list(ADMIN) if person.id == ANNA.id] == [True]
    with pytest.raises(Denied):
        people.unlock(USER, ANNA.id)
    people.unlock(ADMIN, ANNA.id)
    assert sign_in(accounts, PASSWORD)


def test_a_one_time_link_lifts_a_lock_too(accounts, clock, settings, database, audit):
    guess_until_locked(accounts, clock, settings)
    accounts.use_link(People(database, accounts, audit).reset(ADMIN, ANNA.id), "another long password")
    assert sign_in(accounts, "another long password")


def test_a_right_password_before_the_lock_starts_the_count_anew(accounts, clock, settings):
    for _ in range(3):
        for _ in range(settings.sign_in_lock_after - 1):
            with pytest.raises(SignInRefused):
                sign_in(accounts, "wrong password")
            clock.forward(seconds=BY_NAME.longest_s)
        assert sign_in(accounts, PASSWORD)


def test_guessing_ones_old_password_on_the_account_page_is_throttled_too(accounts):
    outcomes = []
    for _ in range(BY_NAME.free + 1):
        with pytest.raises(SignInRefused) as refused:
            accounts.change_password(ANNA, "wrong password", "a new long password")
        outcomes.append(type(refused.value))
    assert outcomes == [SignInRefused] * BY_NAME.free + [TooManyAttempts]


def test_the_actor_that_signs_in_has_the_roles_of_the_account(accounts):
    assert accounts.identify(sign_in(accounts, PASSWORD)).roles == frozenset(Role)
