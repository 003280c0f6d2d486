"""Annotations that another controller reads: what is said of them, and which of them close a route."""

from __future__ import annotations

import pytest

from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import (
    FOREIGN_FAMILIES,
    ForeignAnnotations,
    ForeignProtections,
    NativeDialect,
    PolicyRegistry,
    Reading,
    default_policies,
)

INGRESS = ObjectRef("Ingress", ObjectKey("shop", "web"))
SERVICE = ObjectRef("Service", ObjectKey("shop", "web"))
NGINX = "nginx.ingress.kubernetes.io"


def judge(
    annotations: dict[str, str],
    *,
    registry: PolicyRegistry | None = None,
    protections: ForeignProtections = ForeignProtections.CLOSE,
    subject: ObjectRef = INGRESS,
) -> Reading:
    foreign = ForeignAnnotations(registry or default_policies(), FOREIGN_FAMILIES, protections=protections)
    return foreign.judge(annotations, subject)


def only(parsed: Reading) -> Diagnostic:
    (found,) = parsed.diagnostics
    return found


PROTECTIONS = {
    "allow list of ingress-nginx": (f"{NGINX}/whitelist-source-range", "10.0.0.0/8"),
    "deny list of ingress-nginx": (f"{NGINX}/denylist-source-range", "10.0.0.0/8"),
    "basic authentication": (f"{NGINX}/auth-type", "basic"),
    "external authentication": (f"{NGINX}/auth-url", "https://auth.test/"),
    "client certificates": (f"{NGINX}/auth-tls-secret", "shop/ca"),
    "firewall": (f"{NGINX}/enable-modsecurity", "true"),
    "snippet": (f"{NGINX}/configuration-snippet", "deny all;"),
    "snippet of a server": (f"{NGINX}/server-snippet", "location /x { deny all; }"),
    "prefix before 0.9": ("ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8"),
    "plain HTTP, in the older name": ("ingress.kubernetes.io/allow-http", "false"),
    "F5 NGINX": ("nginx.org/basic-auth-secret", "users"),
    "F5 NGINX, JWT": ("nginx.com/jwt-key", "keys"),
    "F5 NGINX, policies": ("nginx.org/policies", "shop/only-us"),
    "App Protect": ("appprotect.f5.com/app-protect-enable", "True"),
    "Traefik": ("traefik.ingress.kubernetes.io/router.middlewares", "shop-auth@kubernetescrd"),
    "haproxy-ingress": ("haproxy-ingress.github.io/allowlist-source-range", "10.0.0.0/8"),
    "haproxy-ingress, OAuth": ("haproxy-ingress.github.io/oauth", "oauth2_proxy"),
    "HAProxy Technologies": ("haproxy.org/allow-list", "10.0.0.0/8"),
    "HAProxy Technologies, client certificates": ("haproxy.org/client-ca", "shop/ca"),
    "Kong": ("konghq.com/plugins", "key-auth"),
    "ALB, OIDC": ("alb.ingress.kubernetes.io/auth-type", "oidc"),
    "ALB, addresses": ("alb.ingress.kubernetes.io/inbound-cidrs", "10.0.0.0/8"),
    "ALB, firewall": ("alb.ingress.kubernetes.io/wafv2-acl-arn", "arn:aws:wafv2:x"),
    "ALB, condition on addresses": (
        "alb.ingress.kubernetes.io/conditions.web",
        '[{"field":"source-ip","sourceIpConfig":{"values":["10.0.0.0/8"]}}]',
    ),
    "Azure": ("appgw.ingress.kubernetes.io/waf-policy-for-path", "/subscriptions/x"),
    "Skipper": ("zalando.org/skipper-filter", "oauthGrant()"),
    "APISIX": ("k8s.apisix.apache.org/blocklist-source-range", "10.0.0.0/8"),
    "Voyager": ("ingress.appscode.com/auth-secret", "users"),
    "NetScaler": ("ingress.citrix.com/ca-secret", "ca"),
    "Ambassador": ("getambassador.io/config", "---"),
    "F5 BIG-IP": ("virtual-server.f5.com/whitelist-source-range", "10.0.0.0/8"),
    "OpenShift": ("haproxy.router.openshift.io/ip_whitelist", "10.0.0.0/8"),
    "Pomerium": ("ingress.pomerium.io/policy", "allow: {}"),
    "name that is in no table, by its words": ("haproxy.org/jwt-verify", "x"),
    "native name without slash": ("ingresskit.dev.allow-sources", "10.0.0.0/8"),
    "native name without prefix": ("allow-sources", "10.0.0.0/8"),
    "first label alone": ("ingresskit/allow-sources", "10.0.0.0/8"),
    "other domain": ("ingresskit.io/allow-sources", "10.0.0.0/8"),
    "hyphen": ("ingress-kit.dev/allow-sources", "10.0.0.0/8"),
    "letter left out": ("ingreskit.dev/allow-sources", "10.0.0.0/8"),
    "letters swapped": ("ingerss-kit.dev/allow-sources", "10.0.0.0/8"),
    "capital letter": ("Ingresskit.dev/allow-sources", "10.0.0.0/8"),
    "domain cut short": ("ingresskit.de/allow-sources", "10.0.0.0/8"),
    "two slips": ("ingresskit.io/alow-sources", "10.0.0.0/8"),
}


