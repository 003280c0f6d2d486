"""What can be changed in a running HAProxy, each change checked by its response.

Names of maps, certificates and backends are those of the configuration file: paths relative to it, ids
that a renderer made. Nothing here is text of a tenant, except rows of maps and server names of
certificates, and they go as payload.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ingresskit.apply.haproxy.cli import Cli, CommandRefused, Unreachable, chunks
from ingresskit.apply.haproxy.cli_responses import (
    ListedCertificate,
    Processes,
    read_crt_list,
    read_info,
    read_map_counts,
    read_processes,
    read_servers,
    read_stat,
)
from ingresskit.errors import ApplyError

__all__ = ["RuntimeApi"]

_NOTHING: Final = ""
_BUSY: Final = ("still has connections", "must be in maintenance", "Only servers in maintenance")


class RuntimeApi:
    """The runtime API of HAProxy, through the socket of its master.

    Every method may raise `ApplyError`: HAProxy cannot be reached, or did not do it. Nothing is sent when
    an argument could be read as a command; that is a `ValueError`.
    """

    def __init__(self, cli: Cli) -> None:
        self._cli = cli

    async def processes(self) -> Processes:
        """The master and its workers, old ones too."""
        answer = await self._cli.master("show", "proc")
        try:
            return read_processes(answer)
        except ValueError as exc:
            raise CommandRefused("show proc", answer) from exc

    async def reload(self) -> bool | None:
        """Let the master load its configuration anew.

        Returns:
            Whether that went well; ``None`` when this version does not say (before 2.7): ask `processes`.
        """
        try:
            answer = await self._cli.master("reload")
        except Unreachable:
            # The master replaces itself, and may close the connection under the answer.
            return None
        found = next((line for line in answer.splitlines() if line.startswith("Success=")), None)
        return None if found is None else found == "Success=1"

    async def info(self) -> Mapping[str, str]:
        """The worker's ``show info``, by name."""
        return read_info(await self._cli.worker("show", "info"))

    async def stat(self, *selection: str) -> Iterable[Mapping[str, str]]:
        """The counts in the worker, a row each; of all, or of a *selection* as ``show stat`` takes it."""
        return read_stat(await self._cli.worker("show", "stat", *selection))

    async def servers(self, backend: str | None = None) -> Mapping[str, Mapping[str, tuple[str, int]]]:
        """The servers by backend, then by name, with address and port; of *backend* only, when given."""
        words = () if backend is None else (backend,)
        return read_servers(await self._cli.worker("show", "servers", "state", *words))

    async def is_set(self, variable: str) -> bool:
        """Whether a Boolean variable of the process is true; one that is not there is not."""
        return "value=<1>" in await self._cli.worker("get", "var", variable)

    # Maps.

    async def map_counts(self) -> Mapping[str, int]:
        """How many rows each map has."""
        return read_map_counts(await self._cli.worker("show", "map"))

    async def rows(self, name: str) -> tuple[tuple[str, str], ...]:
        """All rows of a map, keys and values."""
        answer = await self._cli.worker("show", "map", name)
        lines = (line.split(" ", 2) for line in answer.splitlines() if line)
        return tuple((key, value) for _, key, value in lines)

    async def get_row(self, name: str, key: str) -> str | None:
        """The value that a map has for *key*; ``None``: none."""
        answer = await self._cli.worker("get", "map", name, key)
        _, found, rest = answer.partition(', value="')
        return rest.partition('"')[0] if found else None

    async def add_rows(self, name: str, rows: Iterable[str]) -> None:
        """Add rows (key, space, value) to a map; none of the keys may be there already."""
        for group in chunks(rows):
            await self._cli.expect(_NOTHING, "add", "map", name, payload=group)

    async def set_row(self, name: str, key: str, value: str) -> None:
        """Replace the value of a key that is there, in one step."""
        await self._cli.expect(_NOTHING, "set", "map", name, key, value)

    async def delete_row(self, name: str, key: str) -> None:
        """Take out the row of a key that is there."""
        await self._cli.expect(_NOTHING, "del", "map", name, key)

    async def replace_rows(self, name: str, rows: Sequence[str]) -> None:
        """Make *rows* all that a map has, in one step; what was there stays when that fails."""
        answer = await self._cli.expect("New version created: [0-9]+", "prepare", "map", name)
        version = f"@{answer.rpartition(' ')[2]}"
        for group in chunks(rows):
            await self._cli.expect(_NOTHING, "add", "map", version, name, payload=group)
        # Before it counts: rows that got lost on the way would leave routes out without a word.
        there = await self._cli.worker("show", "map", version, name)
        if (count := sum(1 for line in there.splitlines() if line)) != len(rows):
            raise ApplyError(f"HAProxy took {count} of {len(rows)} rows of {name}")
        await self._cli.expect(_NOTHING, "commit", "map", version, name)

    # Backends and servers.

    async def add_backend(self, backend: str, defaults: str) -> None:
        """Add an empty backend with the rules of a ``defaults`` section, to which requests may be sent.

        Before 3.4 there is no such command, and it is refused.
        """
        # One that servers cannot be added to is registered too, and said to be so: that is a refusal here.
        words = ("add", "backend", backend, "from", defaults, "mode", "http")
        await self._cli.expect("New backend registered[.]", *words)
        await self._cli.expect("Backend published[.]", "publish", "backend", backend)

    async def add_server(self, backend: str, server: str, *arguments: str) -> None:
        """Add a server, and let it take requests.

        *arguments* are its address with port, and keywords as after ``server`` in the file; it inherits none.
        """
        place = f"{backend}/{server}"
        await self._cli.expect("New server registered.*", "add", "server", place, *arguments)
        if "check" in arguments:
            # Configured is not enabled, for servers that are added at runtime.
            await self._cli.expect(_NOTHING, "enable", "health", place)
        await self.ready(backend, server)

    async def ready(self, backend: str, server: str) -> None:
        """Let a server take requests."""
        await self._cli.expect(_NOTHING, "set", "server", f"{backend}/{server}", "state", "ready")

    async def stop_server(self, backend: str, server: str) -> None:
        """Give a server no new requests; those under way go on."""
        await self._cli.expect(_NOTHING, "set", "server", f"{backend}/{server}", "state", "maint")

    async def delete_server(self, backend: str, server: str) -> bool:
        """Take out a stopped server.

        Returns:
            Whether it is gone; it stays while a request is under way.
        """
        answer = await self._cli.worker("del", "server", f"{backend}/{server}")
        if answer.startswith(("Server deleted", "No such server")):
            return True
        if any(text in answer for text in _BUSY):
            return False
        raise CommandRefused(f"del server {backend}/{server}", answer)

    # Certificates.

    async def put_certificate(self, file: str, pem: Sequence[str], *, new: bool) -> None:
        """Give a certificate another content, or, when it is *new*, its first; no handshake sees half of it.

        *pem* are the lines of key and chain; none empty.
        """
        if new:
            await self._cli.expect("New empty certificate store.*", "new", "ssl", "cert", file)
        await self._cli.expect(
            "Transaction (created|updated) for certificate.*", "set", "ssl", "cert", file, payload=pem
        )
        try:
            await self._cli.expect(".*Success!", "commit", "ssl", "cert", file)
        except CommandRefused:
            await self._cli.worker("abort", "ssl", "cert", file)
            raise

    async def drop_certificate(self, file: str) -> None:
        """Forget a certificate that no list has."""
        await self._cli.expect("Certificate '.*' deleted!", "del", "ssl", "cert", file)

    async def forget_certificate(self, file: str) -> bool:
        """Forget a certificate that was shown to servers; returns whether it is gone: not while one is left."""
        answer = await self._cli.worker("del", "ssl", "cert", file)
        if "deleted!" in answer:
            return True
        if "in use" in answer:
            return False
        raise CommandRefused(f"del ssl cert {file}", answer)

    async def listed(self, crt_list: str) -> tuple[ListedCertificate, ...]:
        """The lines of a list of certificates."""
        return read_crt_list(await self._cli.worker("show", "ssl", "crt-list", "-n", crt_list))

    async def list_certificate(self, crt_list: str, line: str) -> None:
        """Add a line (the file, then what is in the list) to a list of certificates."""
        await self._cli.expect(".*Success!", "add", "ssl", "crt-list", crt_list, payload=[line])

    async def unlist_certificate(self, crt_list: str, file: str, line: int) -> None:
        """Take a line out of a list of certificates."""
        words = ("del", "ssl", "crt-list", crt_list, f"{file}:{line}")
        await self._cli.expect("Entry '.*' deleted in crtlist '.*'!", *words)
