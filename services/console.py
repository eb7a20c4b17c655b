"""What cli.py shares between its commands: where an operation runs, and how its result is printed."""

from __future__ import annotations

import inspect
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any

from services.errors import PortalError
from services.ownership import Ownership
from services.settings import Settings
from services.translation import N_

if TYPE_CHECKING:
    from services.bootstrap import Services
    from services.retrieval.embedding import Embedder

Run = Callable[..., dict]

DEMO_QUESTIONS = ("未休完的年休假最多可以结转几天？", "How do I connect to the VPN?")
OPERATION_TIMEOUT_S = 1800
POLL_S = 0.5


@contextmanager
def local_operations(settings: Settings, ownership: Ownership) -> Iterator[Run]:
    """Operations in this process, which holds the ownership. An engine started for one question only is stopped."""
    from services.bootstrap import build
    from services.operations import Operations

    services = build(settings)
    try:
        services.deployments.adopt()
        services.ingest.start()
        operations = Operations(services)
        yield lambda name, /, **arguments: operations.run(name, arguments)
    finally:
        services.close(stop_engines=operations.started_engine)
        ownership.release()


@contextmanager
def services_with_engine(settings: Settings) -> Iterator[Services]:
    """The services with a ready engine, for measurements: no portal may run on the same PORTAL_HOME."""
    from services.bootstrap import build

    ownership = Ownership(settings.home)
    ownership.require()
    services = build(settings)
    try:
        services.deployments.adopt()
        services.deployments.start("chat", settings.chat_model)
        services.deployments.wait_ready("chat", settings.engine_start_timeout_s)
        services.deployments.endpoint("chat")
        yield services
    finally:
        services.close()
        ownership.release()


@contextmanager
def embedder(settings: Settings) -> Iterator[Embedder]:
    """The embedder alone."""
    from services.retrieval.embedding import make_embedder

    made = make_embedder(settings)
    try:
        yield made
    finally:
        made.close()


def remote_operations(ownership: Ownership) -> Run:
    """Operations in the running portal, through its operator door."""
    import httpx

    door = ownership.door()
    if door is None:
        ownership.require()
        raise PortalError(N_("The portal is just starting or stopping."), hint=N_("Try again in a few seconds."))
    client = httpx.Client(base_url=door.url, headers={"Authorization": f"Bearer {door.token}"}, trust_env=False)

    def run(name: str, /, **arguments: Any) -> dict:
        try:
            response = client.post(f"/operator/{name}", json=arguments, timeout=OPERATION_TIMEOUT_S)
        except httpx.TransportError as error:
            raise PortalError(
                N_("The portal does not answer at {url}."), hint=N_("Look at its log, or restart it."), url=door.url
            ) from error
        if response.status_code == httpx.codes.CONFLICT:
            raise PortalError.from_record(response.json())
        if response.is_error:
            raise PortalError(
                N_("The portal could not carry this out (status {status})."),
                hint=N_("Its log says why: portal.log in PORTAL_HOME."),
                status=response.status_code,
            )
        return response.json()

    return run


def wait_for_documents(run: Run, ids: set[int]) -> list[dict]:
    """Poll until the documents are ready or failed, with a progress line on standard error."""
    while True:
        rows = [row for row in run("documents_list")["documents"] if row["id"] in ids]
        waiting = [row for row in rows if row["state"] not in ("ready", "failed")]
        chunks = sum(row["chunks_done"] for row in rows), sum(row["chunks_total"] for row in rows)
        _progress_line(f"{len(rows) - len(waiting)}/{len(rows)} documents, {chunks[0]}/{chunks[1]} passages embedded")
        if not waiting:
            print(file=sys.stderr)
            return rows
        time.sleep(POLL_S)


