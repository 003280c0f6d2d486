"""The command line of ingress-nginx: which flags say how it is to be run here instead.

Source: ingress-nginx at dbb11b92d (2026-03-20), ``pkg/flags/flags.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ingresskit.models import ObjectKey

__all__ = ["FLAGS", "ControllerFlags", "FlagDoc", "read_flags"]


class FlagDoc(NamedTuple):
    """What becomes of a flag.

    Attributes:
        here: The flag here, with ``{}`` for the value; empty: there is none.
        note: What to know: why nothing is lost without it, or what is.
        lost: Whether something is lost.
    """

    here: str = ""
    note: str = ""
    lost: bool = False


_RUN = FlagDoc(note="how ingress-nginx itself is run")

FLAGS: Final[Mapping[str, FlagDoc]] = {
    "ingress-class": FlagDoc("--ingress-class {}"),
    "controller-class": FlagDoc("--controller-name {}"),
    "watch-ingress-without-class": FlagDoc("--watch-ingress-without-class"),
    "ingress-class-by-name": FlagDoc(
        note="classes are matched by their controller here; give each IngressClass that of --controller-name",
        lost=True,
    ),
    "configmap": FlagDoc("--configmap {}"),
    "annotations-prefix": FlagDoc("--annotations-prefix {}"),
    "default-ssl-certificate": FlagDoc("--default-ssl-certificate {}"),
    "default-backend-service": FlagDoc("--default-backend-service {}"),
    "publish-service": FlagDoc("--publish-service {}"),
    "publish-status-address": FlagDoc("--publish-address {}"),
    "report-node-internal-ip-address": FlagDoc(
        "--publish-node-addresses", "external addresses of nodes count before internal ones", lost=True
    ),
    "watch-namespace": FlagDoc("--watch-namespace {}"),
    "watch-namespace-selector": FlagDoc("--watch-namespace-selector {}"),
    "http-port": FlagDoc("--http 0.0.0.0:{}"),
    "https-port": FlagDoc("--https 0.0.0.0:{}"),
    "kubeconfig": FlagDoc("--kubeconfig {}"),
    "shutdown-grace-period": FlagDoc("--shutdown-delay {}s"),
    "election-id": FlagDoc(
        note="the Lease is ingresskit in the controller's namespace; see --leader-election-lease"
    ),
    "update-status": FlagDoc(note="the status is written where --publish-… is given only"),
    "update-status-on-shutdown": FlagDoc(note="the status stays, so that the next replica finds it"),
    "disable-svc-external-name": FlagDoc(
        note="Services of type ExternalName are refused unless they are allowed"
    ),
    "tcp-services-configmap": FlagDoc("--tcp-services-configmap {}"),
    "udp-services-configmap": FlagDoc(note="UDP is not served", lost=True),
    "enable-ssl-passthrough": FlagDoc("--enable-ssl-passthrough"),
    "enable-topology-aware-routing": FlagDoc(
        note="hints of EndpointSlices are followed where the zone is known: set NODE_NAME or --zone"
    ),
    "validating-webhook": FlagDoc(
        note="there is no admission webhook; run `ingresskit check` where manifests are reviewed", lost=True
    ),
    "disable-catch-all": FlagDoc(
        note="rules without a host and default backends are served; see --require-namespace-hosts", lost=True
    ),
    "maxmind-license-key": FlagDoc(note="GeoIP is not built", lost=True),
    "maxmind-edition-ids": FlagDoc(note="GeoIP is not built", lost=True),
    "enable-annotation-validation": FlagDoc(note="annotations are always validated"),
    "deep-inspect": FlagDoc(note="no value of an annotation becomes configuration text"),
    "enable-metrics": FlagDoc(note="metrics are on, at --admin"),
    "metrics-per-host": FlagDoc(note="requests are counted by host"),
    "metrics-per-undefined-host": FlagDoc(note="requests for unknown hosts are counted together"),
    "validating-webhook-certificate": FlagDoc(note="belongs to validating-webhook"),
    "validating-webhook-key": FlagDoc(note="belongs to validating-webhook"),
    **dict.fromkeys(
        (
            *("alsologtostderr", "apiserver-host", "certificate-authority", "default-server-port"),
            *("disable-full-test", "disable-leader-election", "disable-sync-events", "election-ttl"),
            *("dynamic-configuration-retries", "enable-dynamic-certificates", "exclude-socket-metrics"),
            *(
                "health-check-path",
                "health-check-timeout",
                "healthz-host",
                "healthz-port",
                "internal-logger-address",
            ),
            *("length-buckets", "log_dir", "logtostderr", "maxmind-mirror", "maxmind-retries-count"),
            *("monitor-max-batch-size", "post-shutdown-grace-period", "profiler-address", "profiler-port"),
            *("profiling", "reports-status-classes", "report-status-classes", "size-buckets", "status-port"),
            *("ssl-passthrough-proxy-port", "status-update-interval", "stderrthreshold", "stream-port"),
            *("sync-period", "sync-rate-limit", "time-buckets", "bucket-factor", "max-buckets", "v", "version"),
            *("vmodule", "skip_headers", "skip_log_headers", "add_dir_header", "one_output"),
        ),
        _RUN,
    ),
}
"""Every flag of ingress-nginx, by name."""

_SWITCHES: Final = frozenset(
    {
        *("watch-ingress-without-class", "ingress-class-by-name", "report-node-internal-ip-address"),
        *("enable-ssl-passthrough", "enable-topology-aware-routing", "disable-catch-all"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerFlags:
    """The flags that ingress-nginx is run with.

    Attributes:
        values: By name, without dashes; of a switch ``"true"`` or ``"false"``.
        namespace: That of its pod, which ``$(POD_NAMESPACE)`` stands for.
    """

    values: Mapping[str, str] = field(default_factory=dict[str, str])
    namespace: str = "ingress-nginx"

    @property
    def ingress_class(self) -> str:
        """The class of the legacy annotation."""
        return self.values.get("ingress-class", "nginx")

    @property
    def controller_class(self) -> str:
        """The ``spec.controller`` of its IngressClasses."""
        return self.values.get("controller-class", "k8s.io/ingress-nginx")

    @property
    def prefix(self) -> str:
        """That of its annotations."""
        return self.values.get("annotations-prefix", "nginx.ingress.kubernetes.io")

    @property
    def configmap(self) -> ObjectKey | None:
        """Its ConfigMap."""
        namespace, slash, name = self.values.get("configmap", "").partition("/")
        return ObjectKey(namespace, name) if slash and namespace and name else None

    def on(self, name: str) -> bool:
        """Whether a flag is given and is not false."""
        return self.values.get(name, "false").lower() not in ("false", "0", "f", "")

    @staticmethod
    def asks(name: str, value: str) -> bool:
        """Whether *value* of the flag *name* asks for anything."""
        return name not in _SWITCHES or value.lower() not in ("false", "0", "f", "")


def read_flags(words: Iterable[str], namespace: str = "ingress-nginx") -> ControllerFlags:
    """The flags among the arguments of a container: ``--name=value``, ``--name value``, ``--name``.

    Args:
        words: As in the manifest.
        namespace: Of the pod.
    """
    values: dict[str, str] = {}
    waiting = ""
    for word in words:
        if word.startswith("-") and len(word) > 1:
            name, equals, value = word.lstrip("-").partition("=")
            waiting = "" if equals else name
            values[name] = value if equals else "true"
        elif waiting:
            values[waiting] = word
            waiting = ""
    shown = {name: text.replace("$(POD_NAMESPACE)", namespace) for name, text in values.items()}
    return ControllerFlags(values=shown, namespace=namespace)
