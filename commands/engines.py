"""Commands about models on this machine, and about the engines that serve them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.base import command, operations
from services import console

models = typer.Typer(no_args_is_help=True, help="Models on this machine.")
engine = typer.Typer(no_args_is_help=True, help="The engines that serve the roles chat, code and vision.")

Role = Annotated[str, typer.Option(help="chat, code or vision.")]
Roles = Annotated[list[str], typer.Option("--role", help="chat, code or vision; repeatable.")]
Engine = Annotated[str | None, typer.Option(help="vllm, transformers, llama_cpp or external.")]
Context = Annotated[int | None, typer.Option(help="Longest prompt and answer together, tokens.")]
Concurrency = Annotated[int | None, typer.Option(help="Requests answered at the same time.")]


@command(models, "list")
def models_list() -> dict:
    """The catalogue: what is on this machine, and what fits it."""
    with operations() as run:
        return run("models_list")


@command(models, "fetch")
def models_fetch(model_id: str) -> dict:
    """Fetch, verify and convert a model of the catalogue; goes on where an earlier try stopped."""
    with operations() as run:
        run("models_fetch", model_id=model_id)
        return console.wait_for_download(run, model_id)


@command(models, "verify")
def models_verify(model_id: str) -> dict:
    """Compare every file of a model with its SHA-256."""
    with operations() as run:
        return run("models_verify", model_id=model_id)


@command(models, "estimate")
def models_estimate(
    model_id: str, context: Context = None, concurrency: Concurrency = None, engine: Engine = None
) -> dict:
    """Will it fit? Memory by parts against what is free, and what would fit if it does not."""
    with operations() as run:
        return run("models_estimate", model_id=model_id, **_settings(context, concurrency, engine))


@command(models, "remove")
def models_remove(model_id: str) -> dict:
    """Delete a model's files."""
    with operations() as run:
        return run("models_remove", model_id=model_id)


@command(models, "add-hub")
def models_add_hub(
    repo: str,
    hub: Annotated[str, typer.Option(help="huggingface or modelscope.")] = "huggingface",
    revision: Annotated[str, typer.Option(help="Branch, tag or commit; empty: the newest.")] = "",
    role: Roles = (),
) -> dict:
    """Add a repository of a model hub to the catalogue."""
    with operations() as run:
        return run("models_add", source=hub, repo=repo, revision=revision, roles=list(role))


@command(models, "add-folder")
def models_add_folder(path: Path, name: Annotated[str, typer.Option()], role: Roles = ()) -> dict:
    """Copy a model from a folder of this machine."""
    with operations() as run:
        return run("models_add", source="folder", path=str(path.resolve()), name=name, roles=list(role))


@command(models, "add-external")
def models_add_external(
    url: Annotated[str, typer.Argument(help="Of its OpenAI API, e.g. http://gpu7.example/v1")],
    model: Annotated[str, typer.Option(help="What the server calls the model.")],
    name: Annotated[str, typer.Option(help="What the portal calls it.")],
    role: Roles = (),
    api_key: Annotated[
        str,
        typer.Option(
            envvar="ZHIKU_ENDPOINT_KEY",
            help="The server's key. Better by the variable: others on this machine can read command lines.",
        ),
    ] = "",
) -> dict:
    """Use a server elsewhere that speaks the OpenAI API."""
    with operations() as run:
        where = {"url": url, "model": model, "api_key": api_key}
        return run("models_add", source="external", name=name, roles=list(role), **where)


@command(models, "export")
def models_export(model_id: str, out: Annotated[Path, typer.Option(help="Folder for the file.")]) -> dict:
    """One file with a model and its hashes, to be carried to a machine without a network."""
    with operations() as run:
        return run("models_export", model_id=model_id, folder=str(out.resolve()))


@command(models, "import")
def models_import(path: Path) -> dict:
    """Take a model from a file that `export` made."""
    with operations() as run:
        return run("models_import", path=str(path.resolve()))


@command(engine, "status")
def engine_status() -> dict:
    """What serves each role, with its state and the reason of it."""
    with operations() as run:
        return run("engine_status")


@command(engine, "start")
def engine_start(
    model_id: Annotated[str | None, typer.Argument()] = None,
    role: Role = "chat",
    engine: Engine = None,
    context: Context = None,
    concurrency: Concurrency = None,
) -> dict:
    """Start a role's engine (with this model) and wait until it is ready."""
    with operations() as run:
        settings = _settings(context, concurrency, engine)
        return run("engine_start", model_id=model_id, role=role, **settings)


@command(engine, "stop")
def engine_stop(role: Annotated[str, typer.Argument()] = "chat") -> dict:
    """Stop a role's engine; done when no process of it lives."""
    with operations() as run:
        return run("engine_stop", role=role)


@command(engine, "switch")
def engine_switch(
    role: str,
    model_id: str,
    *,
    engine: Engine = None,
    context: Context = None,
    concurrency: Concurrency = None,
    anyway: Annotated[bool, typer.Option(help="Although it does not fit by the estimate.")] = False,
) -> dict:
    """Switch a role to another model without losing a question; the old one goes on if the new one fails."""
    with operations() as run:
        settings = _settings(context, concurrency, engine)
        run("engine_switch", role=role, model_id=model_id, anyway=anyway, **settings)
        return console.wait_for_rollout(run)


@command(engine, "logs")
def engine_logs(role: Annotated[str, typer.Argument()] = "chat", lines: int = 200) -> dict:
    """The end of a role's engine log."""
    with operations() as run:
        return run("engine_logs", role=role, lines=lines)


def _settings(context: int | None, concurrency: int | None, engine: str | None) -> dict:
    return {"context_tokens": context, "max_num_seqs": concurrency, "engine": engine}