def wait_for_download(run: Run, model_id: str) -> dict:
    """Poll until the model is there, with a progress line on standard error. Raises what the download failed with."""
    while True:
        views = {view["model_id"]: view for view in run("models_downloads")["downloads"]}
        view = views.get(model_id)
        if view is None or view["state"] == "done":
            print(file=sys.stderr)
            return {"id": model_id, "ready": True}
        if view["state"] in ("failed", "paused"):
            raise PortalError.from_record(view["error"]) if view["error"] else _download_paused(model_id)
        share = f"{100 * view['done'] // view['total']:3d} %" if view["total"] else ""
        _progress_line(f"  {view['step']} {share}")
        time.sleep(POLL_S)


def _download_paused(model_id: str) -> PortalError:
    return PortalError(
        N_("The download was paused."), hint=N_("It goes on with: cli.py models fetch {id}"), id=model_id
    )


def wait_for_rollout(run: Run) -> dict:
    """Poll until the rollout is over, its steps on standard error. Raises what it failed with."""
    while True:
        status = run("engine_status")
        rollout = status["rollout"]
        _progress_line(f"  {rollout['step']} {rollout['elapsed_s']:.0f} s, {rollout['queued']} questions wait")
        if rollout["step"] in ("done", "cancelled"):
            print(file=sys.stderr)
            return status
        if rollout["step"] == "failed":
            print(file=sys.stderr)
            raise PortalError.from_record(rollout["error"])
        time.sleep(POLL_S)


class Progress:
    """Progress of set-up on standard error: one line per step, with its time when the next one begins."""

    def __init__(self) -> None:
        self._step = ""
        self._since = time.monotonic()
        self._shown_at = 0.0

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.monotonic()
        if step != self._step:
            self._finish(now)
            self._step, self._since, self._shown_at = step, now, 0.0
        if now - self._shown_at >= POLL_S or done == total:
            self._shown_at = now
            share = f"{100 * done // total:3d} %" if total else ""
            _progress_line(f"  {step} {share} {now - self._since:.0f} s")

    def _finish(self, now: float) -> None:
        if self._step:
            _progress_line(f"  {self._step} done in {now - self._since:.1f} s")
            print(file=sys.stderr)


def print_error(error: PortalError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": error.to_record()}, ensure_ascii=False))
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint.format(**error.params)}", file=sys.stderr)


def print_result(name: str, result: dict, *, as_json: bool) -> None:
    """One JSON document, or the same as indented text."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False, indent=2, default=str))
        return
    for line in _as_text(result):
        print(line)


def with_json_option(function: Callable[..., Any], option: Any) -> inspect.Signature:
    """The function's signature with `--json` added: what Typer reads."""
    signature = inspect.signature(function, eval_str=True)
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)
    return signature.replace(parameters=[*signature.parameters.values(), as_json], return_annotation=None)


def log_to_file(settings: Settings) -> None:
    """The portal's log: standard error, and a rotating file in PORTAL_HOME."""
    settings.home.mkdir(parents=True, exist_ok=True)
    file = RotatingFileHandler(settings.home / "portal.log", maxBytes=5 * 1024 * 1024, backupCount=1, encoding="utf-8")
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[logging.StreamHandler(sys.stderr), file],
    )
    for chatty in ("httpx", "httpx2", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _as_text(value: Any, indent: str = "") -> Iterator[str]:
    items = value.items() if isinstance(value, dict) else (("-", item) for item in value)
    for key, item in items:
        label = key if key == "-" else f"{key}:"
        if isinstance(item, dict | list) and item:
            yield f"{indent}{label}"
            yield from _as_text(item, indent + "  ")
        elif item not in (None, "", [], {}):
            yield f"{indent}{label} {f'{item:.1f}' if isinstance(item, float) else item}"


def _progress_line(text: str) -> None:
    """Overwrites the line on a terminal; elsewhere every line stays."""
    end, start = ("", "\r\033[K") if sys.stderr.isatty() else ("\n", "")
    print(f"{start}{text}", end=end, file=sys.stderr, flush=True)
