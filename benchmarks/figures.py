"""Every figure with its target, for two cores with PostgreSQL on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number worth knowing: measured by `benchmarks.<module>`, good at `at_least` or `at_most`.

    Also good where the figure `or_met` is.
    """

    module: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    or_met: str = ""

    @property
    def target(self) -> str:
        sign, bound = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most or 0)
        text = f"{sign} {round(bound, 4):.10g}"
        return f"{text} or {self.or_met}" if self.or_met else text

    def is_met_by(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


# Figures of one module are measured together.
FIGURES = {
    "drain_jobs_per_s": Figure(module="drain", unit="jobs/s", at_least=5_000),
    "drain_share_of_floor": Figure(module="drain", unit="ratio", at_least=0.5),
    "start_latency_p50_ms": Figure(module="start_latency", unit="ms", at_most=8),
    "start_latency_p95_ms": Figure(module="start_latency", unit="ms", at_most=25),
    "enqueue_per_s": Figure(module="enqueue", unit="jobs/s", at_least=900),
    "bulk_enqueue_per_s": Figure(module="enqueue", unit="jobs/s", at_least=8_000),
    "claim_p95_ratio_1m": Figure(module="claim", unit="ratio", at_most=2),
    "submit_rps": Figure(module="submit", unit="requests/s", at_least=800),
    "submit_p95_ms": Figure(module="submit", unit="ms", at_most=60),
    "submit_ratio_miniapp_req": Figure(module="submit", unit="ratio", at_least=0.9),
    "inbound_webhook_rps": Figure(module="inbound", unit="requests/s", at_least=600),
    "delivery_per_s": Figure(module="deliveries", unit="webhooks/s", at_least=500),
    "delivery_per_s_1_endpoint": Figure(module="deliveries", unit="webhooks/s", at_least=500),
    "delivery_per_s_100_endpoints": Figure(module="deliveries", unit="webhooks/s", at_least=500),
    "notify_delay_p50_ms": Figure(module="notify_delay", unit="ms", at_most=50),
    "evaluate_1m_s": Figure(module="evaluate", unit="s", at_most=120),
    "evaluate_idle_ms": Figure(module="evaluate", unit="ms", at_most=100),
    "claim_ratio_while_evaluating": Figure(module="evaluate", unit="ratio", at_most=2),
    "sanitize_mb_per_s": Figure(module="sanitize", unit="MB/s", at_least=200),
    "sanitize_shrink": Figure(module="sanitize", unit="ratio", at_least=0.987),
    "publish_retry_s": Figure(module="publishing", unit="s", at_most=1),
    "publish_retry_ratio": Figure(
        module="publishing", unit="ratio", at_most=1 / 30, or_met="publish_retry_s"
    ),
    "publisher_peak_mb": Figure(module="publishing", unit="MB", at_most=256),
    "generator_peak_mb": Figure(module="publishing", unit="MB", at_most=256),
    "generator_worker_peak_mb": Figure(module="publishing", unit="MB", at_most=256),
    "submissions_per_minute": Figure(module="publishing", unit="1/min", at_least=20),
    "gas_deploy": Figure(module="chain", unit="gas", at_most=1_000_000),
    "gas_attest": Figure(module="chain", unit="gas", at_most=350_000),
    "gas_record": Figure(module="chain", unit="gas", at_most=100_000),
    "groth16_prove_ms": Figure(module="proofs", unit="ms", at_most=1_000),
    "groth16_verify_ms": Figure(module="proofs", unit="ms", at_most=20),
    "groth16_peak_mb": Figure(module="proofs", unit="MB", at_most=256),
    "plonk_prove_ms": Figure(module="proofs", unit="ms", at_most=2_000),
    "plonk_verify_ms": Figure(module="proofs", unit="ms", at_most=20),
    "plonk_peak_mb": Figure(module="proofs", unit="MB", at_most=256),
    "event_delay_p50_ms": Figure(module="streams", unit="ms", at_most=150),
    "event_delay_p95_ms": Figure(module="streams", unit="ms", at_most=500),
    "event_delay_p50_ms_1_watcher": Figure(module="streams", unit="ms", at_most=50),
    "event_delay_p95_ms_1_watcher": Figure(module="streams", unit="ms", at_most=100),
    "watcher_kb": Figure(module="streams", unit="KB", at_most=100),
    "lines_per_s": Figure(module="streams", unit="lines/s", at_least=20_000),
    "session_kb": Figure(module="streams", unit="KB", at_most=10),
    "admin_page_p95_ms": Figure(module="monitor", unit="ms", at_most=300),
    "recovery_s": Figure(module="recovery", unit="s", at_most=40),
}


def is_met(name: str, values: Mapping[str, float]) -> bool:
    """Whether a figure that was measured with `values` is as good as it should be."""
    figure = FIGURES[name]
    if figure.is_met_by(values[name]):
        return True
    return bool(figure.or_met) and figure.or_met in values and is_met(figure.or_met, values)
