"""Passwords: argon2id hashes, and which passwords are good enough."""

from __future__ import annotations

import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.errors import BadInput
from services.translation import N_

MAX_LENGTH = 200  # characters; argon2 takes more, an attacker's megabyte would only cost time
SIMULTANEOUS = 4  # hashes at a time: each takes 64 MiB and a tenth of a second


class Passwords:
    """Hashes and checks passwords. Thread-safe; no more than SIMULTANEOUS at a time."""

    def __init__(self, min_length: int) -> None:
        self.min_length = min_length
        self._hasher = PasswordHasher()
        self._turns = threading.BoundedSemaphore(SIMULTANEOUS)
        self._nobody = self._hasher.hash("nobody's password")

    def hash(self, password: str, *, name: str) -> str:
        """The argon2id hash. Raises BadInput for a password that is too short, too common, or the name itself."""
        self._check(password, name)
        with self._turns:
            return self._hasher.hash(password)

    def matches(self, stored: str | None, password: str) -> bool:
        """Whether the password belongs to the hash. Without a hash it is False, after the same time."""
        with self._turns:
            try:
                return self._hasher.verify(stored or self._nobody, password[:MAX_LENGTH]) and stored is not None
            except (VerificationError, InvalidHashError):
                return False

    def _check(self, password: str, name: str) -> None:
        if len(password) < self.min_length:
            raise BadInput(
                N_("The password is shorter than {length} characters."),
                hint=N_("A few words in a row are easy to remember and hard to guess."),
                length=self.min_length,
            )
        if len(password) > MAX_LENGTH:
            raise BadInput(N_("The password is longer than {length} characters."), length=MAX_LENGTH)
        folded = password.casefold()
        if folded in _common() or len(set(folded)) < 4 or (name and name.casefold() in folded):
            raise BadInput(
                N_("This password is too easy to guess."),
                hint=N_("Take one that is neither common nor made of your name."),
            )


@cache
def _common() -> frozenset[str]:
    """The 30,000 passwords most often found in leaks, from zxcvbn's list."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])
