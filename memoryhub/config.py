"""Everything an operator can set, read once from the environment and refused at start when it makes no sense."""

import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from memoryhub.core.client_address import TrustedProxies

# Roles of the embedded server.
APPLICATION, OWNER, SUPERUSER = "memoryhub_app", "memoryhub", "postgres"
IDLE_SECONDS = 30
"""How long a kept connection may be idle, and a request take to send its headers."""
MIN_KEY_LENGTH = 32
SERVER_LOCK = "serve.lock"
MAX_SOCKET_PATH = 90  # sun_path holds 107 bytes; PostgreSQL appends /.s.PGSQL.5432 and a lock suffix


class Config(BaseSettings):
    """One field per environment variable, named MEMORYHUB_<FIELD> unless it says otherwise."""

    model_config = SettingsConfigDict(env_prefix="MEMORYHUB_", env_ignore_empty=True, extra="ignore")

    home: Path = Path(".memoryhub")
    database_url: SecretStr | None = Field(default=None, validation_alias="DATABASE_URL")
    database_owner_url: SecretStr | None = Field(default=None, validation_alias="DATABASE_OWNER_URL")
    """Who owns the tables and migrates, where that is another role than the one that serves."""
    bind: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=2, ge=1, le=64)
    threads: int = Field(default=2, ge=1, le=64)
    demo: bool = True
    debug: bool = False
    secret_key: SecretStr | None = Field(default=None, min_length=MIN_KEY_LENGTH)
    allowed_hosts: Annotated[list[str], NoDecode] = ["127.0.0.1", "localhost", "[::1]"]
    https: bool = False
    """Set when a proxy ends TLS in front: cookies become Secure and HSTS is sent."""
    trusted_proxies: Annotated[TrustedProxies, NoDecode] = TrustedProxies()
    """Whose X-Forwarded-For says where a request comes from: a number of proxies, or their addresses and networks."""

    tiers: Annotated[list[str], NoDecode] = ["public", "internal", "confidential", "restricted"]
    """Classification tiers from the most open to the most closed."""
    nli_model: Path | None = None
    """A folder with a cross-encoder in ONNX, of which the conflict detector asks what it is in doubt about."""
    embedding_dimensions: int = Field(default=384, ge=1, le=16_000)
    max_body_bytes: int = Field(default=16 * 2**20, ge=2**16)
    max_content_bytes: int = Field(default=2**20, ge=1024)
    statement_timeout_seconds: float = Field(default=10.0, gt=0, le=600)
    lock_timeout_seconds: float = Field(default=5.0, gt=0, le=600)

    @field_validator("tiers", "allowed_hosts", mode="before")
    @classmethod
    def split(cls, value: Any) -> Any:
        """Lists are written with commas or spaces between their items."""
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def parse_proxies(cls, value: Any) -> Any:
        return TrustedProxies.parse(value) if isinstance(value, str) else value

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def libpq_understands(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            conninfo_to_dict(value.get_secret_value() if value else "")
        except psycopg.ProgrammingError:
            # libpq's own words may repeat the password.
            raise ValueError(
                "is not the address of a PostgreSQL, such as postgresql://user:password@host/name"
            ) from None
        return value

    @field_validator("home", "nli_model")
    @classmethod
    def absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @model_validator(mode="after")
    def tiers_make_an_order(self) -> Self:
        if not self.tiers or len(set(self.tiers)) != len(self.tiers):
            raise ValueError("MEMORYHUB_TIERS must name at least one tier, and each tier once")
        if any(not tier.isascii() or tier != tier.lower() or len(tier) > 64 for tier in self.tiers):
            raise ValueError("MEMORYHUB_TIERS must be lower-case ASCII names of at most 64 characters")
        return self

    @cached_property
    def socket_dir(self) -> Path:
        """Where the embedded server listens: inside its home, unless that path is no good for a unix socket."""
        inside = self.home / "postgres"
        # A comma separates hosts to libpq, however it is written.
        if len(str(inside).encode()) <= MAX_SOCKET_PATH and "," not in str(inside):
            return inside
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"memoryhub-{digest}"

    @model_validator(mode="after")
    def an_owner_owns_something(self) -> Self:
        if self.database_owner_url is not None and self.database_url is None:
            raise ValueError("DATABASE_OWNER_URL needs DATABASE_URL beside it")
        return self

    @cached_property
    def dsn(self) -> str:
        """The libpq address of the database this process talks to, as the application: it owns nothing there."""
        return self.database_url.get_secret_value() if self.database_url else self.embedded_dsn(APPLICATION)

    @cached_property
    def owner_dsn(self) -> str:
        """The same database's address for the owner of its tables, who migrates."""
        if self.database_url is None:
            return self.embedded_dsn(OWNER)
        return (self.database_owner_url or self.database_url).get_secret_value()

    def embedded_dsn(self, role: str) -> str:
        """The embedded server's address for one of its roles."""
        # The port names the socket; said here, or a PGPORT of the caller's shell would send the client elsewhere.
        return f"postgresql://{role}@/memoryhub?host={quote(str(self.socket_dir))}&port=5432"

    def django_database(self, dsn: str) -> dict[str, Any]:
        """Django's settings for the database at a libpq address."""
        parts = conninfo_to_dict(dsn)
        known = {name: name.upper() for name in ("user", "password", "host", "port")} | {"dbname": "NAME"}
        options: dict[str, Any] = {key: value for key, value in parts.items() if key not in known}
        # Short queries lose more to JIT than they win; a bitmap that fits need not be checked row by row; a statement
        # that runs away must not hold a worker for ever. A scan of a whole table, and workers that start when it is
        # large, would let a reader feel rows that are hidden.
        options["options"] = (
            "-c jit=off -c work_mem=32MB -c enable_seqscan=off -c max_parallel_workers_per_gather=0"
            f" -c statement_timeout={int(self.statement_timeout_seconds * 1000)}"
            f" -c lock_timeout={int(self.lock_timeout_seconds * 1000)}"
            f" -c idle_in_transaction_session_timeout=60000 {options.get('options', '')}"
        ).strip()
        options["application_name"] = "memoryhub"
        options.setdefault("connect_timeout", 5)
        return {
            "ENGINE": "django.db.backends.postgresql",
            # One thread keeps one connection: with so few threads a pool only costs (measurements, "HTTP servers").
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": options,
            **{django: str(parts[libpq]) for libpq, django in known.items() if parts.get(libpq)},
        }

    @property
    def embedded(self) -> bool:
        return self.database_url is None

    def ensure_home(self) -> Path:
        with self.home_problems_explained():
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.home

    @contextmanager
    def home_problems_explained(self) -> Iterator[None]:
        """End the program with one sentence if the block cannot use the home: a start needs it, and cannot go on."""
        try:
            yield
        except OSError as error:
            raise SystemExit(home_problem(self.home, error)) from None

    def signing_key(self) -> str:
        """The key that signs sessions and cursors: the operator's, else one made at the first start and kept."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        path = self.ensure_home() / "secret_key"
        with self.home_problems_explained():
            _write_once(path, secrets.token_urlsafe(48))
            key = path.read_text()
        if len(key) < MIN_KEY_LENGTH:
            raise SystemExit(f"{path} is cut short: remove it, and the next start makes another. Sessions end with it.")
        return key


def home_problem(home: Path, error: OSError) -> str:
    """One sentence for an operator: why `home` cannot be used, and what to do."""
    where = f" ({error.filename})" if error.filename and str(error.filename) != str(home) else ""
    heading = f"MEMORYHUB_HOME={home} cannot be used"
    match error.errno:
        case errno.EEXIST | errno.ENOTDIR:
            return f"{heading}: a file is in the place of a directory{where}. Set it to a directory of your own."
        case errno.EACCES | errno.EPERM:
            return f"{heading}: user {os.geteuid()} lacks the permission{where}. Set it to a directory of your own."
        case errno.EROFS:
            return f"{heading}: its file system is read-only{where}. Set it to a directory that can be written."
        case errno.ENOSPC | errno.EDQUOT:
            return f"{heading}: its disk is full{where}. Make room there, or set it to a directory on another disk."
        case _:
            return f"{heading}: {error.strerror or type(error).__name__}{where}."


def _write_once(path: Path, text: str) -> None:
    """Write a private file unless there is one. A disk that is full leaves none."""
    try:
        file = open(path, "x", opener=_private)  # noqa: SIM115 - closed below
    except FileExistsError:
        return
    try:
        with file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def load() -> Config:
    """Read the environment. A setting that makes no sense ends the program with one sentence for each mistake."""
    try:
        return Config()
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in error.errors()]
        raise SystemExit("memoryhub cannot start with these settings:\n" + "\n".join(lines)) from None
