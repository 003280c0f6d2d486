"""What there is, as the real API server says it."""

from __future__ import annotations

from ingresskit.testing.apiserver import Manifest
from ingresskit.testing.apiserver.builtin import BUILTIN
from tests.cluster.recording import Talk


def _ours(body: Manifest) -> object:
    """Of all the resources those that the embedded server has, without the hash of how they are stored."""
    known = {(item.api_version, item.plural) for item in BUILTIN}
    return [
        {key: value for key, value in sorted(item.items()) if key != "storageVersionHash"}
        for item in sorted(body["resources"], key=lambda item: str(item["name"]))
        if (body["groupVersion"], item["name"].partition("/")[0]) in known
        and (body["groupVersion"], item["name"])
        in known | {(body["groupVersion"], f"{p}/status") for _, p in known}
    ]


def test_resources_are_discovered(talk: Talk) -> None:
    for version in sorted({item.api_version for item in BUILTIN}):
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        talk.say("GET", root, look_at=_ours)


def test_groups_are_discovered(talk: Talk) -> None:
    groups = sorted({item.group for item in BUILTIN if item.group})

    talk.say(
        "GET",
        "/api",
        look_at=lambda body: {key: value for key, value in body.items() if key != "serverAddressByClientCIDRs"},
    )
    talk.say(
        "GET",
        "/apis",
        look_at=lambda body: [
            item for item in sorted(body["groups"], key=lambda it: str(it["name"])) if item["name"] in groups
        ],
    )
    for group in groups:
        talk.get(f"/apis/{group}")
    talk.say(
        "GET",
        "/version",
        look_at=lambda body: sorted(
            set(body)
            & {
                "major",
                "minor",
                "gitVersion",
                "gitCommit",
                "gitTreeState",
                "buildDate",
                "goVersion",
                "compiler",
                "platform",
            }
        ),
    )
    for path in ("/healthz", "/livez", "/readyz", "/healthz/ping", "/livez/nothing"):
        talk.get(path)
