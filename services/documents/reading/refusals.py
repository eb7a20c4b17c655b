"""Refusals that several readers share."""

from __future__ import annotations

from services.errors import CorruptFile, PasswordNeeded, UnsupportedFormat
from services.translation import N_


def damaged() -> CorruptFile:
    return CorruptFile(N_("The file is damaged or incomplete."), hint=N_("Get the file again from where it came from."))


def password_needed() -> PasswordNeeded:
    return PasswordNeeded(
        N_("The file is protected by a password."), hint=N_("Enter its password on the Documents page.")
    )


def wrong_password() -> PasswordNeeded:
    return PasswordNeeded(N_("The password does not open this file."), hint=N_("Check it and enter it again."))


def rights_managed() -> UnsupportedFormat:
    return UnsupportedFormat(
        N_("The file is protected by rights management and can only be opened by its own software."),
        hint=N_("Ask its owner for an unprotected copy."),
    )
