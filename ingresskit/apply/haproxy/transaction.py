"""Applies changes to a running HAProxy, make-before-break: additions, then pointers, then removals.

Additions are servers, slots, certificates and rows; removals are pointers, slots, servers and certificates.
So at every moment a request finds a table, what its rows lead to, and servers behind it. A failure in the
midst leaves things that nothing leads to, which a reload clears.

Rows of blocks are not taken out at once. Their keys hold paths that tenants wrote, which may not stand in
a command, and nothing leads to them. When they are more than those in use, the map is replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ingresskit.apply.haproxy.changes import RuntimeChanges
from ingresskit.apply.haproxy.runtime import RuntimeApi
from ingresskit.apply.haproxy.worker_state import WorkerState
from ingresskit.errors import ApplyError
from ingresskit.render.haproxy import Block, HaproxyArtifact, MapName, Server
from ingresskit.render.haproxy.files import CERTIFICATE_LIST, DEFAULT_CERTIFICATE, certificate_line
from ingresskit.render.haproxy.quoting import map_line
from ingresskit.render.haproxy.route_row import slot_value
from ingresskit.render.haproxy.servers import server_words

__all__ = ["compact", "perform", "reap"]


async def perform(api: RuntimeApi, live: WorkerState, changes: RuntimeChanges, new: HaproxyArtifact) -> None:
    """Make *changes*, after which *new* is served; *live* says so then.

    Raises:
        ApplyError: Something was refused, or HAProxy went away. What *live* says is then not to be relied on.
    """
    await _bring(api, live, changes, new)
    await _point(api, changes)
    await _take_away(api, live, changes, new)
    live.artifact = new


async def _bring(api: RuntimeApi, live: WorkerState, changes: RuntimeChanges, new: HaproxyArtifact) -> None:
    for identity in changes.identities:
        if live.forgotten.pop(identity.digest, None) is None:
            await api.put_certificate(identity.path, _pem_lines(identity.pem), new=True)
    for change in changes.servers:
        slot = live.slots.of(change.backend)
        if slot is None:
            raise ApplyError(f"the backend {change.backend} stands in no slot")
        await _add_servers(api, live, slot, change.added)
        if not live.artifact.backends[change.backend].servers:
            value = slot_value(slot, new.backends[change.backend].servers)
            await api.set_row(MapName.SLOTS.path, change.backend, value)
    moving = set(changes.vacated)
    rows: list[str] = []
    for backend in changes.placed:
        if backend.id in moving:
            # Its old slot is left when the row leads to the new one.
            old = live.slots.vacate(backend.id)
            slot = live.slots.take(backend)
            await _add_servers(api, live, slot, backend.servers)
            await api.set_row(MapName.SLOTS.path, backend.id, slot_value(slot, backend.servers))
            await _stop_servers(api, live, old, live.artifact.backends[backend.id].servers)
        else:
            slot = live.slots.take(backend)
            await _add_servers(api, live, slot, backend.servers)
            rows.append(map_line(backend.id, slot_value(slot, backend.servers)))
    if rows:
        await api.add_rows(MapName.SLOTS.path, rows)
    await _bring_certificates(api, changes)
    await _load(api, live, changes.blocks)


async def _add_servers(api: RuntimeApi, live: WorkerState, slot: str, servers: Sequence[Server]) -> None:
    leaving = live.leaving.get(slot, {})
    for server in servers:
        held = leaving.get(server.name)
        if held == server:
            await api.ready(slot, server.name)
            del leaving[server.name]
            continue
        if held is not None and await api.delete_server(slot, server.name):
            del leaving[server.name]
        await api.add_server(slot, server.name, *server_words(server))


async def _bring_certificates(api: RuntimeApi, changes: RuntimeChanges) -> None:
    for bundle in changes.issued:
        await api.put_certificate(bundle.path, _pem_lines(bundle.pem), new=True)
    for bundle in changes.renewed:
        await api.put_certificate(bundle.path, _pem_lines(bundle.pem), new=False)
    if changes.default is not None:
        await api.put_certificate(DEFAULT_CERTIFICATE, _pem_lines(changes.default), new=False)
    for line in changes.listed:
        await api.list_certificate(CERTIFICATE_LIST, certificate_line(line))


def _pem_lines(pem: bytes) -> list[str]:
    """Without empty lines: the first of them would end the payload."""
    return [line for line in pem.decode("ascii").splitlines() if line.strip()]


async def _load(api: RuntimeApi, live: WorkerState, blocks: Sequence[Block]) -> None:
    rows: dict[str, list[str]] = {}
    for block in blocks:
        for map_name, text in block.lines.items():
            rows.setdefault(map_name.path, []).extend(text.splitlines())
    if rows:
        before = await api.map_counts()
        for name, lines in sorted(rows.items()):
            await api.add_rows(name, lines)
        # HAProxy may lose a payload without a word, and a row that is not there is a route that is not.
        after = await api.map_counts()
        for name, lines in rows.items():
            if (count := after.get(name, 0) - before.get(name, 0)) != len(lines):
                raise ApplyError(f"HAProxy took {count} of {len(lines)} rows of {name}")
    live.blocks |= {block.id: block for block in blocks}


async def _point(api: RuntimeApi, changes: RuntimeChanges) -> None:
    rows: dict[str, list[str]] = {}
    for pointer, value in changes.pointed:
        rows.setdefault(pointer.map.path, []).append(map_line(pointer.key, value))
    # Splits first: routes lead to them.
    for name, lines in sorted(rows.items(), reverse=True):
        await api.add_rows(name, lines)
    for pointer, value in sorted(changes.moved, key=lambda item: item[0].map, reverse=True):
        await api.set_row(pointer.map.path, pointer.key, value)


async def _take_away(api: RuntimeApi, live: WorkerState, changes: RuntimeChanges, new: HaproxyArtifact) -> None:
    # Hosts first: their routes lead to splits.
    for pointer in sorted(changes.dropped):
        await api.delete_row(pointer.map.path, pointer.key)
    placed = {backend.id for backend in changes.placed}
    for item in changes.vacated:
        if item in placed:
            continue
        await api.delete_row(MapName.SLOTS.path, item)
        slot = live.slots.vacate(item)
        await _stop_servers(api, live, slot, live.artifact.backends[item].servers)
    for change in changes.servers:
        stands = live.slots.of(change.backend)
        if change.removed and stands is not None:
            if not (servers := new.backends[change.backend].servers):
                await api.set_row(MapName.SLOTS.path, change.backend, slot_value(stands, servers))
            await _stop_servers(api, live, stands, change.removed)
    if changes.unlisted:
        await _unlist(api, live, changes)
    for bundle in changes.withdrawn:
        await api.drop_certificate(bundle.path)
    # Servers that leave may still be shown them.
    live.forgotten |= {
        digest: item for digest, item in live.artifact.identities.items() if digest not in new.identities
    }


async def _stop_servers(api: RuntimeApi, live: WorkerState, slot: str, servers: Sequence[Server]) -> None:
    leaving = live.leaving.setdefault(slot, {})
    for server in servers:
        await api.stop_server(slot, server.name)
        leaving[server.name] = server


async def _unlist(api: RuntimeApi, live: WorkerState, changes: RuntimeChanges) -> None:
    wanted = Counter(certificate_line(line) for line in changes.unlisted)
    for listed in await api.listed(CERTIFICATE_LIST):
        text = " ".join((listed.file, *listed.names))
        if wanted[text]:
            wanted[text] -= 1
            await api.unlist_certificate(CERTIFICATE_LIST, listed.file, listed.line)
            live.unlisted += 1
    if missing := +wanted:
        raise ApplyError(f"HAProxy does not have the line {next(iter(missing))[:200]!r} of its certificates")


async def reap(api: RuntimeApi, live: WorkerState) -> int:
    """Take out the stopped servers that no request needs any more, and what they alone were shown.

    Returns how many are left.

    Raises:
        ApplyError: HAProxy refused, or went away.
    """
    for slot, servers in list(live.leaving.items()):
        for name in list(servers):
            if await api.delete_server(slot, name):
                servers.pop(name, None)
        if not servers:
            live.leaving.pop(slot, None)
            live.slots.emptied(slot)
    for digest, identity in list(live.forgotten.items()):
        if await api.forget_certificate(identity.path):
            del live.forgotten[digest]
    return sum(map(len, live.leaving.values())) + len(live.forgotten)


async def compact(api: RuntimeApi, live: WorkerState) -> bool:
    """Take rows that nothing leads to out of the maps, where they are most of it; returns whether there were.

    Raises:
        ApplyError: HAProxy refused, or went away.
    """
    names = live.garbage()
    if not names:
        return False
    for name in MapName:
        if name in (MapName.HOSTS, MapName.STREAMS, MapName.SPLITS, MapName.SLOTS):
            continue
        rows = [
            line for block in live.artifact.blocks.values() for line in block.lines.get(name, "").splitlines()
        ]
        await api.replace_rows(name.path, rows)
    live.blocks = dict(live.artifact.blocks)
    return True
