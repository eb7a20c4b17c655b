"""Where objects meet: one set of services, built from settings, the only place that knows every class."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from db.database import Database
from services.accounts.accounts import Accounts
from services.accounts.people import People
from services.accounts.sso import SingleSignOn
from services.ask import AskService
from services.ask_audit import AskRecorder
from services.audit.log import AuditLog
from services.audit.trail import AuditTrail, open_audit
from services.audit_replay import Replays
from services.chat_model import ChatModel
from services.code_audit import CodeRecorder
from services.code_help import CodeHelp
from services.documents.ingest import IngestQueue
from services.documents.library import Library
from services.documents.membership import Membership
from services.documents.preview import Preview
from services.engines.catalogue import Catalogue
from services.engines.corrections import Corrections
from services.engines.deployment_rows import DeploymentRows
from services.engines.deployments import Deployments
from services.engines.downloads import Downloads
from services.engines.estimator import Estimator
from services.engines.golden import DEFAULTS, GoldenPrompt
from services.engines.hardware import read_hardware
from services.engines.launchers.select import Launchers
from services.engines.models import ModelStore
from services.engines.schedules import Schedules
from services.engines.supervisor import Equipment
from services.image_analysis import ImageAnalysis
from services.image_audit import ImageRecorder
from services.images.gate import Gate
from services.images.reading import Reader
from services.images.store import ImageStore
from services.model_operations import Memory, ModelOperations
from services.permissions import CONSOLE, Actor, Role
from services.preferences import Preferences
from services.retrieval.embedding import Embedder, make_embedder
from services.retrieval.lexical import LexicalIndex
from services.retrieval.retriever import Retriever
from services.retrieval.vector_store import VectorStore
from services.sandbox.box import Sandbox
from services.settings import Settings

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
SAMPLE_COLLECTION = "Samples 示例"
SCHEDULE = Actor(id="schedule", name="schedule", roles=frozenset({Role.ADMIN}))  # planned switches act as this

log = logging.getLogger(__name__)


@dataclass
class Services:
    settings: Settings
    database: Database
    catalogue: Catalogue
    models: ModelStore
    deployments: Deployments
    downloads: Downloads
    schedules: Schedules
    model_operations: ModelOperations
    chat_model: ChatModel
    embedder: Embedder
    lexical: LexicalIndex
    vector_store: VectorStore
    retriever: Retriever
    library: Library
    ingest: IngestQueue
    preview: Preview
    ask: AskService
    code_help: CodeHelp
    image_analysis: ImageAnalysis
    preferences: Preferences
    audit: AuditTrail
    audit_log: AuditLog
    replays: Replays
    accounts: Accounts
    sso: SingleSignOn
    people: People
    membership: Membership

    def start(self) -> None:
        """Begin the background work: engines adopted or started, ingestion resumed, slow imports made early."""
        self.audit.recover()
        self.deployments.adopt()
        if self.settings.engine_autostart:
            self.deployments.resume(self.settings.chat_model)
        self.schedules.start()
        self.ingest.start()
        self._add_samples()
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()

    def close(self, *, stop_engines: bool = True) -> None:
        """End the background work; engines live on if asked to (they are adopted by the next owner)."""
        self.ingest.close()
        self.image_analysis.close()
        self.schedules.close()
        self.downloads.close()
        self.deployments.close(stop_engines=stop_engines)
        self.retriever.close()
        self.embedder.close()
        self.vector_store.close()
        self.audit.close()
        self.database.close()

    def _add_samples(self) -> None:
        """On the very first start, so that the first question works at once; deleted samples stay deleted."""
        if self.library.collections(CONSOLE):
            return
        collection = self.library.ensure_collection(SAMPLE_COLLECTION, CONSOLE)
        for path in sorted(SAMPLES.glob("*.pdf")) + sorted(SAMPLES.glob("*.docx")):
            self.library.add(path, path.name, actor=CONSOLE, collection_id=collection.id)
        self.ingest.notify()

    def _warm_up(self) -> None:
        """Imports and model loading that the first question would otherwise wait for."""
        self.retriever.warm_up()
        self.chat_model.warm_up()
        self.deployments.wait_ready("chat", self.settings.engine_start_timeout_s)
        self.chat_model.warm_up()


def build(settings: Settings) -> Services:
    """Every service, wired. Opens the database; starts nothing (see Services.start)."""
    database = Database.open(settings.database_path)
    catalogue = Catalogue.load()
    models = ModelStore(settings, catalogue)
    corrections = Corrections(database)
    launchers = Launchers(settings, models, read_hardware, models.remote)
    estimator = Estimator(models, corrections, device_of=lambda id_, chosen: launchers.for_model(id_, chosen).device)
    deployments = _deployments(settings, database, models, launchers, estimator)
    downloads = Downloads(models)
    embedder = make_embedder(settings)
    lexical = LexicalIndex(database)
    vector_store = VectorStore(database, settings, embedder)
    retriever = Retriever(database, embedder, lexical, vector_store, settings)
    audit_database = open_audit(settings)
    audit = AuditTrail(audit_database, settings)
    accounts = Accounts(database, settings, audit)
    membership = Membership(database, audit)
    library = Library(database, settings, lexical, vector_store, membership=membership, audit=audit)
    schedules = Schedules(database, lambda schedule: model_operations.run_schedule(schedule, SCHEDULE))
    memory = Memory(estimator, corrections)
    model_operations = ModelOperations(
        deployments, models, downloads, schedules, memory, settings=settings, audit=audit
    )
    audit_log = AuditLog(audit_database, audit, settings)
    chat_model = ChatModel(deployments, settings)
    asked = _Asked(database, chat_model, catalogue, settings, audit, models)
    return Services(
        settings=settings,
        database=database,
        catalogue=catalogue,
        models=models,
        deployments=deployments,
        downloads=downloads,
        schedules=schedules,
        model_operations=model_operations,
        chat_model=chat_model,
        embedder=embedder,
        lexical=lexical,
        vector_store=vector_store,
        retriever=retriever,
        library=library,
        ingest=IngestQueue(database, library, embedder, lexical, vector_store, settings),
        preview=Preview(library, audit, settings),
        ask=asked.of_documents(retriever, membership),
        code_help=asked.about_code(),
        image_analysis=asked.about_images(),
        preferences=Preferences(database),
        audit=audit,
        audit_log=audit_log,
        replays=Replays(database, audit_log, audit, retriever=retriever, deployments=deployments, models=models),
        accounts=accounts,
        sso=SingleSignOn(database, settings, audit, accounts.sessions),
        people=People(database, accounts, audit),
        membership=membership,
    )


@dataclass(frozen=True)
class _Asked:
    """What the services that people ask are made from."""

    database: Database
    chat_model: ChatModel
    catalogue: Catalogue
    settings: Settings
    audit: AuditTrail
    models: ModelStore

    def of_documents(self, retriever: Retriever, membership: Membership) -> AskService:
        recorder = AskRecorder(self.audit, self.models)
        parts = (self.database, retriever, self.chat_model, self.catalogue, self.settings)
        return AskService(*parts, membership=membership, recorder=recorder)

    def about_code(self) -> CodeHelp:
        recorder = CodeRecorder(self.audit, self.models)
        return CodeHelp(self.database, self.chat_model, self.catalogue, Sandbox(self.settings), recorder=recorder)

    def about_images(self) -> ImageAnalysis:
        return ImageAnalysis(
            self.database,
            self.chat_model,
            self.catalogue,
            gate=Gate(self.settings),
            store=ImageStore(self.settings),
            reader=Reader(self.settings),
            recorder=ImageRecorder(self.audit, self.models),
        )


def _deployments(
    settings: Settings, database: Database, models: ModelStore, launchers: Launchers, estimator: Estimator
) -> Deployments:
    equipment = Equipment(
        settings,
        models,
        launchers.for_model,
        DeploymentRows(database),
        predict=estimator.predicted_mib,
    )
    return Deployments(
        equipment,
        estimate=estimator.estimate,
        memory_of=estimator.memory_of,
        golden_prompts=lambda model_id: _golden(models, model_id),
    )


def _golden(models: ModelStore, model_id: str) -> list[GoldenPrompt]:
    """The catalogue's test questions for the model, else one that any model can answer, in its first language."""
    entry = models.entry(model_id)
    own = [GoldenPrompt(golden.prompt, golden.any_of) for golden in entry.golden]
    return own or [DEFAULTS[entry.languages[0]]]
