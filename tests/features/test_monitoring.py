"""The board and the alert rules of ``examples/monitoring`` fit what a running controller exports."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlencode

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ingresskit.testing.apiserver import ApiServer
from tests.features.cluster_scene import (
    DEADLINE,
    LOOPBACK,
    Pod,
    certificate,
    ingress,
    ingress_class,
    service,
    slice_of,
)
from tests.features.reference_process import ReferenceController, get, wait_until

MONITORING = Path(__file__).resolve().parents[2] / "examples" / "monitoring"
OURS = re.compile(r"\b(?:ingresskit|process|python)_\w+")
SELECTED = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|without|on|ignoring) \(([^)]*)\)")
OF_PROMETHEUS = {"job", "instance"}

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="needs Prometheus and promtool, which Debian's package prometheus has",
)


class Query(NamedTuple):
    where: str
    text: str


def board() -> dict[str, object]:
    return cast("dict[str, object]", json.loads((MONITORING / "grafana.json").read_text()))


def board_queries() -> list[Query]:
    panels = cast("list[dict[str, object]]", board()["panels"])
    return [
        Query(f"{panel['title']}: {target['legendFormat']}", target["expr"])
        for panel in panels
        for target in cast("list[dict[str, str]]", panel.get("targets", []))
    ]


def alerts() -> list[dict[str, object]]:
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALL = [*board_queries(), *(Query(str(rule["alert"]), str(rule["expr"])) for rule in alerts())]


class Scene:
    """A controller on a cluster, with requests that succeed, find nothing, and find their endpoint gone."""

    def __init__(self, controller: ReferenceController, server: ApiServer) -> None:
        self.controller = controller
        self._server = server
        self._turn = 0

    def play(self) -> None:
        """One of each kind of request, and a change."""
        self._turn += 1
        self._server.put(ingress("changing", host=f"h{self._turn}.example"))
        for host in ("a.example", "plain.example", "gone.example", "unknown.example"):
            self.controller.get(host)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with socket.socket() as closed, ExitStack() as stack:
        closed.bind(("127.0.0.1", 0))
        port = int(closed.getsockname()[1])
        server = stack.enter_context(ApiServer.in_thread(tls=True, bookmark_seconds=0.5))
        pod = stack.enter_context(Pod("first"))
        server.load(
            [
                ingress_class(),
                certificate("keys", "a.example"),
                service(),
                slice_of(port=pod.port),
                ingress("a", tls="keys"),
                ingress("plain"),
                service("gone"),
                slice_of("gone", port=port),
                ingress("gone", service="gone"),
                ingress("lost", service="missing"),
            ]
        )
        config = server.kubeconfig(tmp_path_factory.mktemp("monitoring") / "config")
        running = stack.enter_context(ReferenceController("--kubeconfig", config, LOOPBACK))
        running.wait_ready()
        made = Scene(running, server)
        made.play()
        wait_until(lambda: "_endpoint_requests_total" in running.admin("/metrics").text)
        yield made


def exported(text: str) -> dict[str, set[str]]:
    """The labels of each series, by the series' name."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_each_query_names_metrics_and_labels_that_are_exported(scene: Scene) -> None:
    series = exported(scene.controller.admin("/metrics").text)
    faults: list[str] = []
    for where, text in ALL:
        names = set(OURS.findall(text))
        if not names:
            faults.append(f"{where}: names no metric")
        faults += [f"{where}: there is no {name}" for name in sorted(names - series.keys())]
        known = OF_PROMETHEUS.union(*(series.get(name, set()) for name in names))
        for selected in SELECTED.finditer(text):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selected[2]))
            allowed = series.get(selected[1], set()) | OF_PROMETHEUS
            faults += [f"{where}: {selected[1]} has no label {label}" for label in sorted(labels - allowed)]
        for grouped in GROUPED.finditer(text):
            labels = {label.strip() for label in grouped[1].split(",")}
            faults += [f"{where}: nothing has the label {label}" for label in sorted(labels - known)]
    assert not faults, "\n".join(faults)


