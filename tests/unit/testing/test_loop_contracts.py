"""Our own sources and our own applier pass the contracts first; those that break them are caught."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from typing_extensions import override

from ingresskit.apply import Applier, Dynamic, InProcessApplier, NoOp, Plan
from ingresskit.models import Service, Snapshot
from ingresskit.render.inprocess import InProcessRenderer, RoutingTable
from ingresskit.sources import FileSource, MemorySource, Source
from ingresskit.testing import ingress, ingress_class
from ingresskit.testing.loop_contracts import ApplierContract, SourceContract
from ingresskit.translate import translate


class TestMemorySource(SourceContract):
    @override
    @asynccontextmanager
    async def source(self, objects: Sequence[Service]) -> AsyncGenerator[Source]:
        yield MemorySource(objects)

    @override
    async def change(self, source: Source, objects: Sequence[Service]) -> None:
        assert isinstance(source, MemorySource)
        source.replace(objects)


class TestFileSource(SourceContract):
    _place: Path

    @override
    @asynccontextmanager
    async def source(self, objects: Sequence[Service]) -> AsyncGenerator[Source]:
        with tempfile.TemporaryDirectory() as folder:
            self._place = Path(folder) / "services.json"
            self._write(objects)
            yield FileSource(folder, interval=timedelta(milliseconds=20))

    @override
    async def change(self, source: Source, objects: Sequence[Service]) -> None:
        self._write(objects)

    def _write(self, objects: Sequence[Service]) -> None:
        items = [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": item.metadata.name, "namespace": item.metadata.namespace},
                "spec": {"ports": [{"port": port.port} for port in item.spec.ports]},
            }
            for item in objects
        ]
        beside = self._place.with_name(".services.json")
        beside.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        beside.replace(self._place)


class _Holder:
    def __init__(self) -> None:
        self.table: RoutingTable | None = None

    def swap(self, table: RoutingTable) -> None:
        self.table = table


def _tables() -> tuple[RoutingTable, RoutingTable]:
    one, other = (
        translate(Snapshot.of([ingress_class(), ingress("web", {host: {"/": "one"}})])).graph
        for host in ("a.test", "b.test")
    )
    return InProcessRenderer().render(one), InProcessRenderer().render(other)


class TestInProcessApplier(ApplierContract[RoutingTable]):
    _holder: _Holder

    @override
    @asynccontextmanager
    async def applier(self) -> AsyncGenerator[Applier[RoutingTable]]:
        self._holder = _Holder()
        yield InProcessApplier(self._holder)

    @override
    def artifacts(self) -> tuple[RoutingTable, RoutingTable]:
        return _tables()

    @override
    async def served(self, applier: Applier[RoutingTable]) -> RoutingTable | None:
        return self._holder.table


class _Hasty(InProcessApplier):
    """Applies what it should only plan."""

    def __init__(self, holder: _Holder) -> None:
        super().__init__(holder)
        self._eager = holder

    @override
    def plan(self, old: RoutingTable | None, new: RoutingTable) -> Plan[RoutingTable]:
        self._eager.swap(new)
        return super().plan(old, new)


class _Lazy(InProcessApplier):
    """Says that it did."""

    @override
    async def apply(self, plan: Plan[RoutingTable]) -> None:
        return


class _Busy(InProcessApplier):
    """Always finds something to do."""

    @override
    def plan(self, old: RoutingTable | None, new: RoutingTable) -> Plan[RoutingTable]:
        plan = super().plan(old, new)
        return Dynamic(artifact=new) if isinstance(plan, NoOp) else plan


@pytest.mark.parametrize(
    ("applier", "test"),
    [
        pytest.param(_Hasty, "test_a_plan_alone_changes_nothing", id="applies in its plan"),
        pytest.param(_Lazy, "test_a_first_artifact_is_served", id="applies nothing"),
        pytest.param(_Busy, "test_an_equal_artifact_is_nothing_to_do", id="never rests"),
    ],
)
def test_the_contract_catches_an_applier_that(applier: type[InProcessApplier], test: str) -> None:
    class Contract(TestInProcessApplier):
        @override
        @asynccontextmanager
        async def applier(self) -> AsyncGenerator[Applier[RoutingTable]]:
            self._holder = _Holder()
            yield applier(self._holder)

    with pytest.raises(AssertionError):
        getattr(Contract(), test)()


class _Copying(MemorySource):
    """Makes every object anew."""

    @override
    def snapshot(self) -> Snapshot | None:
        held = super().snapshot()
        if held is None:
            return None
        copies = [Service(metadata=item.metadata, spec=item.spec) for item in held.all(Service)]
        return Snapshot.of(copies, revision=held.revision)


class _Standing(MemorySource):
    """Always gives what it gave first."""

    _first: Snapshot | None = None

    @override
    def snapshot(self) -> Snapshot | None:
        self._first = self._first or super().snapshot()
        return self._first


@pytest.mark.parametrize(
    ("source", "test"),
    [
        pytest.param(_Copying, "test_what_did_not_change_is_the_same_object", id="makes every object anew"),
        pytest.param(
            _Standing, "test_a_change_wakes_everybody_who_waits_and_revisions_grow", id="never moves on"
        ),
    ],
)
def test_the_contract_catches_a_source_that(source: type[MemorySource], test: str) -> None:
    class Contract(TestMemorySource):
        @override
        @asynccontextmanager
        async def source(self, objects: Sequence[Service]) -> AsyncGenerator[Source]:
            yield source(objects)

    with pytest.raises(AssertionError):
        getattr(Contract(), test)()
