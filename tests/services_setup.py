"""The portal's services as bootstrap wires them, but for the slow ones: the embedder and the chat model."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from services import bootstrap
from services.accounts.accounts import Accounts
from services.permissions import Actor
from services.settings import Settings
from tests.documents_setup import FakeEmbedder
from tests.fakes import FakeChatModel, QuickPasswords


@contextmanager
def built(settings: Settings, chat_model: FakeChatModel | None = None) -> Iterator[bootstrap.Services]:
    """Nothing is started; closed at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "Accounts", partial(Accounts, passwords=QuickPasswords()))
        patch.setattr(bootstrap, "make_embedder", lambda _settings: FakeEmbedder())
        patch.setattr(bootstrap, "ChatModel", lambda *_: chat_model or FakeChatModel())
        services = bootstrap.build(settings)
    try:
        yield services
    finally:
        services.close()


def methods_with_an_actor() -> dict[str, inspect.Signature]:
    """Every public method of the portal's services that acts for somebody, as "service.method"."""
    return {
        f"{field}.{name}": inspect.signature(method)
        for field, kind in typing.get_type_hints(bootstrap.Services).items()
        if inspect.isclass(kind)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and "actor" in inspect.signature(method).parameters
    }


def call(services: bootstrap.Services, method: str, actor: Actor, arguments: dict[str, object]) -> object:
    """Call "service.method" for the actor, with those of the arguments that it cannot do without or that are named
    in `arguments` under its own name. An argument that is a function is called for a fresh value. Generators are begun.
    """
    service, name = method.split(".")
    found: Callable = getattr(getattr(services, service), name)
    own = arguments.get(method, {})
    values = {"actor": actor}
    for parameter in inspect.signature(found).parameters.values():
        if parameter.name in own:
            values[parameter.name] = own[parameter.name]
        elif parameter.default is inspect.Parameter.empty and parameter.name != "actor":
            value = arguments[parameter.name]
            values[parameter.name] = value() if callable(value) else value
    result = found(**values)
    return next(result, None) if inspect.isgenerator(result) else result