def test_the_board_is_one_that_grafana_can_lay_out() -> None:
    panels = cast("list[dict[str, object]]", board()["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = cast("dict[str, int]", panel["gridPos"])
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert all(x < 24 for x, _ in cells), f"{panel['title']} is wider than the board"
        taken |= cells
    numbers = [panel["id"] for panel in panels]
    assert len(set(numbers)) == len(numbers)
    assert all(panel.get("description") for panel in panels if panel["type"] != "row")


@needs_prometheus
def test_promtool_finds_nothing_wrong(scene: Scene) -> None:
    for words, given in (
        (["rules", "--lint-fatal", str(MONITORING / "rules.yaml")], None),
        (["metrics"], scene.controller.admin("/metrics").text),
    ):
        done = subprocess.run(
            ["promtool", "check", *words],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


BAD: dict[str, list[str]] = {
    "IngresskitNotReady": ["ingresskit_ready 0x200"],
    "IngresskitUnhealthy": ["ingresskit_healthy 0x200"],
    "IngresskitPassesFail": ["ingresskit_failures_in_row 1+1x200"],
    "IngresskitPassStalled": ["ingresskit_pass_running_seconds 0+60x200"],
    "IngresskitChangesWait": ["ingresskit_change_waiting_seconds 0+60x200"],
    "IngresskitLoopLate": [
        "ingresskit_loop_delay_seconds_sum 0+60x200",
        "ingresskit_loop_delay_seconds_count 0+120x200",
    ],
    "IngresskitServerErrors": [
        'ingresskit_proxy_requests_total{class="5xx"} 0+10x200',
        'ingresskit_proxy_requests_total{class="2xx"} 0+100x200',
    ],
    "IngresskitSlow": [
        'ingresskit_proxy_request_duration_seconds_bucket{le="2.5"} 0+90x200',
        'ingresskit_proxy_request_duration_seconds_bucket{le="5.0"} 0+100x200',
        'ingresskit_proxy_request_duration_seconds_bucket{le="+Inf"} 0+100x200',
    ],
    "IngresskitConnectionsRefused": ["ingresskit_proxy_connections_refused_total 0+1x200"],
    "IngresskitCertificateExpired": ["ingresskit_certificates_expired 1x200"],
    "IngresskitCertificateExpires": ["ingresskit_certificate_first_expiry_timestamp_seconds 86400x200"],
    "IngresskitEndpointsUnwell": ['ingresskit_proxy_endpoints_unwell{health="ejected"} 1x200'],
    "IngresskitApiServerSilent": ['ingresskit_cluster_cache_last_contact_seconds{cache="Ingress"} 0+60x200'],
    "IngresskitManyReloads": ['ingresskit_applies_total{kind="reload"} 0+2x200'],
    "IngresskitStateUnwritten": ["ingresskit_proxy_state_unwritten 1x200"],
    "IngresskitObjectErrors": ['ingresskit_diagnostics{reason="ServiceNotFound",severity="error"} 1x200'],
}
GOOD = [
    "ingresskit_ready 1x200",
    "ingresskit_healthy 1x200",
    "ingresskit_failures_in_row 0x200",
    "ingresskit_pass_running_seconds 0x200",
    "ingresskit_change_waiting_seconds 5x200",
    "ingresskit_loop_delay_seconds_sum 0+1x200",
    "ingresskit_loop_delay_seconds_count 0+120x200",
    'ingresskit_proxy_requests_total{class="5xx"} 0+4x200',
    'ingresskit_proxy_requests_total{class="2xx"} 0+96x200',
    'ingresskit_proxy_request_duration_seconds_bucket{le="2.5"} 0+96x200',
    'ingresskit_proxy_request_duration_seconds_bucket{le="5.0"} 0+100x200',
    'ingresskit_proxy_request_duration_seconds_bucket{le="+Inf"} 0+100x200',
    "ingresskit_proxy_connections_refused_total 5x200",
    "ingresskit_certificates_expired 0x200",
    "ingresskit_certificate_first_expiry_timestamp_seconds 8640000x200",
    'ingresskit_proxy_endpoints_unwell{health="ejected"} 0x200',
    'ingresskit_cluster_cache_last_contact_seconds{cache="Ingress"} 12x200',
    'ingresskit_applies_total{kind="reload"} 0+0.5x200',
    'ingresskit_diagnostics{reason="ServiceNotFound",severity="warning"} 1x200',
    "ingresskit_proxy_state_unwritten 0x200",
]


def series_of(lines: list[str]) -> list[dict[str, str]]:
    """What promtool reads: each name and its values, with the labels that Prometheus adds."""
    made: list[dict[str, str]] = []
    for line in lines:
        name, values = line.rsplit(" ", 1)
        name, _, labels = name.rstrip("}").partition("{")
        every = ",".join(filter(None, [labels, 'job="ingresskit",instance="one:8580"']))
        made.append({"series": f"{name}{{{every}}}", "values": values})
    return made


@needs_prometheus
def test_each_alert_fires_on_what_it_is_for_and_on_nothing_else(tmp_path: Path) -> None:
    rules = {str(rule["alert"]): rule for rule in alerts()}
    assert rules.keys() == BAD.keys()
    firing = {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "3h"}
    tests: list[dict[str, object]] = [
        {
            "name": f"{name} fires",
            "interval": "1m",
            "input_series": series_of(BAD[name]),
            "promql_expr_test": [
                {**firing, "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}]}
            ],
        }
        for name in rules
    ]
    none = {
        "expr": "count(ALERTS) or vector(0)",
        "eval_time": "3h",
        "exp_samples": [{"labels": "{}", "value": 0}],
    }
    tests.append(
        {"name": "quiet", "interval": "1m", "input_series": series_of(GOOD), "promql_expr_test": [none]}
    )
    file = tmp_path / "test.yaml"
    file.write_text(json.dumps({"rule_files": [str(MONITORING / "rules.yaml")], "tests": tests}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def prometheus(target: int, folder: Path) -> Generator[int]:
    """Prometheus on loopback, which asks the admin server at that port five times a second; its own port."""
    (folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
                "rule_files": [str(MONITORING / "rules.yaml")],
                "scrape_configs": [
                    {"job_name": "ingresskit", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
                ],
            }
        )
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(DEADLINE)


def answer(port: int, path: str, **query: str) -> dict[str, object]:
    reply = get(port, f"{path}?{urlencode(query)}")
    assert reply.status == 200, reply.text
    return cast("dict[str, object]", reply.json["data"])


def as_grafana(text: str) -> str:
    """The query with the board's variables as they are when all is chosen."""
    for name, value in {"$job": ".+", "$instance": ".+", "$__rate_interval": "10s"}.items():
        text = text.replace(name, value)
    return text


@needs_prometheus
def test_a_real_prometheus_has_data_for_each_query_of_the_board(scene: Scene, tmp_path: Path) -> None:
    with prometheus(scene.controller.admin_port, tmp_path) as port:

        def listens() -> bool:
            try:
                return get(port, "/-/ready").status == 200
            except OSError:
                return False

        wait_until(listens)
        without = board_queries()

        def all_have_data() -> bool:
            scene.play()
            without[:] = [
                query
                for query in without
                if not [
                    sample
                    for sample in cast(
                        "list[dict[str, list[object]]]",
                        answer(port, "/api/v1/query", query=as_grafana(query.text))["result"],
                    )
                    if sample["value"][1] != "NaN"
                ]
            ]
            return not without

        try:
            wait_until(all_have_data)
        except AssertionError:
            pytest.fail("no data for: " + "; ".join(query.where for query in without))

        def all_are_evaluated() -> bool:
            groups = cast("list[dict[str, list[dict[str, object]]]]", answer(port, "/api/v1/rules")["groups"])
            rules = [rule for group in groups for rule in group["rules"]]
            return len(rules) == len(alerts()) and all(rule["health"] == "ok" for rule in rules)

        wait_until(all_are_evaluated)
