"""The operator's console. Every command takes --json; exit status 0 done, 1 refused or failed, 2 wrong usage."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from commands.base import command, operations
from commands.engines import engine, models
from db.database import Database
from services import console
from services.engines.catalogue import Catalogue
from services.engines.models import ModelStore
from services.errors import PortalError
from services.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
documents = typer.Typer(no_args_is_help=True, help="Documents and their index.")
users = typer.Typer(no_args_is_help=True, help="People who may sign in.")
audit = typer.Typer(no_args_is_help=True, help="The record of who did what.")
evaluate = typer.Typer(no_args_is_help=True, help="Measurements on evaluation data.")
app.add_typer(models, name="models")
app.add_typer(engine, name="engine")
app.add_typer(documents, name="documents")
app.add_typer(users, name="users")
app.add_typer(audit, name="audit")
app.add_typer(evaluate, name="eval")

DEFAULT_COLLECTION = "Documents"


@app.command()
def serve() -> None:
    """Run the portal until Ctrl-C."""
    settings = Settings()
    console.log_to_file(settings)
    from server import serve as serve_portal

    try:
        print(f"Zhiku: http://{settings.host}:{settings.port}  (Ctrl-C stops)", file=sys.stderr, flush=True)
        serve_portal(settings)
    except PortalError as error:
        console.print_error(error, as_json=False)
        raise typer.Exit(1) from error


@command(app, "setup")
def setup() -> dict:
    """Make this machine ready: database, and the default model fetched, verified and converted."""
    settings = Settings()
    started = time.monotonic()
    Database.open(settings.database_path).close()
    _model_store().ensure(settings.chat_model, console.Progress())
    return {"model": settings.chat_model, "home": str(settings.home), "seconds": round(time.monotonic() - started, 1)}


@command(documents, "add")
def documents_add(
    paths: list[Path], collection: str = DEFAULT_COLLECTION, wait: Annotated[bool, typer.Option()] = True
) -> dict:
    """Add PDF and Word files, or folders of them, and wait until they are read and embedded."""
    with operations() as run:
        result = run("documents_add", paths=[str(path.resolve()) for path in paths], collection=collection)
        ids = {document["id"] for document in result["added"]}
        if wait:
            result["added"] = console.wait_for_documents(run, ids)
    return result


@command(documents, "list")
def documents_list() -> dict:
    """All documents with their state."""
    with operations() as run:
        return run("documents_list")


@command(documents, "status")
def documents_status() -> dict:
    """Documents that are not ready yet, and how many are."""
    with operations() as run:
        rows = run("documents_list")["documents"]
    return {
        "ready": sum(row["state"] == "ready" for row in rows),
        "others": [row for row in rows if row["state"] != "ready"],
    }


@command(documents, "remove")
def documents_remove(document_id: int) -> dict:
    """Delete a document from disk and from every index."""
    with operations() as run:
        return run("documents_remove", document_id=document_id)


@command(documents, "reindex")
def documents_reindex(wait: Annotated[bool, typer.Option()] = True) -> dict:
    """Embed every document again, after a change of embedder."""
    with operations() as run:
        result = run("documents_reindex")
        if wait:
            console.wait_for_documents(run, {row["id"] for row in run("documents_list")["documents"]})
    return result


@command(app, "ask")
def ask(question: str, collection: str | None = None) -> dict:
    """Ask the documents; starts the chat engine if it is not running."""
    with operations() as run:
        return run("ask", question=question, collection=collection, start_engine=True)


@command(app, "code")
def code(
    requirement: str,
    language: Annotated[str, typer.Option(help="python, java or javascript.")] = "python",
    run: Annotated[bool, typer.Option("--run", help="Run the code and its tests in the sandbox.")] = False,
) -> dict:
    """Write code for a requirement; starts the chat engine if it is not running."""
    with operations() as carry_out:
        return carry_out("code", requirement=requirement, language=language, run=run, start_engine=True)


@command(app, "image")
def image(
    file: Path,
    question: str,
    page: Annotated[int, typer.Option(min=1, help="Of a PDF or TIFF.")] = 1,
) -> dict:
    """Ask about a picture; starts the chat engine if it is not running."""
    with operations() as run:
        return run("image", path=str(file.resolve()), question=question, page=page, start_engine=True)


@command(app, "demo")
def demo() -> dict:
    """Ask the samples one question in each language."""
    with operations() as run:
        return {"answers": [run("ask", question=q, start_engine=True) for q in console.DEMO_QUESTIONS]}


@command(users, "add")
def users_add(name: str, role: Annotated[list[str], typer.Option(help="user, admin, auditor; repeatable.")]) -> dict:
    """Make an account; prints the one-time link with which the person sets a password."""
    with operations() as run:
        return run("users_add", name=name, roles=role)


@command(users, "list")
def users_list() -> dict:
    """Everybody with an account."""
    with operations() as run:
        return run("users_list")


@command(users, "disable")
def users_disable(name: str) -> dict:
    """Close an account; its sessions end."""
    with operations() as run:
        return run("users_disable", name=name)


@command(users, "enable")
def users_enable(name: str) -> dict:
    """Open a closed account again."""
    with operations() as run:
        return run("users_enable", name=name)


@command(users, "unlock")
def users_unlock(name: str) -> dict:
    """Lift the lock that wrong passwords brought about."""
    with operations() as run:
        return run("users_unlock", name=name)


@command(users, "reset")
def users_reset(name: str) -> dict:
    """A one-time link for a new password."""
    with operations() as run:
        return run("users_reset", name=name)


@command(audit, "head")
def audit_head() -> dict:
    """The end of the chain: print it, keep it elsewhere."""
    with operations() as run:
        return run("audit_head")


@command(audit, "verify")
def audit_verify(head: Annotated[str, typer.Option(help="A head that was saved before.")] = "") -> dict:
    """Check the whole chain; exit status 1 when something is wrong."""
    with operations() as run:
        return run("audit_verify", head=head)


@command(audit, "search")
def audit_search(
    *,
    since: str | None = None,
    until: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    outcome: str | None = None,
    text: str | None = None,
    limit: int = 50,
    before_id: int | None = None,
) -> dict:
    """Events, newest first. Days are UTC and written like 2026-11-22."""
    chosen = {"since": since, "until": until, "actor": actor, "action": action, "outcome": outcome, "text": text}
    with operations() as run:
        return run("audit_search", limit=limit, before_id=before_id, **chosen)


@command(audit, "export")
def audit_export(
    out: Annotated[Path, typer.Option(help="Folder for the zip file.")],
    since: Annotated[str | None, typer.Option("--from")] = None,
    until: Annotated[str | None, typer.Option("--to")] = None,
) -> dict:
    """A period as one file that can be verified without the portal. Days are UTC, both included."""
    with operations() as run:
        result = run("audit_export", since=since, until=until)
    out.mkdir(parents=True, exist_ok=True)
    return result | {"file": shutil.move(result["file"], out)}


Passages = Annotated[Path, typer.Option(help="JSON lines with pid, title, text.")]
Questions = Annotated[Path, typer.Option(help="JSON lines with pid, question, answers.")]


@command(evaluate, "retrieval")
def eval_retrieval(passages: Passages, questions: Questions) -> dict:
    """nDCG@10, recall and times of retrieval, by index and fused."""
    from services.retrieval.evaluation import evaluate_retrieval

    settings = Settings()
    with console.embedder(settings) as embedder:
        return evaluate_retrieval(settings, embedder, passages, questions)


@command(evaluate, "refusal")
def eval_refusal(
    folder: Annotated[Path, typer.Option(help="Folder with xquad_en, xquad_zh and squad2_part.")],
    questions: Annotated[int, typer.Option(help="Questions per scenario.")] = 400,
    calibrate: Annotated[bool, typer.Option(help="Fit the confidence anew and keep it.")] = False,
) -> dict:
    """Share of questions refused where the answer is there, and where it is not."""
    from services.retrieval import confidence, refusal

    settings = Settings()
    with console.embedder(settings) as embedder:
        if calibrate:
            confidence.write_models(refusal.calibrate(settings, embedder, folder))
        return refusal.evaluate_refusal(settings, embedder, folder, questions)


@command(evaluate, "answers")
def eval_answers(
    passages: Passages,
    questions: Questions,
    number: Annotated[int, typer.Option(help="Questions asked.")] = 60,
    half: Annotated[str, typer.Option(help="choose or report.")] = "report",
    budgets: Annotated[str, typer.Option(help="Evidence tokens, comma-separated; empty: as set.")] = "",
) -> dict:
    """Share of right, rightly cited and refused answers of the default model, and times. Starts the engine."""
    from services.retrieval.answer_evaluation import Plan, Setup, evaluate_answers

    settings = Settings()
    chosen = tuple(int(budget) for budget in budgets.split(",") if budget) or (settings.evidence_tokens,)
    with console.services_with_engine(settings) as services:
        setup = Setup(settings, services.embedder, services.chat_model, services.catalogue, services.models)
        return evaluate_answers(setup, passages, questions, Plan(half=half, questions=number, budgets=chosen))


@command(evaluate, "code")
def eval_code(
    problems: Annotated[Path, typer.Option(help="HumanEval or HumanEval-X, JSON lines, gzipped or not.")],
    *,
    language: Annotated[str, typer.Option(help="python, java or javascript.")] = "python",
    limit: Annotated[int, typer.Option(help="Problems.")] = 80,
    skip: Annotated[int, typer.Option(help="Problems left out at the beginning.")] = 0,
    at_once: Annotated[int, typer.Option(help="Answers written at the same time.")] = 8,
    model: Annotated[str, typer.Option(help="Catalogue id; empty: the default model.")] = "",
    record: Annotated[Path | None, typer.Option(help="File for the answers.")] = None,
) -> dict:
    """pass@1 of the plain answer and with one repair round, with intervals. Starts the engine."""
    from services.code.evaluation import CodeSetup, Plan, evaluate_code

    settings = Settings(**({"chat_model": model} if model else {}), engine_max_num_seqs=max(8, at_once))
    with console.services_with_engine(settings) as services:
        setup = CodeSetup(settings, services.chat_model, services.catalogue, services.models)
        return evaluate_code(setup, problems, Plan(language, skip, limit, at_once, record))


@command(evaluate, "masking")
def eval_masking() -> dict:
    """Recall and precision of the masking of personal data, on synthetic sentences."""
    from services.audit.masking_evaluation import evaluate_masking

    return evaluate_masking()


def _model_store() -> ModelStore:
    return ModelStore(Settings(), Catalogue.load())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # orderly: engines are stopped
    app()
