"""The overlay for the network of the node, run with the privilege that it states and no other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from ingresskit.testing import pace
from tests.features.cluster_scene import ingress, ingress_class, service
from tests.features.deploy_scene import container_of, overlay, pod_of
from tests.features.reference_process import ReferenceController, wait_until

# The capability's number in Linux's capability.h.
NET_BIND_SERVICE = 10

ASK = """
import sys
from http.client import HTTPConnection
port, host, path = sys.argv[1:]
connection = HTTPConnection("127.0.0.1", int(port), timeout=5)
connection.request("GET", path, headers={"Host": host})
print(connection.getresponse().status)
"""


@pytest.fixture
def state_folder() -> Generator[Path]:
    """With a short path: programs make sockets in it."""
    with tempfile.TemporaryDirectory(prefix="deploy-") as folder:
        yield Path(folder)


ONE = "-all,+net_bind_service"
ROOT = ("setpriv", f"--inh-caps={ONE}", f"--bounding-set={ONE}", "--no-new-privs")
# The test's files and Python may be in folders of root's own: they are read, as those of an image are.
READ = "-all,+dac_read_search"
NOBODY = (
    *("setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", "--no-new-privs"),
    *(f"--inh-caps={READ}", f"--ambient-caps={READ}", f"--bounding-set={READ}"),
)
GIVEN_AWAY = "echo 80 >/proc/sys/net/ipv4/ip_unprivileged_port_start && "


@pytest.mark.parametrize(
    ("renderer", "user"),
    [("inprocess", ROOT), ("haproxy", ROOT), ("nginx", ROOT), ("nginx", NOBODY)],
    ids=["inprocess-root", "haproxy-root", "nginx-root", "nginx-nobody"],
)
def test_with_the_privilege_that_is_stated_it_serves_at_low_ports(
    renderer: str, user: tuple[str, ...], tmp_path: Path, state_folder: Path
) -> None:
    if os.geteuid() != 0 or not all(shutil.which(name) for name in ("unshare", "setpriv", "nsenter", "ip")):
        pytest.skip(
            "a network and a process with one capability are made by root, with util-linux and iproute2"
        )
    if renderer != "inprocess" and shutil.which(renderer, path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip(f"there is no {renderer} here")
    manifests = overlay("host-network", tmp_path, *(() if renderer == "inprocess" else (renderer,)))
    security = container_of(manifests)["securityContext"]
    assert (security["capabilities"], security["allowPrivilegeEscalation"]) == (
        {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        False,
    )
    assert pod_of(manifests)["securityContext"]["runAsUser"] == 0

    objects = tmp_path / "objects"
    objects.mkdir()
    for number, item in enumerate((ingress_class(), service(), ingress("a"))):
        (objects / f"{number}.json").write_text(json.dumps(item))
    # A network of its own, in which no port is taken; then what the container's securityContext says, or a user
    # without capabilities on a node whose sysctl gives these ports away.
    os.chown(state_folder, *((0, 0) if user is ROOT else (10001, 10001)))
    first = "ip link set lo up && " + ("" if user is ROOT else GIVEN_AWAY)
    within = ["unshare", "--net", "sh", "-c", first + 'exec "$@"', "sh", *user]
    given = [word for word in container_of(manifests)["args"] if not word.startswith("--state-dir=")]
    state = f"--state-dir={state_folder / 'made'}"
    with ReferenceController(*given, state, f"--manifests={objects}", within=within) as running:
        running.wait_record("serving")

        def answer(port: int, host: str, path: str = "/") -> str:
            network = f"--net=/proc/{running.process.pid}/ns/net"
            command = ["nsenter", network, sys.executable, "-c", ASK, str(port), host, path]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=pace.within(20))
            return done.stdout.strip()

        wait_until(lambda: answer(8580, "127.0.0.1:8580", "/readyz") == "200")
        # A route without endpoints, and none.
        wait_until(lambda: answer(80, "a.example") == "503")
        assert answer(80, "unknown.example") == "404"
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        held = {line.partition(":")[0]: line.split()[-1] for line in status.splitlines()}
        if user is ROOT:
            assert int(held["CapEff"], 16) == int(held["CapBnd"], 16) == 1 << NET_BIND_SERVICE
        else:
            assert not int(held["CapBnd"], 16) & 1 << NET_BIND_SERVICE
        assert held["NoNewPrivs"] == "1"
        assert running.stop() == 0
