"""What the made-up tenants ask for, who does it, and what goes wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

TENANTS = (
    ("demo-aurora", "Aurora Prints", 6),
    ("demo-harbour", "Harbour Studio", 3),
    ("demo-lumen", "Lumen Post", 1),
)
MORE_TENANTS = ("demo-meadow", "demo-quarry", "demo-tidal", "demo-willow", "demo-zephyr")

SUBJECTS = ("a lighthouse", "a tram", "two herons", "a harbour", "an old observatory", "a market", "a fox")
PLACES = (
    "on a cliff",
    "in the rain",
    "under the northern lights",
    "by a canal",
    "in deep snow",
    "at low tide",
)
MOODS = ("at dusk", "at first light", "in high summer", "before a storm", "by lamplight", "in late autumn")
STYLES = ("realistic", "watercolour", "linocut", "poster", "charcoal", "isometric")
MODELS = ("aurora-xl-1.4", "aurora-xl-1.5", "pastel-2", "graphite-0.9")
OPERATORS = ("ines", "tomasz", "mireille")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One way to fail: `share` of the failures of a service; `say` words it anew each time."""

    code: str
    share: float
    say: Callable[[Random], str]
    is_permanent: bool = False
    has_traceback: bool = False


@dataclass(frozen=True, kw_only=True)
class Service:
    """What a remote worker or (with `kind`) a handler does: how long, how reliably, with what result."""

    name: str
    seconds: float  # the median of an attempt
    failure_share: float  # of attempts
    failures: tuple[Failure, ...]
    extension: str = ""  # of the file it makes
    kind: bool = False
    queue: str = ""
    timeout_seconds: int = 300
    max_attempts: int = 6
    workers: tuple[str, ...] = field(default=())


def prompt(rng: Random) -> str:
    return f"{rng.choice(SUBJECTS)} {rng.choice(PLACES)} {rng.choice(MOODS)}"


def _hex(rng: Random, digits: int) -> str:
    return f"{rng.getrandbits(digits * 4):0{digits}x}"


LOST = Failure(code="worker_lost", share=0.45, say=lambda rng: "Its worker stopped renewing its lease.")
OUT_OF_MEMORY = Failure(
    code="out_of_memory",
    share=0.2,
    say=lambda rng: (
        f"CUDA out of memory. Tried to allocate {rng.choice((256, 512, 1024, 2048))}.00 MiB (GPU {rng.randint(0, 3)}; "
        f"23.69 GiB total capacity; {rng.uniform(19, 23):.2f} GiB already allocated)"
    ),
    has_traceback=True,
)
NO_CHECKPOINT = Failure(
    code="model_missing",
    share=0.02,
    say=lambda rng: f"No such file: /models/checkpoints/{rng.choice(MODELS)}/{_hex(rng, 12)}.safetensors",
    is_permanent=True,
    has_traceback=True,
)
REFUSED = Failure(
    code="content_refused",
    share=0.03,
    say=lambda rng: f"The prompt was refused by the content filter (score {rng.uniform(0.82, 0.99):.2f}).",
    is_permanent=True,
)
UNREADABLE = Failure(
    code="bad_input",
    share=0.02,
    say=lambda rng: f"cannot identify image file '/tmp/in-{_hex(rng, 8)}.png'",
    is_permanent=True,
    has_traceback=True,
)
STORAGE_AWAY = Failure(
    code="upstream_unavailable",
    share=0.2,
    say=lambda rng: (
        f"503 Service Unavailable for https://storage.example/b/{_hex(rng, 6)}/{_hex(rng, 16)}.png "
        f"after {rng.randint(2, 5)} tries"
    ),
)
HUNG_UP = Failure(
    code="connection_reset",
    share=0.15,
    say=lambda rng: (
        f"Connection reset by 10.4.{rng.randint(0, 9)}.{rng.randint(2, 250)}:443 after {rng.randint(1, 90)} s"
    ),
)
TOO_LARGE = Failure(
    code="too_large",
    share=0.03,
    say=lambda rng: (
        f"Image of {rng.randint(9, 16) * 1024} x {rng.randint(9, 16) * 1024} pixels is more than 67108864 pixels"
    ),
    is_permanent=True,
)
OVERRUN = Failure(code="timed_out", share=0.08, say=lambda rng: "The attempt ran longer than 300 s.")
KILLED = Failure(
    code="encoder_failed",
    share=0.5,
    say=lambda rng: f"ffmpeg ended with code {rng.choice((1, 134, 137))} at frame {rng.randint(12, 4_000)}",
    has_traceback=True,
)
NO_QUOTA = Failure(
    code="rate_limited",
    share=0.4,
    say=lambda rng: f"The provider allows 60 requests a minute; try again in {rng.randint(2, 59)} s.",
)
BAD_ANSWER = Failure(
    code="bad_answer",
    share=0.3,
    say=lambda rng: (
        f"Expecting value: line {rng.randint(1, 40)} column {rng.randint(1, 80)} (char {rng.randint(0, 9_000)})"
    ),
    has_traceback=True,
)
NO_WORKFLOW = Failure(
    code="workflow_not_found",
    share=1.0,
    say=lambda rng: f"There is no workflow 'workflow-{_hex(rng, 24)}'.",
    is_permanent=True,
)

