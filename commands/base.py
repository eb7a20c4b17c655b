"""What all commands share: how a result is printed, and where an operation runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, Any

import typer

from services import console
from services.errors import PortalError
from services.ownership import Ownership
from services.settings import Settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def command(group: typer.Typer, name: str):
    """Register a function that returns a JSON-able dict; a PortalError is printed with its hint, exit status 1.

    A result that says "ok": false is printed and has exit status 1, too.
    """

    def register(function):
        @wraps(function)
        def run(*args: Any, as_json: JsonOption = False, **kwargs: Any) -> None:
            logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
            try:
                result = function(*args, **kwargs)
            except PortalError as error:
                console.print_error(error, as_json=as_json)
                raise typer.Exit(1) from error
            console.print_result(name, result, as_json=as_json)
            if result.get("ok") is False:
                raise typer.Exit(1)

        run.__signature__ = console.with_json_option(function, JsonOption)
        group.command(name)(run)
        return function

    return register


@contextmanager
def operations() -> Iterator[Any]:
    """Callable (name, **arguments) → dict: in the running portal if there is one, else in this process."""
    settings = Settings()
    ownership = Ownership(settings.home)
    if ownership.take():
        with console.local_operations(settings, ownership) as run:
            yield run
    else:
        yield console.remote_operations(ownership)
