"""What is said of endpoints that HAProxy leaves out."""

from __future__ import annotations

import pytest

from ingresskit.apply.haproxy.outages import Outages
from ingresskit.graph import BackendKey

SHOP = BackendKey("default", "shop", 80)


def row(status: str, check: str = "", *, name: str = "10.0.0.1_80") -> dict[str, str]:
    address = name.replace("_", ":")
    return {"pxname": "s.1", "svname": name, "status": status, "check_status": check, "addr": address}


def test_an_endpoint_that_is_left_out_is_reported_once_with_the_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outages = Outages()
    holders = {"s.1": SHOP}

    with caplog.at_level("INFO"):
        for check in ("L4TOUT", "* L4TOUT", "L4CON"):
            outages.take("1", [row("DOWN", check)], holders)
        assert outages.count == 1
        outages.take("1", [row("UP 1/1", "L4OK")], holders)

    first, last = (record.getMessage() for record in caplog.records)
    assert "endpoint=10.0.0.1:80" in first
    assert "reason=upstream_connect_timeout" in first
    assert "default/shop:80" in first
    assert last.startswith("endpoint works again")
    assert outages.count == 0


def test_a_process_that_has_not_tried_an_endpoint_did_not_bring_it_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outages = Outages()
    holders = {"s.1": SHOP}
    outages.take("1", [row("DOWN", "L4CON")], holders)
    caplog.clear()

    with caplog.at_level("INFO"):
        outages.take("2", [row("UP")], holders)
        assert not caplog.records
        assert outages.endpoints == frozenset()
        outages.take("2", [row("DOWN", "L4CON")], holders)
        assert not caplog.records
        assert outages.endpoints == {"10.0.0.1:80"}
        outages.take("3", [row("UP")], holders)
        outages.take("3", [row("UP") | {"hrsp_2xx": "1"}], holders)

    (last,) = (record.getMessage() for record in caplog.records)
    assert last.startswith("endpoint works again")


def test_an_endpoint_that_is_gone_did_not_come_back(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages()
    outages.take("1", [row("DOWN", "L4CON")], {"s.1": SHOP})
    caplog.clear()

    with caplog.at_level("INFO"):
        outages.take("1", [], {"s.1": SHOP})

    assert not caplog.records


def test_many_outages_at_once_are_a_few_messages(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages()

    outages.take("1", [row("DOWN", name=f"10.0.0.{number}_80") for number in range(50)], {"s.1": SHOP})

    assert len(caplog.records) == 21
    assert caplog.records[-1].getMessage().endswith("count=30")