@pytest.mark.parametrize(("key", "value"), PROTECTIONS.values(), ids=PROTECTIONS)
def test_a_protection_that_nobody_reads_closes_its_routes(key: str, value: str) -> None:
    parsed = judge({key: value})
    fault = only(parsed)

    assert fault.severity is Severity.ERROR
    assert fault.field == f"metadata.annotations[{key}]"
    assert "the routes of this object respond 503" in fault.message
    assert parsed.protection_fault is fault


@pytest.mark.parametrize(("key", "value"), PROTECTIONS.values(), ids=PROTECTIONS)
def test_the_integrator_may_have_them_served_open(key: str, value: str) -> None:
    parsed = judge({key: value}, protections=ForeignProtections.WARN)
    fault = only(parsed)

    assert fault.severity is Severity.WARNING
    assert "open to every client" in fault.message
    assert parsed.protection_fault is None


NOTHING_LOST = {
    "everybody is allowed": (f"{NGINX}/whitelist-source-range", "0.0.0.0/0,::/0"),
    "every IPv4 address is allowed": (f"{NGINX}/allowlist-source-range", "10.0.0.0/8, 0.0.0.0/0"),
    "empty": (f"{NGINX}/auth-type", ""),
    "empty snippet": (f"{NGINX}/configuration-snippet", " \n"),
    "off": (f"{NGINX}/enable-modsecurity", "false"),
    "no client certificates": (f"{NGINX}/auth-tls-verify-client", "off"),
    "no body limit": (f"{NGINX}/proxy-body-size", "0"),
    "the redirect is on anyway": (f"{NGINX}/ssl-redirect", "true"),
    "no canary": (f"{NGINX}/canary", "false"),
    "no authentication at the ALB": ("alb.ingress.kubernetes.io/auth-type", "none"),
    "written by the controller of GKE": ("ingress.kubernetes.io/backends", "{}"),
    "cert-manager": ("cert-manager.io/cluster-issuer", "le"),
    "ACME": ("acme.cert-manager.io/http01-edit-in-place", "true"),
    "external-dns": ("external-dns.alpha.kubernetes.io/hostname", "a.test"),
    "kube-lego": ("kubernetes.io/tls-acme", "true"),
    "class": ("kubernetes.io/ingress.class", "nginx"),
    "Helm": ("meta.helm.sh/release-name", "x"),
    "kubectl": ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
    "Argo CD": ("argocd.argoproj.io/sync-wave", "1"),
    "somebody's own": ("team.example/auth-allow-list", "x"),
    "somebody's own, without prefix": ("redirect", "x"),
    "near, but not ours": ("ingress.dev/allow-sources", "10.0.0.0/8"),
    "read by us": ("ingresskit.dev/allow-sources", "10.0.0.0/8"),
}


@pytest.mark.parametrize(("key", "value"), NOTHING_LOST.values(), ids=NOTHING_LOST)
def test_nothing_is_said_where_nothing_is_lost(key: str, value: str) -> None:
    assert judge({key: value}) == Reading()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        (f"{NGINX}/proxy-body-size", "64m", "use ingresskit.dev/body-limit"),
        (f"{NGINX}/canary", "true", "use ingresskit.dev/traffic-split"),
        (f"{NGINX}/backend-protocol", "HTTPS", "set appProtocol"),
        (f"{NGINX}/use-regex", "true", "letter by letter"),
        (f"{NGINX}/ssl-redirect", "false", "use ingresskit.dev/tls-redirect"),
        ("nginx.org/limit-req-rate", "10r/s", "use ingresskit.dev/rate-limit"),
        ("haproxy.org/rate-limit-requests", "10", "use ingresskit.dev/rate-limit"),
        (f"{NGINX}/limit-rps", "5", "use ingresskit.dev/rate-limit"),
        (f"{NGINX}/cors-allow-origin", "*", "use ingresskit.dev/cors-origins"),
        (f"{NGINX}/auth-realm", "Staff", "use ingresskit.dev/basic-auth-realm"),
        (f"{NGINX}/proxy-cookie-path", "/a /b", "use ingresskit.dev/cookie-path"),
        (f"{NGINX}/fastcgi-index", "index.php", "there is no native annotation for it"),
        ("kubernetes.io/ingress.global-static-ip-name", "web", "GKE"),
        ("konghq.com/strip-path", "true", "use ingresskit.dev/rewrite-prefix"),
        ("alb.ingress.kubernetes.io/conditions.web", '[{"field":"http-header"}]', "goes to the Service"),
        ("ingresskit.io/read-timeout", "5s", "did you mean ingresskit.dev/read-timeout?"),
        ("ingresskit.io/read-timeot", "5s", "did you mean ingresskit.dev/read-timeout?"),
    ],
)
def test_what_is_lost_without_protecting_is_a_warning_with_what_to_do(key: str, value: str, says: str) -> None:
    parsed = judge({key: value})
    fault = only(parsed)

    assert (fault.severity, parsed.protection_fault) == (Severity.WARNING, None)
    assert says in fault.message


