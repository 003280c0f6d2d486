"""What the documentation says of each annotation of ingress-nginx, beside what is read of it."""

from __future__ import annotations

from dataclasses import fields

import pytest

from ingresskit.models import ObjectKey, ObjectRef
from ingresskit.policies import IngressNginxDialect, PolicyRegistry, Status
from ingresskit.policies.dialects.ingress_nginx.meanings import MEANINGS
from ingresskit.policies.dialects.ingress_nginx.rows import ROWS as LINES

PREFIX = "nginx.ingress.kubernetes.io/"
ROWS = {row.name: row for row in IngressNginxDialect().table()}
DONE = (Status.HONOURED, Status.PARTLY)

# Values that need no other object; each set is read as one Ingress.
SAMPLES: tuple[dict[str, str], ...] = (
    {
        "allowlist-source-range": "10.0.0.0/8",
        "denylist-source-range": "192.0.2.1",
        "affinity": "cookie",
        "affinity-canary-behavior": "legacy",
        "affinity-mode": "persistent",
        "session-cookie-change-on-failure": "true",
        "session-cookie-conditional-samesite-none": "true",
        "session-cookie-domain": "a.test",
        "session-cookie-expires": "60",
        "session-cookie-max-age": "60",
        "session-cookie-name": "at",
        "session-cookie-path": "/shop",
        "session-cookie-samesite": "Lax",
        "session-cookie-secure": "true",
        "connection-proxy-header": "keep-alive",
        "cors-allow-credentials": "false",
        "cors-allow-headers": "X-One",
        "cors-allow-methods": "GET",
        "cors-allow-origin": "https://a.test",
        "cors-expose-headers": "X-Two",
        "cors-max-age": "60",
        "enable-cors": "true",
        "custom-http-errors": "404",
        "default-backend": "errors",
        "force-ssl-redirect": "true",
        "limit-allowlist": "10.0.0.0/8",
        "limit-burst-multiplier": "2",
        "limit-connections": "5",
        "limit-rate": "100",
        "limit-rate-after": "100",
        "limit-rpm": "100",
        "limit-rps": "100",
        "load-balance": "ewma",
        "mirror-host": "b.test",
        "mirror-request-body": "off",
        "mirror-target": "http://b.test",
        "preserve-trailing-slash": "true",
        "proxy-body-size": "8m",
        "proxy-connect-timeout": "6",
        "proxy-cookie-domain": "a.test b.test",
        "proxy-cookie-path": "/a /b",
        "proxy-next-upstream": "error",
        "proxy-next-upstream-tries": "2",
        "proxy-read-timeout": "6",
        "proxy-redirect-from": "http://a.test/",
        "proxy-redirect-to": "http://b.test/",
        "proxy-request-buffering": "on",
        "proxy-send-timeout": "6",
        "rewrite-target": "/v2",
        "satisfy": "any",
        "upstream-vhost": "c.test",
        "enable-opentelemetry": "true",
        "opentelemetry-trust-incoming-span": "false",
        "relative-redirects": "true",
        "use-port-in-redirects": "true",
        "x-forwarded-prefix": "/shop",
    },
    {"auth-url": "http://auth.test/", "auth-method": "POST", "auth-signin": "http://auth.test/in"},
    {
        "permanent-redirect": "http://b.test/",
        "permanent-redirect-code": "308",
        "whitelist-source-range": "10.0.0.1",
    },
    {"temporal-redirect": "http://b.test/", "temporal-redirect-code": "307", "ssl-redirect": "false"},
    {
        "upstream-hash-by": "$request_uri",
        "upstream-hash-by-subset": "true",
        "upstream-hash-by-subset-size": "2",
    },
    {"upstream-hash-by": "$binary_remote_addr", "app-root": "/app", "from-to-www-redirect": "true"},
    {"ssl-ciphers": "ECDHE-RSA-AES128-GCM-SHA256", "ssl-prefer-server-ciphers": "true"},
)


def test_every_annotation_that_is_honoured_says_what_it_sets() -> None:
    assert sorted(MEANINGS) == [name for name, row in ROWS.items() if row.status in DONE]


def test_every_annotation_stands_there_once() -> None:
    names = [line.partition("|")[0].strip() for lines in LINES.values() for line in lines.strip().splitlines()]

    assert (len(names), sorted(names)) == (138, list(ROWS))


def test_every_field_that_is_named_exists() -> None:
    named = [(kind, field) for meaning in MEANINGS.values() for kind, field in meaning.fields]

    assert [(kind, field) for kind, field in named if field not in {item.name for item in fields(kind)}] == []


def test_every_annotation_that_is_not_wholly_honoured_says_why() -> None:
    assert [name for name, row in ROWS.items() if row.status is not Status.HONOURED and not row.note] == []


@pytest.mark.parametrize("annotations", SAMPLES, ids=lambda item: next(iter(item)))
def test_what_is_read_is_what_is_said(annotations: dict[str, str]) -> None:
    registry = PolicyRegistry([IngressNginxDialect()])
    subject = ObjectRef("Ingress", ObjectKey("shop", "web"))
    reading = registry.read({PREFIX + name: text for name, text in annotations.items()}, subject)

    read = {
        (origin.field.removesuffix("]").rpartition("/")[2], type(policy).__name__)
        for policy in reading.policies
        for origin in reading.policies.origins(type(policy)).values()
    }
    # What the graph expresses by itself is a policy only until then.
    said = {(name, kind.__name__) for name, meaning in MEANINGS.items() for kind, _ in meaning.fields}
    graph = {name for name, meaning in MEANINGS.items() if not meaning.fields}
    assert {item for item in read if item[0] not in graph} - said == set()
    assert {name for name, _ in read} <= set(annotations)
    assert read
