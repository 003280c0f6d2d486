"""What ingress-nginx says of cookies and redirects of endpoints, as policies."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ingresskit.diagnostics import Reason
from ingresskit.policies import CookieRewrite, LocationRewrite, Policy, TextChange
from tests.unit.policies.test_ingress_nginx import read

FROM, TO = "proxy-redirect-from", "proxy-redirect-to"

POLICIES: dict[str, tuple[dict[str, str], dict[str, str], Policy | None]] = {
    "a domain": (
        {"proxy-cookie-domain": "inner.test shop.test"},
        {},
        CookieRewrite(domains=(TextChange("inner.test", "shop.test"),)),
    ),
    "a path of the ConfigMap with attributes": (
        {},
        {"proxy-cookie-path": '/ "/; HttpOnly; Secure"'},
        CookieRewrite(paths=(TextChange("/", "/; HttpOnly; Secure"),)),
    ),
    "an annotation in the place of the ConfigMap": (
        {"proxy-cookie-path": "off"},
        {"proxy-cookie-path": "/a /b"},
        None,
    ),
    "a pattern": (
        {"proxy-cookie-path": "~/app /"},
        {},
        CookieRewrite(paths=(TextChange(".*?/app", "/", pattern=True),)),
    ),
    "a redirect": (
        {FROM: "http://inner.test/", TO: "https://$host/"},
        {},
        LocationRewrite(changes=(TextChange("http://inner.test/", "https://$host/"),), absolute=True),
    ),
    "one by half from the ConfigMap": (
        {TO: "/new/"},
        {FROM: "/old/"},
        LocationRewrite(changes=(TextChange("/old/", "/new/"),), absolute=True),
    ),
    "the default of nginx": (
        {FROM: "default"},
        {},
        LocationRewrite(changes=(TextChange("http://upstream_balancer/", "/"),), absolute=True),
    ),
    "a redirect by a pattern": (
        {FROM: "~*^http://([a-z]+)/", TO: "/$1/"},
        {},
        LocationRewrite(changes=(TextChange("(?i)http://([a-z]+)/", "/$1/", pattern=True),), absolute=True),
    ),
    "redirects that stay paths": (
        {FROM: "/old/", TO: "/new/", "relative-redirects": "true"},
        {},
        LocationRewrite(changes=(TextChange("/old/", "/new/"),)),
    ),
    "no redirect": ({FROM: "off", TO: "off"}, {}, None),
}


@pytest.mark.parametrize(("annotations", "settings", "policy"), POLICIES.values(), ids=POLICIES)
def test_annotations_and_the_config_map_become_policies(
    annotations: Mapping[str, str], settings: Mapping[str, str], policy: Policy | None
) -> None:
    reading = read(dict(annotations), dict(settings))

    found = [item for item in reading.policies if isinstance(item, CookieRewrite | LocationRewrite)]
    assert found == ([] if policy is None else [policy])
    assert reading.diagnostics == ()


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        pytest.param({"proxy-cookie-domain": "inner.test"}, Reason.ANNOTATION_INVALID, id="one domain"),
        pytest.param({"proxy-cookie-path": "/a /b;Secure"}, Reason.ANNOTATION_INVALID, id="a bare attribute"),
        pytest.param({"proxy-cookie-path": "~/(a+)+ /b"}, Reason.ANNOTATION_INVALID, id="a slow pattern"),
        pytest.param({FROM: "/a b", TO: "/b"}, Reason.ANNOTATION_INVALID, id="a space"),
        pytest.param({FROM: "/a", TO: "$request_uri"}, Reason.ANNOTATION_UNSUPPORTED, id="another variable"),
        pytest.param({FROM: "/a", TO: "/$1"}, Reason.ANNOTATION_UNSUPPORTED, id="a group of no pattern"),
        pytest.param({FROM: "~(?=a)b", TO: "/b"}, Reason.ANNOTATION_UNSUPPORTED, id="a look-ahead"),
        pytest.param({FROM: "/a"}, Reason.ANNOTATION_IGNORED, id="nothing to put there"),
        pytest.param({TO: "/a"}, Reason.ANNOTATION_IGNORED, id="nothing to replace"),
    ],
)
def test_what_changes_nothing_is_reported(annotations: dict[str, str], reason: Reason) -> None:
    reading = read(annotations)

    assert CookieRewrite not in reading.policies
    assert LocationRewrite not in reading.policies
    assert reason in {item.reason for item in reading.diagnostics}
    assert reading.protection_fault is None