@pytest.mark.parametrize(
    ("annotation", "switch", "off"),
    [
        (f"{NGINX}/auth-tls-secret", f"{NGINX}/auth-tls-verify-client", "off"),
        (f"{NGINX}/auth-secret", f"{NGINX}/auth-type", ""),
        (f"{NGINX}/enable-owasp-core-rules", f"{NGINX}/enable-modsecurity", "false"),
        ("alb.ingress.kubernetes.io/auth-idp-oidc", "alb.ingress.kubernetes.io/auth-type", "none"),
    ],
)
def test_a_protection_that_another_annotation_switches_off_closes_nothing(
    annotation: str, switch: str, off: str
) -> None:
    assert judge({annotation: "true"}).protection_fault is not None
    assert judge({annotation: "true", switch: "on"}).protection_fault is not None
    assert judge({annotation: "true", switch: off}).protection_fault is None


def test_the_solver_of_cert_manager_is_left_open() -> None:
    assert judge({f"{NGINX}/whitelist-source-range": "0.0.0.0/0,::/0"}) == Reading()


def test_the_native_annotation_beside_a_foreign_one_makes_up_for_it() -> None:
    both = {f"{NGINX}/whitelist-source-range": "10.0.0.0/8", "ingresskit.dev/allow-sources": "10.0.0.0/8"}

    assert judge(both) == Reading()


def test_a_dialect_takes_its_prefix_out_of_the_table() -> None:
    registry = default_policies().with_dialect(NativeDialect((), prefix=NGINX))

    assert judge({f"{NGINX}/whitelist-source-range": "10.0.0.0/8"}, registry=registry) == Reading()


def test_the_native_prefix_is_a_slip_where_another_one_is_set() -> None:
    parsed = judge(
        {"ingresskit.dev/allow-sources": "10.0.0.0/8"}, registry=default_policies(prefix="proxy.acme.test")
    )

    assert parsed.protection_fault is not None
    assert "did you mean proxy.acme.test/allow-sources?" in parsed.protection_fault.message


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("konghq.com/plugins", Reason.ANNOTATION_FOREIGN),
        ("ingresskit.dev/allow-sources", Reason.ANNOTATION_IGNORED),
    ],
)
def test_a_protection_on_a_service_closes_the_routes_to_it(key: str, reason: Reason) -> None:
    parsed = judge({key: "10.0.0.0/8"}, subject=SERVICE)

    assert parsed.protection_fault is not None
    assert parsed.protection_fault.reason is reason
    assert "routes to this Service respond 503" in parsed.protection_fault.message


def test_a_native_annotation_on_a_service_is_a_warning_where_it_does_not_protect() -> None:
    fault = only(judge({"ingresskit.dev/read-timeout": "5s"}, subject=SERVICE))

    assert (fault.reason, fault.severity) == (Reason.ANNOTATION_IGNORED, Severity.WARNING)


def test_families_share_no_prefix_and_name_only_native_annotations_that_exist() -> None:
    prefixes = [prefix for family in FOREIGN_FAMILIES for prefix in family.prefixes]
    names = {annotation.name for annotation in NativeDialect().table()}

    assert len(set(prefixes)) == len(prefixes)
    assert {name for family in FOREIGN_FAMILIES for name in family.same.values()} <= names
    assert not [family for family in FOREIGN_FAMILIES if set(family.same) & set(family.advice)]


def test_a_name_of_any_length_is_judged_in_no_time() -> None:
    keys = {
        "ingresskit.io/" + "a" * 100_000: "x",
        "i" * 100_000 + "/allow": "x",
        f"{NGINX}/" + "a-" * 50_000: "x",
    }

    assert len(judge(keys).diagnostics) == 2


@pytest.mark.parametrize(
    ("key", "says"),
    [(f"{NGINX}/server-snippet", "; it may protect, so"), (f"{NGINX}/auth-url", "; it protects, so")],
)
def test_it_is_said_whether_an_annotation_protects_or_only_may(key: str, says: str) -> None:
    assert says in only(judge({key: "x"})).message
