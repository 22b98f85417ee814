"""Django's settings, derived from `memoryhub.config`. Nothing here reads the environment itself."""

from datetime import timedelta
from pathlib import Path

import structlog
from csp.constants import NONE, SELF

from memoryhub import config, logging
from memoryhub.version import VERSION

_PACKAGE_DIR = Path(__file__).resolve().parent
RESOURCE_DIR = _PACKAGE_DIR if (_PACKAGE_DIR / "templates").is_dir() else _PACKAGE_DIR.parent
"""The folder of `templates` and `static`: the package itself if it was installed, the root of a checkout otherwise."""
APP_CONFIG = config.load_config()

SECRET_KEY = APP_CONFIG.load_signing_key()
DEBUG = APP_CONFIG.debug
ALLOWED_HOSTS = APP_CONFIG.allowed_hosts

INSTALLED_APPS = [
    "memoryhub.audit",
    "memoryhub.firewall",
    "memoryhub.memories",
    "memoryhub.conflicts",
    "memoryhub.search",
    "memoryhub.access_log",
    "memoryhub.operations",
    "memoryhub.api",
    # Before the inspector, which takes its tables out of the admin again.
    "procrastinate.contrib.django",
    "inspector",
    "inspector.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "axes",
    "csp",
    "django_filters",
    "django_htmx",
    "drf_spectacular",
    "knox",
    "pgtrigger",
    "rest_framework",
    "template_partials",
]

MIDDLEWARE = [
    "memoryhub.middleware.RequestIdMiddleware",
    "memoryhub.middleware.SecurityHeadersMiddleware",
    "memoryhub.middleware.ContentSecurityPolicyMiddleware",
    "memoryhub.middleware.ProblemDetailsMiddleware",
    "memoryhub.middleware.FetchMetadataMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "memoryhub.middleware.HealthCheckMiddleware",
    "memoryhub.middleware.EtagMiddleware",
    "memoryhub.middleware.StatementTimeoutMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "memoryhub.middleware.CredentialCheckMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "inspector.view_as.ViewAsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "memoryhub.urls"
WSGI_APPLICATION = "memoryhub.wsgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [RESOURCE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]


DATABASES = {"default": APP_CONFIG.to_django_database(APP_CONFIG.dsn)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "inspector:sign-in"
LOGIN_REDIRECT_URL = "inspector:memory-list"
LOGOUT_REDIRECT_URL = "inspector:sign-in"

AXES_HANDLER = "memoryhub.firewall.lockout.LockoutHandler"
AXES_FAILURE_LIMIT = 10
# Longer than the longest delay between two attempts. Otherwise the failures of a person who waits would be forgotten,
# and the delays would begin anew.
AXES_COOLOFF_TIME = timedelta(hours=1)
# Uses X-Forwarded-For from trusted proxies only. Otherwise a client could pretend to be at any address.
AXES_CLIENT_IP_CALLABLE = "memoryhub.firewall.lockout.get_client_address"
AXES_LOCKOUT_CALLABLE = "inspector.views.session.render_lockout"
AXES_RESET_ON_SUCCESS = True
# Attempts during a lockout are not counted: one address alone must not lock an account for everybody.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# Sign-ins are in the audit log, and nobody needs to read the tables of failures.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ACCESS_FAILURE_LOG = False
AXES_ENABLE_ADMIN = False

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"
STATIC_ROOT = APP_CONFIG.home / "static"
STATICFILES_DIRS = [RESOURCE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
# Without a collected manifest (tests, a checkout that never ran `serve`) files are read from their source folders.
WHITENOISE_USE_FINDERS = True

DATA_UPLOAD_MAX_MEMORY_SIZE = APP_CONFIG.max_body_bytes
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "memoryhub.api.authentication.KeyAuthentication",
        "memoryhub.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["memoryhub.api.permissions.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["memoryhub.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["memoryhub.api.renderers.OrjsonRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "memoryhub.api.renderers.JsonOnlyNegotiation",
    "DEFAULT_METADATA_CLASS": None,
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "memoryhub.api.exceptions.handle_exception",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

KNOX_TOKEN_MODEL = "firewall.ApiKey"  # noqa: S105 - the name of a model, no secret
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_PREFIX": "mh_", "TOKEN_TTL": timedelta(days=365)}

SPECTACULAR_SETTINGS = {
    "TITLE": "memoryhub",
    "DESCRIPTION": "Look at, judge and govern what AI agents remember.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "DEFAULT_GENERATOR_CLASS": "memoryhub.api.openapi.CachedSchemaGenerator",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api",
    "ENABLE_DJANGO_DEPLOY_CHECK": False,
    # Enums stay where they are used: as components they would need names.
    "POSTPROCESSING_HOOKS": [],
}

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = APP_CONFIG.https
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SECURE = APP_CONFIG.https
CSRF_FAILURE_VIEW = "inspector.error_pages.render_csrf_failure"
if APP_CONFIG.https:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    # Prometheus on this machine asks the hub itself, not the proxy that ends TLS.
    SECURE_REDIRECT_EXEMPT = ["^metrics$"] if APP_CONFIG.metrics == "loopback" else []
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True

# Set on every response, whether it is a page, a problem, a file or an error page of Django.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": X_FRAME_OPTIONS,
    "Referrer-Policy": SECURE_REFERRER_POLICY,
    "Cross-Origin-Opener-Policy": SECURE_CROSS_ORIGIN_OPENER_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(),"
        " microphone=(), midi=(), payment=(), usb=()"
    ),
}
if APP_CONFIG.https:
    SECURITY_HEADERS["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains; preload"

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        # JSON escapes every control character, so hostile text cannot forge a log line or control a terminal.
        "json": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(logging.render_exception),
                structlog.processors.JSONRenderer(ensure_ascii=True),
            ],
            "foreign_pre_chain": [
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "memoryhub": {"level": "INFO"},
        # A response with 4xx needs no log line, which would repeat what a hostile client sent.
        "django.request": {"level": "ERROR"},
        "django.security": {"level": "ERROR"},
        # Django logs these as errors with a traceback, and any client can cause them as often as it likes.
        "django.security.TooManyFieldsSent": {"level": "CRITICAL"},
        "django.security.RequestDataTooBig": {"level": "CRITICAL"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "axes": {"level": "ERROR"},
        # The worker logs its failures itself, without the messages of exceptions.
        "procrastinate": {"level": "CRITICAL"},
        "psycopg.pool": {"level": "CRITICAL"},
    },
}

# Jobs are defined in `memoryhub.operations.background_jobs`: there is no module of another name to look for.
PROCRASTINATE_AUTODISCOVER_MODULE_NAME = None

# Triggers name no schema: a hub uses the first schema of its search_path, which need not be `public`.
PGTRIGGER_SCHEMA = ""
