"""What users test their renderers and controllers with."""

from ingresskit.testing.authorities import SampleAuthority, ca_secret, make_authority
from ingresskit.testing.builders import (
    EPOCH,
    backend,
    endpoint,
    endpoint_slice,
    ingress,
    ingress_class,
    moment,
    path,
    service,
)
from ingresskit.testing.certificates import SampleCertificate, make_certificate, tls_secret
from ingresskit.testing.contract import RendererContract
from ingresskit.testing.oracle import answer_faults, ask_graph, possible_answers
from ingresskit.testing.scenario import Answer, Ask, Scenario, Want, diagnostic_line, endpoint_text
from ingresskit.testing.scenario_files import load_annotation_scenarios, load_scenarios, read_scenarios

__all__ = [
    "EPOCH",
    "Answer",
    "Ask",
    "RendererContract",
    "SampleAuthority",
    "SampleCertificate",
    "Scenario",
    "Want",
    "answer_faults",
    "ask_graph",
    "backend",
    "ca_secret",
    "diagnostic_line",
    "endpoint",
    "endpoint_slice",
    "endpoint_text",
    "ingress",
    "ingress_class",
    "load_annotation_scenarios",
    "load_scenarios",
    "make_authority",
    "make_certificate",
    "moment",
    "path",
    "possible_answers",
    "read_scenarios",
    "service",
    "tls_secret",
]
