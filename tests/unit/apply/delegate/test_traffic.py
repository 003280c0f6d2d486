"""Each request is in the log and in the counts once, whoever served it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingresskit.apply.delegate import front_record, with_delegate
from ingresskit.apply.delegate.traffic import added
from ingresskit.graph import BackendKey, Termination
from ingresskit.render.access import AccessRecord
from ingresskit.render.delegate import DELEGATE
from ingresskit.render.delegate.control import DelegateCounts, read_record, write_record
from ingresskit.traffic import BackendStatistics, EndpointHealth, ProxyStatistics

SHOP = BackendKey("shop", "web", 80)
OTHER = BackendKey("shop", "other", 80)
RECORD = AccessRecord(
    client="203.0.113.7",
    method="POST",
    host="shop.test",
    path="/",
    rule_host="shop.test",
    status=200,
    sent_bytes=2,
    duration=0.1,
    backend=SHOP,
    endpoint="10.0.0.1:80",
    attempts=2,
    request_id="abc",
    tried=("10.0.0.2:80",),
    upstream_status=200,
)


def test_record_of_a_request_that_the_program_served_is_kept() -> None:
    assert front_record(RECORD) is RECORD


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(replace(RECORD, backend=DELEGATE), id="a response of the delegate"),
        pytest.param(
            replace(RECORD, backend=DELEGATE, upstream_status=None, termination=Termination.CLIENT_LEFT),
            id="a client that left the delegate waiting",
        ),
    ],
)
def test_record_of_a_request_that_the_delegate_reports_is_not(record: AccessRecord) -> None:
    assert front_record(record) is None


def test_record_of_a_request_that_no_delegate_took_names_no_backend() -> None:
    record = replace(
        RECORD,
        backend=DELEGATE,
        status=503,
        upstream_status=None,
        termination=Termination.UPSTREAM_REFUSED,
    )

    found = front_record(record)

    assert found is not None
    assert (found.status, found.backend, found.endpoint, found.tried) == (503, None, "", ())


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(RECORD, id="forwarded"),
        pytest.param(
            replace(RECORD, backend=None, status=413, termination=Termination.BODY_TOO_LARGE), id="refused"
        ),
    ],
)
def test_record_is_the_same_after_it_was_sent(record: AccessRecord) -> None:
    assert read_record(write_record(record)) == record


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(ValueError, match="not a record"):
        read_record({"client": "203.0.113.7"})


def test_backends_of_both_are_counted_and_the_delegate_is_none_of_them() -> None:
    counts = DelegateCounts(
        requests={"shop.test": {2: 3, 5: 1}},
        retries=4,
        backends={SHOP: (3, 1, 2), OTHER: (1, 0, 0)},
        unwell={"10.0.0.1:80": EndpointHealth.EJECTED},
        ejections=2,
    )

    front = ProxyStatistics(
        retries=1,
        unwell=dict.fromkeys(("10.0.0.1:80", "10.0.0.2:80"), EndpointHealth.UNREACHABLE),
        backends={DELEGATE: BackendStatistics(requests=9), SHOP: BackendStatistics(requests=10, active=1)},
    )

    found = with_delegate(front, counts)

    assert found.retries == 5
    assert found.delegated == 4
    assert found.unwell_endpoints() == {"10.0.0.1:80": "ejected", "10.0.0.2:80": "unreachable"}
    assert found.ejections_in_use() == 2
    assert found.backends == {
        OTHER: BackendStatistics(requests=1),
        SHOP: BackendStatistics(requests=13, failures=1, active=3),
    }


def test_counts_go_on_after_a_restart_and_what_is_open_is_of_the_new_process() -> None:
    ended = DelegateCounts(retries=2, connections_open=5, backends={SHOP: (3, 1, 2)})
    now = DelegateCounts(retries=1, connections_open=1, backends={SHOP: (1, 0, 1)})

    found = added(ended, now)

    assert (found.retries, found.connections_open, found.backends) == (3, 1, {SHOP: (4, 1, 1)})
