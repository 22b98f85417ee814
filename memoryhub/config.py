"""The operator's settings, read once from the environment; an invalid setting stops the start."""

import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from memoryhub.core.client_address import TrustedProxies

# Roles of the embedded server.
APP_ROLE, OWNER_ROLE, SUPERUSER_ROLE = "memoryhub_app", "memoryhub", "postgres"
MAX_IDLE_SECONDS = 30
"""How long a connection may be idle, and how long a client may take to send its headers."""
MIN_KEY_LENGTH = 32
SERVER_LOCK_FILE = "serve.lock"
MAX_SOCKET_PATH = 90  # sun_path holds 107 bytes; PostgreSQL appends /.s.PGSQL.5432 and a lock suffix


class Config(BaseSettings):
    """One field per environment variable, named MEMORYHUB_<FIELD> unless the field has an alias."""

    model_config = SettingsConfigDict(env_prefix="MEMORYHUB_", env_ignore_empty=True, extra="ignore")

    home: Path = Path(".memoryhub")
    database_url: SecretStr | None = Field(default=None, validation_alias="DATABASE_URL")
    database_owner_url: SecretStr | None = Field(default=None, validation_alias="DATABASE_OWNER_URL")
    """The address for the owner role, which migrates, if DATABASE_URL is for another role."""
    bind: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=2, ge=1, le=64)
    threads: int = Field(default=2, ge=1, le=64)
    worker: bool = True
    """Whether `serve` starts a worker for background jobs beside the processes that answer requests."""
    metrics: Literal["off", "loopback", "key"] = "off"
    """Who gets `/metrics`: nobody, programs on this machine, or keys of admins."""
    demo: bool = True
    debug: bool = False
    secret_key: SecretStr | None = Field(default=None, min_length=MIN_KEY_LENGTH)
    allowed_hosts: Annotated[list[str], NoDecode] = ["127.0.0.1", "localhost", "[::1]"]
    https: bool = False
    """Set if a proxy terminates TLS: cookies become Secure and HSTS is sent."""
    trusted_proxies: Annotated[TrustedProxies, NoDecode] = TrustedProxies()
    """The proxies whose X-Forwarded-For is trusted: their number, or their addresses and networks."""

    tiers: Annotated[list[str], NoDecode] = ["public", "internal", "confidential", "restricted"]
    """Classification tiers from the most open to the most closed."""
    nli_model: Path | None = None
    """A folder with an ONNX cross-encoder that the conflict detector uses for pairs which its rules leave in doubt."""
    embedder: Literal["local", "endpoint", "none"] = "local"
    embedder_folder: Path | None = None
    """A folder with another ONNX embedding model than the one that the hub brings."""
    embedder_url: str = ""
    """The part of the endpoint's address before /embeddings."""
    embedder_key: SecretStr | None = None
    embedder_model: str = Field(default="", max_length=128, pattern=r"^[!-~]*$")
    embedder_shorten: bool = False
    """Set if the endpoint is asked to shorten its vectors to `embedding_dimensions`."""
    embedding_dimensions: int = Field(default=384, ge=1, le=16_000)
    max_body_bytes: int = Field(default=16 * 2**20, ge=2**16)
    max_content_bytes: int = Field(default=2**20, ge=1024)
    statement_timeout_seconds: float = Field(default=10.0, gt=0, le=600)
    lock_timeout_seconds: float = Field(default=5.0, gt=0, le=600)

    @field_validator("tiers", "allowed_hosts", mode="before")
    @classmethod
    def split_list(cls, value: Any) -> Any:
        """Split a list at commas and spaces."""
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def parse_proxies(cls, value: Any) -> Any:
        return TrustedProxies.parse(value) if isinstance(value, str) else value

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def validate_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            conninfo_to_dict(value.get_secret_value() if value else "")
        except psycopg.ProgrammingError:
            # libpq's error message may quote the password.
            raise ValueError(
                "is not the address of a PostgreSQL, such as postgresql://user:password@host/name"
            ) from None
        return value

    @field_validator("home", "nli_model", "embedder_folder")
    @classmethod
    def make_absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @field_validator("embedder_url")
    @classmethod
    def validate_embedder_url(cls, value: str) -> str:
        if not value:
            return value
        try:
            url = urlsplit(value)
            is_valid = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        except ValueError:
            is_valid = False
        # A name and a password in the address would be shown in messages; the key has a setting of its own.
        if not is_valid or "@" in value or "?" in value or "#" in value or not value.isascii() or " " in value:
            raise ValueError("is not the address of an endpoint, such as https://api.example.com/v1")
        return value.rstrip("/")

    @field_validator("embedder_key")
    @classmethod
    def validate_embedder_key(cls, value: SecretStr | None) -> SecretStr | None:
        key = value.get_secret_value() if value else ""
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("is not a key that a header can carry: it has a space or characters outside of ASCII")
        return value

    @model_validator(mode="after")
    def validate_embedder(self) -> Self:
        """Refuse settings of one embedder beside another: the operator would take them for being in force."""
        endpoint_settings = {
            "MEMORYHUB_EMBEDDER_URL": self.embedder_url,
            "MEMORYHUB_EMBEDDER_MODEL": self.embedder_model,
            "MEMORYHUB_EMBEDDER_KEY": self.embedder_key,
            "MEMORYHUB_EMBEDDER_SHORTEN": self.embedder_shorten,
        }
        if self.embedder == "endpoint" and not (self.embedder_url and self.embedder_model):
            raise ValueError("MEMORYHUB_EMBEDDER=endpoint needs MEMORYHUB_EMBEDDER_URL and MEMORYHUB_EMBEDDER_MODEL")
        unused_settings = [name for name, value in endpoint_settings.items() if value and self.embedder != "endpoint"]
        if unused_settings:
            raise ValueError(f"{' and '.join(unused_settings)} would need MEMORYHUB_EMBEDDER=endpoint")
        if self.embedder_folder and self.embedder != "local":
            raise ValueError("MEMORYHUB_EMBEDDER_FOLDER would need MEMORYHUB_EMBEDDER=local")
        return self

    @model_validator(mode="after")
    def validate_tiers(self) -> Self:
        if not self.tiers or len(set(self.tiers)) != len(self.tiers):
            raise ValueError("MEMORYHUB_TIERS must name at least one tier, and each tier once")
        if any(not tier.isascii() or tier != tier.lower() or len(tier) > 64 for tier in self.tiers):
            raise ValueError("MEMORYHUB_TIERS must be lower-case ASCII names of at most 64 characters")
        return self

    @cached_property
    def socket_dir(self) -> Path:
        """The directory of the embedded server's socket: in the home, unless a unix socket cannot have that path."""
        path = self.home / "postgres"
        # libpq takes a comma as the separator of hosts, even if it is percent-encoded.
        if len(str(path).encode()) <= MAX_SOCKET_PATH and "," not in str(path):
            return path
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"memoryhub-{digest}"

    @model_validator(mode="after")
    def validate_owner_url(self) -> Self:
        if self.database_owner_url is not None and self.database_url is None:
            raise ValueError("DATABASE_OWNER_URL needs DATABASE_URL beside it")
        return self

    @cached_property
    def dsn(self) -> str:
        """The libpq address of the database, for the application role, which owns nothing there."""
        return self.database_url.get_secret_value() if self.database_url else self.embedded_dsn(APP_ROLE)

    @cached_property
    def owner_dsn(self) -> str:
        """The libpq address of the same database, for the owner role, which migrates."""
        if self.database_url is None:
            return self.embedded_dsn(OWNER_ROLE)
        return (self.database_owner_url or self.database_url).get_secret_value()

    def embedded_dsn(self, role: str) -> str:
        """Return the embedded server's libpq address for one of its roles."""
        # The port is part of the socket's name. Without it a PGPORT of the caller's shell would change the socket.
        return f"postgresql://{role}@/memoryhub?host={quote(str(self.socket_dir))}&port=5432"

    def to_django_database(self, dsn: str) -> dict[str, Any]:
        """Return Django's settings for the database at a libpq address."""
        parts = conninfo_to_dict(dsn)
        django_names = {name: name.upper() for name in ("user", "password", "host", "port")} | {"dbname": "NAME"}
        options: dict[str, Any] = {key: value for key, value in parts.items() if key not in django_names}
        # JIT costs short queries more than it saves. With enough work_mem a bitmap stays exact, and its rows need no
        # recheck. A runaway statement must not block a worker forever. Sequential scans, and parallel workers that
        # start for large tables, would make a reader's latency depend on hidden rows.
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
            # Each thread keeps one connection. With so few threads a pool only costs time (measurements, "HTTP
            # servers").
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": options,
            **{
                django_name: str(parts[libpq_name])
                for libpq_name, django_name in django_names.items()
                if parts.get(libpq_name)
            },
        }

    @property
    def is_embedded(self) -> bool:
        return self.database_url is None

    def ensure_home(self) -> Path:
        with self.exit_on_home_errors():
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.home

    @contextmanager
    def exit_on_home_errors(self) -> Iterator[None]:
        """Exit with one sentence if the block raises an OSError: no command can go on without the home."""
        try:
            yield
        except OSError as error:
            raise SystemExit(describe_home_error(self.home, error)) from None

    def load_signing_key(self) -> str:
        """Return the key that signs sessions and cursors: the configured one, or one that the first start creates."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        path = self.ensure_home() / "secret_key"
        with self.exit_on_home_errors():
            _create_private_file(path, secrets.token_urlsafe(48))
            key = path.read_text()
        if len(key) < MIN_KEY_LENGTH:
            raise SystemExit(f"{path} is cut short: remove it, and the next start makes another. Sessions end with it.")
        return key


def describe_home_error(home: Path, error: OSError) -> str:
    """Return one sentence for the operator: why `home` cannot be used, and how to fix it."""
    location = f" ({error.filename})" if error.filename and str(error.filename) != str(home) else ""
    heading = f"MEMORYHUB_HOME={home} cannot be used"
    match error.errno:
        case errno.EEXIST | errno.ENOTDIR:
            return f"{heading}: a file is in the place of a directory{location}. Set it to a directory of your own."
        case errno.EACCES | errno.EPERM:
            return f"{heading}: user {os.geteuid()} lacks the permission{location}. Set it to a directory of your own."
        case errno.EROFS:
            return f"{heading}: its file system is read-only{location}. Set it to a directory that can be written."
        case errno.ENOSPC | errno.EDQUOT:
            return f"{heading}: its disk is full{location}. Make room there, or set it to a directory on another disk."
        case _:
            return f"{heading}: {error.strerror or type(error).__name__}{location}."


def _create_private_file(path: Path, text: str) -> None:
    """Write a private file if there is none. After a failed write, such as on a full disk, there is no file."""
    try:
        file = open(path, "x", opener=_open_private)  # noqa: SIM115 - closed below
    except FileExistsError:
        return
    try:
        with file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def load_config() -> Config:
    """Read the environment. Invalid settings end the program with one sentence for each mistake."""
    try:
        return Config()
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in error.errors()]
        raise SystemExit("memoryhub cannot start with these settings:\n" + "\n".join(lines)) from None
