"""Which passwords are taken, and how they are kept; how names are compared."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher

from services.accounts.names import checked, folded
from services.accounts.passwords import Passwords
from services.errors import BadInput
from tests.fakes import QuickPasswords

GOOD = "four words in a row"


@pytest.fixture(scope="module")
def passwords():
    return Passwords(10)


def test_a_password_is_kept_as_argon2id_with_its_own_salt(passwords):
    first, second = passwords.hash(GOOD, name="anna"), passwords.hash(GOOD, name="anna")
    assert first.startswith("$argon2id$v=19$m=65536,")
    assert first != second
    assert passwords.matches(first, GOOD)
    assert not passwords.matches(first, GOOD + " ")
    assert not passwords.matches(first, "")


@pytest.mark.parametrize("good", [GOOD, "密码由很多个汉字组成的", "pässwörter!", " space around ", "x7#kQ2!pLm"])
def test_long_and_uncommon_passwords_are_taken_in_every_script(good):
    passwords = QuickPasswords()
    assert passwords.matches(passwords.hash(good, name="anna"), good)


@pytest.mark.parametrize(
    "bad",
    [
        *("", "short", "123456789", "1234567890", "qwertyuiop", "password123", "PassWord123", "aaaaaaaaaaaa"),
        *("ababababab", "anna.likes.tea", "my name is ANNA", "x" * 201),
    ],
)
def test_short_common_and_obvious_passwords_are_refused(bad):
    with pytest.raises(BadInput):
        QuickPasswords().hash(bad, name="anna")


def test_no_hash_and_a_broken_hash_match_nothing(passwords):
    assert not passwords.matches(None, "nobody's password")
    assert not passwords.matches("not a hash", GOOD)
    assert not passwords.matches("", GOOD)


def test_a_missing_hash_takes_as_long_as_a_wrong_password(passwords):
    stored = passwords.hash(GOOD, name="anna")

    def quickest_s(hash_: str | None) -> float:
        spent = []
        for _ in range(5):
            began = time.perf_counter()
            passwords.matches(hash_, "wrong password")
            spent.append(time.perf_counter() - began)
        return min(spent)

    assert 0.5 < quickest_s(None) / quickest_s(stored) < 2


def test_the_dummy_hash_costs_what_the_real_ones_cost(passwords):
    hasher = PasswordHasher()
    assert not hasher.check_needs_rehash(passwords.hash(GOOD, name="anna"))
    assert not hasher.check_needs_rehash(passwords._nobody)


def test_a_megabyte_of_password_is_cut_before_it_is_hashed(passwords):
    began = time.perf_counter()
    assert not passwords.matches(passwords._nobody, "x" * 1_000_000)
    assert time.perf_counter() - began < 5


def test_many_at_once_are_right_too():
    passwords = QuickPasswords()
    stored = passwords.hash(GOOD, name="anna")
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda n: passwords.matches(stored, GOOD if n % 2 else "wrong password"), range(48)))
    assert found == [bool(n % 2) for n in range(48)]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Li.Na@Example.com", "li.na@example.com"),
        ("ｌｉ．ｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "li.na@example.com"),
        ("  li   na ", "li na"),
        ("李娜", "李娜"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("o\u0308zil", "\u00f6zil"),
    ],
)
def test_a_name_is_the_same_however_it_is_typed(typed, name):
    assert folded(typed) == name
    assert checked(typed) == name


@pytest.mark.parametrize(
    "bad", ["", " ", "a\x00b", "a\u202eb", "<b>", "a/b", "a'b", 'a"b', "a;b", "x" * 101, "a\u200bb"]
)
def test_what_is_no_name_is_refused(bad):
    with pytest.raises(BadInput):
        checked(bad)
