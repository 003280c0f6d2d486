"""Which certificate serves which TLS server name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import filterfalse

from ingresskit.models import ObjectKey
from ingresskit.render.nginx.artifact import DEFAULT_CERTIFICATE, ConfigFile, config_file
from ingresskit.render.nginx.names import certificate_id
from ingresskit.render.nginx.tree import Block, Directive, Node, Prepared, Value, Variable, prepared

__all__ = ["ServerNamesFile"]


class ServerNamesFile:
    """``server-names.conf`` of successive graphs: from the TLS server name to the id of a certificate."""

    def __init__(self) -> None:
        self._given: Mapping[str, ObjectKey | None] = {}
        self._lines: dict[str, str] = {}
        self._wildcards: set[str] = set()
        self._file: ConfigFile | None = None

    def follow(
        self, server_names: Mapping[str, ObjectKey | None], changed: Iterable[str] | None = None
    ) -> ConfigFile:
        """The file for *server_names*; the same object as before when it says the same.

        Args:
            server_names: As `RouteGraph` has them.
            changed: At least those that are served otherwise than before; ``None``: all may be.
        """
        before = self._given
        looked_at = {**before, **server_names} if changed is None else changed
        other = [
            name
            for name in looked_at
            if (name in before) != (name in server_names) or before.get(name) != server_names.get(name)
        ]
        if self._file is not None and not other:
            self._given = server_names
            return self._file
        lines = {name: _line(name, server_names[name]) for name in other if name in server_names}
        # Nothing is remembered where a line cannot be written: the above raises before this.
        self._given = server_names
        for name in other:
            self._lines.pop(name, None)
            self._wildcards.discard(name)
        self._lines.update(lines)
        self._wildcards.update(name for name in lines if name.startswith("*."))
        # Calls that run no Python per name.
        names = map(self._lines.__getitem__, filterfalse(self._wildcards.__contains__, server_names))
        wildcards = map(self._lines.__getitem__, filter(self._wildcards.__contains__, server_names))
        nodes = _nodes(Prepared(tuple(names)), Prepared(tuple(wildcards)))
        self._file = config_file("server-names.conf", nodes)
        return self._file


def _line(served: str, key: ObjectKey | None) -> str:
    identifier = DEFAULT_CERTIFICATE if key is None else certificate_id(key)
    # The backslash is nginx's way to say that a key is a name, even "default" or "include".
    return prepared(Directive(f"\\{served.removeprefix('*.')}", (identifier,)))


def _nodes(names: Prepared, wildcards: Prepared) -> tuple[Node, ...]:
    """The file of these rows.

    A name goes before a wildcard, and a wildcard takes one label: so the maps are asked one after the
    other, the second one with what follows the first label.
    """
    name, parent, by_parent = Variable("ik_server_name"), Variable("ik_parent"), Variable("ik_wildcard_id")
    captured = Variable("ik_c_parent"), Variable("ik_c_name")
    return (
        Block(
            "map",
            (Variable("ssl_server_name"), name),
            (
                Directive(rf"~^(?<{captured[1].name}>.+)\.$", (Value(captured[1]),)),
                Directive("default", (Value(Variable("ssl_server_name")),)),
            ),
        ),
        Block(
            "map",
            (name, parent),
            (
                Directive(rf"~^[^.]+\.(?<{captured[0].name}>.+)$", (Value(captured[0]),)),
                Directive("default", ("",)),
            ),
        ),
        Block("map", (parent, by_parent), (Directive("default", (DEFAULT_CERTIFICATE,)), wildcards)),
        Block(
            "map",
            (name, Variable("ik_certificate_id")),
            (Directive("default", (Value(by_parent),)), names),
        ),
    )