_GPUS = ("gpu-1", "gpu-2", "gpu-3", "gpu-4", "gpu-5", "gpu-6")
PAINT = Service(
    name="paint",
    seconds=9.0,
    failure_share=0.4,
    failures=(LOST, OUT_OF_MEMORY, STORAGE_AWAY, OVERRUN, REFUSED, NO_CHECKPOINT),
    extension="png",
    workers=_GPUS,
)
UPSCALE = Service(
    name="upscale",
    seconds=5.0,
    failure_share=0.4,
    failures=(LOST, OUT_OF_MEMORY, STORAGE_AWAY, HUNG_UP, TOO_LARGE, UNREADABLE),
    extension="png",
    workers=_GPUS[:3],
)
FRAME = Service(
    name="frame",
    seconds=1.5,
    failure_share=0.33,
    failures=(LOST, HUNG_UP, UNREADABLE),
    extension="jpg",
    workers=("cpu-1", "cpu-2"),
)
CAPTION = Service(
    name="caption",
    seconds=2.0,
    failure_share=0.36,
    failures=(NO_QUOTA, BAD_ANSWER, HUNG_UP),
    workers=("cpu-1", "cpu-2"),
)
TRANSCODE = Service(
    name="transcode",
    seconds=40.0,
    failure_share=0.38,
    failures=(LOST, KILLED, STORAGE_AWAY, OVERRUN),
    extension="mp4",
    workers=("cpu-3",),
)
PING = Service(
    name="system.ping",
    seconds=0.004,
    failure_share=0.0,
    failures=(),
    kind=True,
    queue="default",
    max_attempts=3,
)
REMINDER = Service(
    name="requests.reminder",
    seconds=0.02,
    failure_share=0.02,
    failures=(NO_WORKFLOW,),
    kind=True,
    queue="default",
    max_attempts=3,
)
# Nobody works for it: what asks for it waits, and the monitor says so.
ANIMATE = Service(name="animate", seconds=60.0, failure_share=0.0, failures=(), extension="mp4")

# Collections by name, each with its steps and how often it is asked for.
RECIPES: tuple[tuple[str, tuple[Service, ...], int], ...] = (
    ("posters", (PAINT,), 45),
    ("large prints", (PAINT, UPSCALE), 35),
    ("framed prints", (PAINT, UPSCALE, FRAME), 20),
)
SINGLES = ((CAPTION, 45), (TRANSCODE, 15), (PAINT, 15), (PING, 15), (REMINDER, 10))


def payload_of(service: Service, rng: Random) -> dict[str, Any]:
    """What a job of its own is handed in with."""
    if service is PING:
        return {}
    if service is REMINDER:
        return {"requestId": f"workflow-{_hex(rng, 24)}"}
    if service is CAPTION:
        return {
            "image": f"https://cdn.example.com/in/{_hex(rng, 12)}.jpg",
            "language": rng.choice(("en", "de", "pt")),
        }
    if service is TRANSCODE:
        return {
            "video": f"https://cdn.example.com/in/{_hex(rng, 12)}.mov",
            "height": rng.choice((720, 1080, 2160)),
        }
    return {
        "prompt": prompt(rng),
        "style": rng.choice(STYLES),
        "model": rng.choice(MODELS),
        "seed": rng.randint(1, 99_999),
        "width": 1024,
        "height": rng.choice((768, 1024, 1536)),
        "contact": {"email": f"{rng.choice(OPERATORS)}@example.com", "api_token": f"tok_{_hex(rng, 16)}"},
    }


def steps_of(services: tuple[Service, ...]) -> list[dict[str, Any]]:
    """The steps of a collection."""
    steps: list[dict[str, Any]] = []
    for service in services:
        if steps:
            payload = {"image": f"${{steps.{steps[-1]['name']}.result.url}}", "scale": 2}
        else:
            payload = {
                "prompt": "${variables.prompt}",
                "style": "${variables.style}",
                "seed": "${variables.seed}",
            }
        steps.append({"name": service.name, "service_required": service.name, "payload": payload})
    return steps


CONTENT_TYPES = {"png": "image/png", "jpg": "image/jpeg", "mp4": "video/mp4"}


def result_of(service: Service, job_id: str, rng: Random) -> dict[str, Any]:
    """What a completed attempt gives."""
    if service is PING:
        return {"pong": _hex(rng, 32)}
    if service is REMINDER:
        return {"reminded": f"workflow-{_hex(rng, 24)}"}
    if service is CAPTION:
        return {"caption": prompt(rng), "confidence": round(rng.uniform(0.6, 0.99), 2)}
    return {
        "url": f"https://cdn.example.com/out/{job_id}.{service.extension}",
        "content_type": CONTENT_TYPES[service.extension],
        "bytes": rng.randint(180_000, 4_000_000),
    }
