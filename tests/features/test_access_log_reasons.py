"""Whatever the proxy: the line of a request that got no response says why, and which endpoint it was."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from ingresskit.testing.apiserver import ApiServer
from tests.features.cluster_scene import LOOPBACK, Object, Pod, ingress, ingress_class, service, slice_of
from tests.features.reference_process import ReferenceController, wait_until


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.fixture
def closed() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def impatient(name: str) -> Object:
    made = ingress(name, service=name)
    cast("Object", made["metadata"])["annotations"] = {
        "ingresskit.dev/read-timeout": "300ms",
        "ingresskit.dev/retries": "0",
    }
    return made


@pytest.mark.parametrize("renderer", ["inprocess", "haproxy", "nginx"])
def test_502_503_and_504_have_their_reason_and_endpoint(
    renderer: str, silent: int, closed: int, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    with ApiServer.in_thread(tls=True) as server, Pod("first") as pod:
        server.load(
            [
                ingress_class(),
                service(),
                slice_of(port=pod.port),
                ingress("good"),
                *(service(name) for name in ("refused", "empty", "silent")),
                *(impatient(name) for name in ("refused", "empty", "silent")),
                slice_of("refused", port=closed),
                slice_of("silent", port=silent),
            ]
        )
        flags = ("--kubeconfig", server.kubeconfig(tmp_path / "config"), LOOPBACK, f"--renderer={renderer}")
        with ReferenceController(*flags, f"--access-log={log}") as running:
            running.wait_ready()
            hosts = {
                name: running.get(f"{name}.example").status for name in ("good", "refused", "empty", "silent")
            }
            wait_until(lambda: log.exists() and log.read_text().count("\n") >= 4)
            # Each request has a duration, and the one that an endpoint responded to a first octet.
            wait_until(
                lambda: (
                    {
                        "ingresskit_proxy_request_duration_seconds_count 4.0",
                        "ingresskit_proxy_upstream_first_byte_seconds_count 1.0",
                    }
                    <= set(running.admin("/metrics").text.splitlines())
                )
            )
            running.stop()

    lines = {str(line["host"]).split(".")[0]: line for line in map(json.loads, log.read_text().splitlines())}
    assert hosts == {"good": 200, "refused": 502, "empty": 503, "silent": 504}
    found = {
        name: (
            line["status"],
            line["termination"],
            str(line["backend"]).split("@")[0],
            line["endpoint"] or "".join(line["tried"]),
        )
        for name, line in lines.items()
    }
    refused = f"127.0.0.1:{closed}"
    if renderer == "haproxy" and not found["refused"][3]:
        refused = ""  # it forgets the address of a connection that was refused at once
    assert lines["empty"]["ruleHost"] == "empty.example"
    assert found == {
        "good": (200, None, "shop/web:80", f"127.0.0.1:{pod.port}"),
        "refused": (502, "upstream_refused", "shop/refused:80", refused),
        "empty": (503, "no_endpoint", "None", ""),
        "silent": (504, "upstream_read_timeout", "shop/silent:80", f"127.0.0.1:{silent}"),
    }
