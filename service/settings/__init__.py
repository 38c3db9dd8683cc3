"""Settings of the operator: environment variables `EPOCHD_*` or a `.env` file."""

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from service.settings.data_paths import DataPaths
from service.settings.lists import Addresses, Hosts, Origins
from service.settings.quotas import QuotaLine, parse_quotas

LogFormat = Literal["text", "json"]
MIB = 1024 * 1024
PREFIX = "EPOCHD_"
MOST_SECONDS = 1e9
"""More than 31 years: longer times, such as `inf`, cannot be added to a date."""
OTHER_VARIABLES = {"EPOCHD_FAULT"}
"""Variables that are read elsewhere: for tests, by `ml.faults`."""


def _quota_lines(value: object) -> object:
    return parse_quotas(value) if isinstance(value, str) else value


QuotaLines = Annotated[tuple[QuotaLine, ...], NoDecode, BeforeValidator(_quota_lines)]


class Settings(DataPaths):
    """Settings of the service. The variable of a field is `EPOCHD_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore")

    database_url: str | None = Field(
        default=None,
        # It may hold a password.
        repr=False,
        description="SQLAlchemy URL of the database; default: SQLite in the data directory.",
    )
    log_format: LogFormat = Field(default="text", description="Format of log lines.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 chooses a free one."
    )
    uds: Path | None = Field(
        default=None,
        description="Unix domain socket to listen on instead of a port, for this user only.",
    )
    trainers: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="Trainer processes, each running one job at a time; default: one per GPU, else "
        "1. With 0, jobs stay queued.",
    )
    trainer_threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="PyTorch threads of each trainer; default: an equal share of all cores but "
        "one, which is left to the web process.",
    )
    cuda_graphs: bool = Field(
        default=True,
        description="Capture training steps on a GPU in CUDA graphs.",
    )
    trainer_nice: int = Field(
        default=10,
        ge=0,
        le=19,
        description="Niceness of trainer processes.",
    )
    max_connections: int = Field(
        default=10_000,
        ge=1,
        description="Maximum open connections of a web process; further ones are answered `503`. "
        "The limit on open files may lower it.",
    )
    max_connections_per_address: int = Field(
        default=2_500,
        ge=1,
        description="Maximum open connections of a web process from one address, except from "
        "trusted proxies.",
    )
    keep_alive_seconds: float = Field(
        default=75.0,
        ge=1,
        le=MOST_SECONDS,
        description="Seconds before an idle connection is closed, also before its first request.",
    )
    trusted_proxies: Addresses = Field(
        default=(),
        description="Addresses and networks of reverse proxies, separated by commas, whose "
        "`X-Forwarded-For`, `-Proto` and `-Host` headers are believed; `unix` is the proxy that "
        "connects to the Unix domain socket.",
    )
    cors_origins: Origins = Field(
        default=(),
        description="Origins of web pages that may call the API, separated by commas, for example "
        "`https://app.example.com`; `*` allows all.",
    )
    allowed_hosts: Hosts = Field(
        default=(),
        description="Names by which the service may be called, separated by commas, besides "
        "`localhost` and the address to listen on, for example `epochd.example.com` or "
        "`*.example.com`; other names in `Host` are answered `421`. `*` allows all.",
    )
    insecure: bool = Field(
        default=False,
        description="Whether the service may listen beyond this machine without any key: everybody "
        "who reaches it may then do everything.",
    )
    admin_key_file: Path | None = Field(
        default=None,
        description="File for the key of an admin that a service without any key makes at its "
        "start, prints once and writes there; the directory must exist. Default: none is made.",
    )
    members_see: Literal["all", "own"] = Field(
        default="all",
        description="Jobs, data sets and models that members, viewers and predictors see: `all`, "
        "or their `own`. Admins see all.",
    )
    session_hours: float = Field(
        default=12.0, gt=0, le=24 * 366, description="Hours until a browser must sign in again."
    )
    audit_mb: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Maximum size of the audit log, whose oldest tenth is deleted when it is full.",
    )
    web_workers: int = Field(
        default=1, ge=1, le=64, description="Web processes, which share the port."
    )
    web_timeout_seconds: float = Field(
        default=30.0,
        ge=5,
        le=MOST_SECONDS,
        description="Seconds after which an unresponsive web process is replaced, where there are "
        "several.",
    )
    fast_path: bool = Field(
        default=True,
        description="Answer small predictions without ASGI; always off with a version of uvicorn "
        "that the fast path was not tested with.",
    )
    lease_seconds: float = Field(
        default=30.0,
        ge=5,
        le=MOST_SECONDS,
        description="Seconds without a heartbeat before a job is reassigned.",
    )
    retry_seconds: float = Field(
        default=1.0,
        ge=0,
        le=MOST_SECONDS,
        description="Delay before a job restarts after its first crash; it doubles each time.",
    )
    shutdown_timeout_seconds: float = Field(
        default=10.0,
        ge=2,
        le=MOST_SECONDS,
        description="Graceful-shutdown timeout of the service. A trainer that has not acted on a "
        "request after seven tenths of it is killed.",
    )
    keep_checkpoints: int = Field(
        default=2, ge=1, description="Checkpoints kept of a job that has not ended."
    )
    keep_days: float = Field(
        default=7.0,
        ge=0,
        le=36_500,
        description="Days for which the trash, and checkpoints and step metrics of an ended job, "
        "are kept.",
    )
    max_queued: int = Field(
        default=10_000,
        ge=1,
        description="Maximum queued jobs; further ones are answered `429`.",
    )
    fair_share_half_life_seconds: float = Field(
        default=3600.0,
        ge=1,
        le=MOST_SECONDS,
        description="Seconds after which a device-second counts half in the choice of the owner "
        "whose job is next.",
    )
    preempt_after_seconds: float = Field(
        default=60.0,
        ge=0,
        le=MOST_SECONDS,
        description="Seconds for which a preemptible job trains, each time that it is started, "
        "before another may take its place.",
    )
    preempt_margin_seconds: float = Field(
        default=300.0,
        ge=0,
        le=MOST_SECONDS,
        description="Device-seconds by which the recent use of a preemptible job's owner must "
        "exceed that of an owner who waits.",
    )
    quotas: QuotaLines = Field(
        default=(),
        description="Limits of roles and owners, for example `member: waiting=50 running=2; anna: "
        "running=4`; see [share one machine](../howto/share.md#quotas).",
    )
    max_disk_mb: int | None = Field(
        default=None,
        ge=1,
        description="Maximum size of the data directory; above it, uploads and new jobs are "
        "answered `507`. Default: no limit.",
    )
    min_free_mb: int = Field(
        default=100,
        ge=0,
        description="Free space to leave on the file system of the data directory; below it, "
        "uploads and new jobs are answered `507`.",
    )
    max_parameters: int = Field(
        default=100_000_000, ge=1, description="Maximum parameters of a model."
    )
    max_body_bytes: int = Field(
        default=32 * MIB, ge=1024, description="Maximum size of a request's body."
    )
    max_decoding_mb: int = Field(
        default=512,
        ge=1,
        description="Memory for large bodies while they are decoded; further requests wait for it.",
    )
    max_bodies_mb: int = Field(
        default=512,
        ge=1,
        description="Memory for the request bodies that a web process reads at the same time; "
        "further requests are answered `503`. At least one body of the maximum size is read.",
    )
    max_stream_bytes: int = Field(
        default=1024 * MIB,
        ge=1024,
        description="Maximum size of a request of newline-delimited JSON.",
    )
    max_upload_bytes: int = Field(
        default=1024 * MIB, ge=1024, description="Maximum size of an uploaded data set."
    )
    ingest_mb: int = Field(
        default=4096, ge=1024, description="Memory limit for reading an uploaded data set."
    )
    ingest_seconds: float = Field(
        default=600.0,
        gt=0,
        le=MOST_SECONDS,
        description="Time limit for reading an uploaded data set.",
    )
    max_rows: int = Field(default=10_000, ge=1, description="Maximum rows of a prediction request.")
    max_image_pixels: int = Field(
        default=50_000_000,
        ge=1,
        description="Maximum pixels of an image in a prediction request, and of all images that "
        "are decoded at a time, with about 8 bytes of memory each.",
    )
    max_request_pixels: int = Field(
        default=200_000_000, ge=1, description="Maximum pixels of all images of a request."
    )
    dataset_cache_mb: int = Field(
        default=512, ge=0, description="Memory for each trainer's cache of data sets."
    )
    model_cache_mb: int = Field(
        default=1024,
        ge=0,
        description="Memory for loaded models; the most recently used one always stays.",
    )
    max_waiting_rows: int = Field(
        default=20_000,
        ge=1,
        description="Maximum rows waiting for one model; further requests are answered `503`.",
    )
    predict_seconds: float = Field(
        default=30.0,
        gt=0,
        le=MOST_SECONDS,
        description="Deadline of a prediction; after it, the request is answered `504`.",
    )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        if self.uds is not None or self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def sqlalchemy_url(self) -> str:
        """URL of the database."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'epochd.db'}"

    @property
    def trainer_timeout_seconds(self) -> float:
        """Seconds before an unresponsive trainer is killed."""
        return 0.7 * self.shutdown_timeout_seconds


def unknown_variables(names: Iterable[str]) -> Iterator[str]:
    """Yield a warning for each of `names` that looks like a setting and is none."""
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name in sorted({name for name in names if name.upper().startswith(PREFIX)}):
        if name.upper() in {*known, *OTHER_VARIABLES}:
            continue
        nearest = get_close_matches(name.upper(), known, n=1, cutoff=0.75)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        yield f"{name} is not a setting and is ignored{hint}"


def given_variables() -> list[str]:
    """Return the names of all variables of this process and of its `.env` file."""
    return [*os.environ, *dotenv_values(".env")]
