"""Settings of the whole platform, in reading order, each read once from the environment.

Every variable is listed with its default in `.env.example` and checked by `config/checks.py`.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from config.local_chain import find_chain
from config.logging import configure_logging
from config.postgres import database_url, ensure_secret

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

# --- Where things live -----------------------------------------------------------------------------

DATA_DIR = Path(env.str("AFFIDAVIT_DATA_DIR", default=str(BASE_DIR / "var"))).absolute()
DATABASE_URL = env.str("DATABASE_URL", default="")
IS_EMBEDDED = not DATABASE_URL
if IS_EMBEDDED:
    DATABASE_URL = database_url(DATA_DIR)

# --- Security --------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if not IS_EMBEDDED:
        raise ImproperlyConfigured("SECRET_KEY must be set where DATABASE_URL is (50 random characters).")
    SECRET_KEY = ensure_secret(DATA_DIR / "secret_key", lambda: secrets.token_urlsafe(50))

# What seals webhook secrets in the database: Fernet keys, of which the first seals and all open.
ENCRYPTION_KEYS = env.list("ENCRYPTION_KEYS", default=[])
if not ENCRYPTION_KEYS:
    if not IS_EMBEDDED:
        raise ImproperlyConfigured(
            "ENCRYPTION_KEYS must be set where DATABASE_URL is (32 random bytes in URL-safe base64)."
        )
    ENCRYPTION_KEYS = [ensure_secret(DATA_DIR / "encryption_key", lambda: Fernet.generate_key().decode())]

# The address users and workers reach the platform at: absolute links, hosts and cookies follow it.
PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
_public = urlsplit(PUBLIC_URL)
_is_https = _public.scheme == "https"

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]", _public.hostname or ""])
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _is_https
SECURE_SSL_REDIRECT = False  # the proxy in front terminates TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _is_https else None
SECURE_HSTS_SECONDS = 31_536_000 if _is_https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = False  # says nothing of the other hosts of this domain
SESSION_COOKIE_AGE = 60 * 60 * 12
X_FRAME_OPTIONS = "DENY"
# hsts on the bare host only, and redirects are the proxy's: both are decisions, not omissions
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W005", "security.W008", "security.W021"]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# --- Applications ----------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "config.apps.MonitorConfig",
    "config.apps.MonitorAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "jobs",
    "attestations",
    "webhooks",
    # Your own Django apps: their `job_handlers.py` is found, their models are migrated.
    *env.list("EXTRA_APPS", default=[]),
]

MIDDLEWARE = [
    "config.tracing.TraceMiddleware",
    "config.policies.PoliciesMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
APPEND_SLASH = False  # routes take both forms; a redirect would lose a POST's body

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Database --------------------------------------------------------------------------------------

# Session features (LISTEN, advisory locks) need a connection that no transaction pooler stands before.
DATABASE_DIRECT_URL = env.str("DATABASE_DIRECT_URL", default=DATABASE_URL)
_has_pooler = DATABASE_DIRECT_URL != DATABASE_URL

# For every connection: a host that does not answer is a 503 soon, and not a request that hangs; one that has
# gone without a word is noticed within half a minute.
DATABASE_PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

DATABASES = {
    "default": {
        **environ.Env.db_url_config(DATABASE_URL, engine="django.db.backends.postgresql"),
        "CONN_MAX_AGE": None,  # threads and processes here are long-lived and each keeps its connection
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": _has_pooler,
    }
}
DATABASES["default"].setdefault("OPTIONS", {}).update(
    # A repeated statement is planned once per connection, unless a transaction pooler forbids it.
    prepare_threshold=None if _has_pooler else 5,
    application_name="affidavit",
    **DATABASE_PATIENCE,
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# --- The queue -------------------------------------------------------------------------------------

WORKER_RETRY_LIMIT = env.int("WORKER_RETRY_LIMIT", default=3)
LEASE_SECONDS = env.int("LEASE_SECONDS", default=30)
JOB_TIMEOUT_SECONDS = env.int("JOB_TIMEOUT_SECONDS", default=300)
JOB_TIMEOUT_SECONDS_MAX = env.int("JOB_TIMEOUT_SECONDS_MAX", default=86_400)
ATTESTATION_RETENTION_DAYS = env.int("ATTESTATION_RETENTION_DAYS", default=7)
# What `manage.py up` gives a process that is to stop until it kills it.
DRAIN_SECONDS = env.int("DRAIN_SECONDS", default=30)
CLUSTER_WORKERS = env.int("CLUSTER_WORKERS", default=2)
PROOF_WORKERS = env.int("PROOF_WORKERS", default=1)  # of the queue proof-generation
QUEUES = ["default", "webhooks", "proof-generation", "proof-publishing"]

Q_CLUSTER = {
    "name": "default",
    "broker_class": "jobs.queue.broker.JobBroker",
    "workers": CLUSTER_WORKERS,
    "queue_limit": CLUSTER_WORKERS,
    # django-q2's own deadlines must dominate ours: the runner enforces a job's timeout, and a ticket
    # that is never confirmed costs nothing, for the jobs hold their own leases.
    "timeout": JOB_TIMEOUT_SECONDS_MAX + 3_600,
    "retry": JOB_TIMEOUT_SECONDS_MAX + 7_200,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "catch_up": False,
    "recycle": 100_000,
    "max_rss": env.int("CLUSTER_MAX_RSS_KB", default=1_000_000),
    "log_level": "WARNING",
    "label": "Queue engine",
    # Always set: without it a cluster started under another name dies with a KeyError.
    "ALT_CLUSTERS": {name: {} for name in QUEUES}
    | {"proof-generation": {"workers": PROOF_WORKERS, "queue_limit": PROOF_WORKERS}},
}

# --- The evaluator and what is kept ----------------------------------------------------------------

STUCK_AFTER_SECONDS = env.int("STUCK_AFTER_SECONDS", default=600)
NOTIFY_GRACE_SECONDS = env.int("NOTIFY_GRACE_SECONDS", default=600)
# What an output of a service is where neither its bytes, its name nor its host says: comfyui=image/png,…
OUTPUT_CONTENT_TYPES = env.dict("OUTPUT_CONTENT_TYPES", default={})
# Who gets an e-mail when a run finds new problems; nobody, unless it is set.
PROBLEM_EMAIL_TO = env.list("PROBLEM_EMAIL_TO", default=[])
PROBLEM_EMAIL_FROM = env.str("PROBLEM_EMAIL_FROM", default="affidavit@localhost")
vars().update(env.email("EMAIL_URL", default="consolemail://"))
EVENT_RETENTION_DAYS = env.int("EVENT_RETENTION_DAYS", default=7)
JOB_RETENTION_DAYS = env.int("JOB_RETENTION_DAYS", default=30)
AUDIT_RETENTION_DAYS = env.int("AUDIT_RETENTION_DAYS", default=365)

# --- Web -------------------------------------------------------------------------------------------

# Processes and threads of one `manage.py web`: each thread keeps a database connection.
WEB_PROCESSES = env.int("WEB_PROCESSES", default=2)
WEB_THREADS = env.int("WEB_THREADS", default=4)

# Live streams: how long one connection may last, and how many are open in one web process, for each key and in all.
STREAM_SECONDS = env.int("STREAM_SECONDS", default=3_600)
STREAMS_PER_KEY = env.int("STREAMS_PER_KEY", default=100)
STREAMS_MAX = env.int("STREAMS_MAX", default=800)

# --- HTTP API --------------------------------------------------------------------------------------

DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("BODY_MAX_BYTES", default=1_048_576)
ARTIFACT_MAX_BYTES = env.int("ARTIFACT_MAX_BYTES", default=33_554_432)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["jobs.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["jobs.api.permissions.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["jobs.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "jobs.api.pagination.NewestFirst",
    "DEFAULT_SCHEMA_CLASS": "jobs.api.schema.ScopedSchema",
    "EXCEPTION_HANDLER": "jobs.api.errors.problem_response",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": False,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Affidavit",
    "DESCRIPTION": "Submit jobs and workflows, run them on your workers, read what is attested.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api",
    "ENUM_NAME_OVERRIDES": {
        "JobStatus": "jobs.models.Job.Status",
        "WorkflowStatus": "jobs.models.Workflow.Status",
        "WorkflowKind": "jobs.models.Workflow.Kind",
        "AttestationStatus": "attestations.models.Attestation.Status",
        "SubmissionStatus": "attestations.models.Submission.Status",
        "DeliveryStatus": "webhooks.models.Delivery.Status",
    },
}

# --- Webhooks --------------------------------------------------------------------------------------

# Targets beside the public internet that deliveries may reach, and whether over plain http.
WEBHOOK_ALLOWED_NETWORKS = env.list("WEBHOOK_ALLOWED_NETWORKS", default=[])
WEBHOOK_ALLOW_HTTP = env.bool("WEBHOOK_ALLOW_HTTP", default=False)
# Certificate authorities in PEM; unset, those that Mozilla trusts (certifi).
WEBHOOK_CA_FILE = env.str("WEBHOOK_CA_FILE", default="")
WEBHOOK_RETENTION_DAYS = env.int("WEBHOOK_RETENTION_DAYS", default=30)
# Whether the caller of /miniapp-gen-mock may ask it to fail, to wait or to answer badly: for demo and tests.
MINIAPP_MOCK_OBEYS = env.bool("MINIAPP_MOCK_OBEYS", default=False)

# --- Submissions, proofs, chain --------------------------------------------------------------------

SUBMISSION_IMAGE_MAX_BYTES = env.int("SUBMISSION_IMAGE_MAX_BYTES", default=33_554_432)

# Proof systems by name; a prover is found by its dotted path.
PROVERS = env.dict(
    "PROVERS",
    default={
        "groth16": "attestations.proofs.groth16.Groth16Prover",
        "plonk": "attestations.proofs.plonk.PlonkProver",
        "stark": "attestations.proofs.stark.StarkProver",
    },
)
PROOF_KEYS_DIR = Path(env.str("PROOF_KEYS_DIR", default=str(DATA_DIR / "proof_keys"))).absolute()
# One proof is made by a process of its own, which may take so much memory and time.
PROOF_MEMORY_MB = env.int("PROOF_MEMORY_MB", default=1_024)
PROOF_SECONDS = env.int("PROOF_SECONDS", default=120)

# An Ethereum node, the private key that pays and publishes, and the AttestationRegistry's address. Without all
# three nothing is published; `manage.py up` sets them for the local chain that it runs where none is named.
CHAIN_RPC_URL = env.str("CHAIN_RPC_URL", default="")
PRIVATE_KEY = env.str("PRIVATE_KEY", default="")
CONTRACT_ADDRESS = env.str("CONTRACT_ADDRESS", default="")
LOCAL_CHAIN = env.bool("LOCAL_CHAIN", default=IS_EMBEDDED)
CHAIN_CONFIRMATIONS = env.int("CHAIN_CONFIRMATIONS", default=1)
if LOCAL_CHAIN and not CHAIN_RPC_URL and (_running := find_chain(DATA_DIR)):
    # Beside such an `up`, other processes of its data folder publish where it does.
    CHAIN_RPC_URL, PRIVATE_KEY = _running["CHAIN_RPC_URL"], _running["PRIVATE_KEY"]
    CONTRACT_ADDRESS = _running["CONTRACT_ADDRESS"]
    CHAIN_CONFIRMATIONS = 1  # its blocks come with transactions alone, and a second might never come
CHAIN_RECEIPT_SECONDS = env.int("CHAIN_RECEIPT_SECONDS", default=120)
CHAIN_MAX_FEE_GWEI = env.int("CHAIN_MAX_FEE_GWEI", default=100)
# Where people look transactions up; unset, that of the chain, where it is a known one.
CHAIN_EXPLORER_URL = env.str("CHAIN_EXPLORER_URL", default="")

# --- Files -----------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
WHITENOISE_USE_FINDERS = DEBUG
MEDIA_URL = "/artifacts/"
MEDIA_ROOT = DATA_DIR / "artifacts"
FILE_UPLOAD_PERMISSIONS = 0o600

# --- Words, times, logs ----------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING_CONFIG = None
configure_logging(LOG_LEVEL)

# --- The monitor -----------------------------------------------------------------------------------

# Fields whose values people at the monitor see only after they have said why; names, also with *, in any case.
MASKED_FIELDS = env.list(
    "MASKED_FIELDS",
    default=[
        "*password*",
        "*secret*",
        "*token*",
        "api_key",
        "apikey",
        "authorization",
        "private_key",
        "cookie",
    ],
)

LOGIN_URL = reverse_lazy("admin:login")
UNFOLD = {
    "SITE_TITLE": "Affidavit",
    "SITE_HEADER": "Affidavit",
    "SITE_SUBHEADER": "jobs, attested",
    "SITE_SYMBOL": "verified",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
            "%3Crect width='16' height='16' rx='4' fill='%2300687d'/%3E"
            "%3Cpath d='M4 8l3 3 5-6' fill='none' stroke='white' stroke-width='2'/%3E%3C/svg%3E",
        }
    ],
    "SITE_URL": None,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": [
        lambda request: static("affidavit/monitor.css"),
        lambda request: static("affidavit/overview.css"),
        lambda request: static("affidavit/lists.css"),
        lambda request: static("affidavit/units.css"),
        lambda request: static("affidavit/operators.css"),
        lambda request: static("affidavit/keyboard.css"),
    ],
    "SCRIPTS": [
        lambda request: static("affidavit/live.js"),
        lambda request: static("affidavit/keyboard.js"),
    ],
    "DASHBOARD_CALLBACK": "jobs.admin.overview.add_figures",
    "SIDEBAR": {"navigation": "config.admin.navigation"},
    "BORDER_RADIUS": "6px",
    # Ink on paper: petrol over warm greys.
    "COLORS": {
        "base": {
            "50": "oklch(98.4% .005 85)",
            "100": "oklch(96.5% .006 84)",
            "200": "oklch(92% .008 82)",
            "300": "oklch(86.5% .010 78)",
            "400": "oklch(70.9% .013 72)",
            "500": "oklch(55.3% .015 68)",
            "600": "oklch(44.4% .014 66)",
            "700": "oklch(37% .013 64)",
            "800": "oklch(27.5% .011 62)",
            "900": "oklch(20.5% .009 60)",
            "950": "oklch(14.5% .008 58)",
        },
        "primary": {
            "50": "oklch(97.8% .013 210)",
            "100": "oklch(94.5% .030 209)",
            "200": "oklch(89% .055 209)",
            "300": "oklch(81.5% .085 210)",
            "400": "oklch(72.5% .105 212)",
            "500": "oklch(61.5% .105 215)",
            "600": "oklch(49.5% .090 219)",
            "700": "oklch(42.5% .077 222)",
            "800": "oklch(36% .064 225)",
            "900": "oklch(31% .052 227)",
            "950": "oklch(23.5% .042 229)",
        },
    },
}

# Set by the test suite: passwords are hashed cheaply there.
if os.environ.get("PYTEST_VERSION"):
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
