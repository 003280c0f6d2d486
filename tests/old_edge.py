"""A real nginx that stands in for ingress-nginx: configured from Ingresses by text, as its template would.

Only what tests need: servers, locations (with ``=``, prefixes, and patterns for the whole host), TLS, the
redirect to it, rewrites, allow lists, body limits, redirects, and the header that HSTS is.
"""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ingresskit.models import Ingress
from ingresskit.testing import make_certificate, pace
from ingresskit.testing.ports import free_port
from tests.nginx_program import NGINX

_NGINX = "nginx.ingress.kubernetes.io/"

# Of a path: the address of the endpoint that gets its requests, "127.0.0.1:8080".
Upstreams = Callable[[Ingress, str], str]


class OldEdge:
    """nginx in a folder. Leave the context, and it is ended."""

    def __init__(self, root: Path, upstreams: Upstreams) -> None:
        self.http = ("127.0.0.1", free_port())
        self.https = ("127.0.0.1", free_port())
        self.reloads = 0
        self._root = root
        self._upstreams = upstreams
        self._process: subprocess.Popen[bytes] | None = None
        (root / "temp").mkdir(parents=True)
        certificate = make_certificate("*.test", "test")
        (root / "tls.pem").write_bytes(certificate.chain + b"\n" + certificate.private_key)
        self.authority = root / "tls.pem"

    def __enter__(self) -> OldEdge:
        return self

    def __exit__(self, *args: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(pace.within(20))

    def serve(self, ingresses: Iterable[Ingress]) -> None:
        """Serve these, and nothing else: by a reload, as ingress-nginx does."""
        config = self._root / "nginx.conf"
        text = self._config(list(ingresses))
        if self._process is not None and config.read_text(encoding="utf-8") == text:
            return
        config.write_text(text, encoding="utf-8")
        if self._process is not None:
            self.reloads += 1
            before = self._generation()
            self._process.send_signal(signal.SIGHUP)
            self._wait(lambda: self._generation() != before)
            return
        words = [NGINX, "-c", str(config), "-e", str(self._root / "error.log"), "-g", "daemon off;"]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait(self._listens)

    def _listens(self) -> bool:
        try:
            socket.create_connection(self.http, pace.within(1)).close()
        except OSError:
            return False
        return True

    def _generation(self) -> set[str]:
        assert self._process is not None
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return set(path.read_text(encoding="ascii").split())

    def _wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + pace.within(20)
        while not condition():
            log = self._root / "error.log"
            assert time.monotonic() < end, log.read_text() if log.exists() else "nginx does not start"
            time.sleep(0.01)

    def _config(self, ingresses: list[Ingress]) -> str:
        rules: dict[str, list[tuple[Ingress, str, str | None]]] = {}
        secure: set[str] = set()
        ordered = sorted(ingresses, key=lambda item: (str(item.metadata.creation_timestamp), str(item.key)))
        for item in ordered:
            for rule in item.spec.rules:
                held = rules.setdefault(rule.host or "_", [])
                for path in rule.http.paths if rule.http is not None else ():
                    if (path.path, path.path_type) not in [(known, kind) for _, known, kind in held]:
                        held.append((item, path.path or "/", path.path_type))
            secure |= {host for entry in item.spec.tls for host in entry.hosts}
        servers = "".join(self._server(host, held, host in secure) for host, held in rules.items())
        user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
        temp = self._root / "temp"
        paths = "".join(
            f"{name}_temp_path {temp}/{name};" for name in ("proxy", "client_body", "fastcgi", "uwsgi", "scgi")
        )
        return (
            f"{user} worker_processes 1; pid {self._root}/nginx.pid; worker_shutdown_timeout 240s;\n"
            f"events {{ worker_connections 512; }}\nhttp {{ access_log off; {paths}\n"
            "merge_slashes on; server_tokens off; client_max_body_size 1m;\n"
            f"ssl_certificate {self.authority}; ssl_certificate_key {self.authority};\n"
            f"server {{ {self._listen('default_server')} server_name _; return 404; }}\n{servers}}}\n"
        )

    def _listen(self, more: str = "") -> str:
        (host, port), (_, secure) = self.http, self.https
        return f"listen {host}:{port} {more}; listen {host}:{secure} ssl {more};"

    def _server(self, host: str, held: list[tuple[Ingress, str, str | None]], secure: bool) -> str:
        notes = [_notes(item) for item, _, _ in held]
        pattern = any(
            note.get("use-regex") == "true" or note.get("rewrite-target", path) != path
            for note, (_, path, _) in zip(notes, held, strict=True)
        )
        if pattern:
            held = sorted(held, key=lambda entry: len(entry[1]), reverse=True)
        name = f"~^[\\w-]+{host[1:]}$" if host.startswith("*.") else host
        locations = "".join(self._location(*entry, pattern=pattern, secure=secure) for entry in held)
        if not any(path == "/" for _, path, _ in held):
            locations += "location / { return 404; }\n"
        return f'server {{ {self._listen()} server_name "{name}";\n{locations}}}\n'

    def _location(
        self, ingress: Ingress, path: str, path_type: str | None, *, pattern: bool, secure: bool
    ) -> str:
        notes = _notes(ingress)
        # First, for nothing is set after a rewrite that ends.
        body = f"set $endpoint {self._upstreams(ingress, path)};\n"
        body += "".join(f"{line}\n" for line in self._effects(notes, path, secure=secure))
        body += "proxy_pass http://$endpoint; "
        body += "proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection '';\n"
        if pattern:
            heads = [f'~* "^{path}"']
        elif path_type == "Exact":
            heads = [f"= {path}"]
        elif path == "/":
            heads = ["/"]
        else:
            heads = [f"= {path}", f"{path.rstrip('/')}/"]
        return "".join(f"location {head} {{ {body} }}\n" for head in heads)

    def _effects(self, notes: Mapping[str, str], path: str, *, secure: bool) -> Iterable[str]:
        if size := notes.get("proxy-body-size"):
            yield f"client_max_body_size {size};"
        yield 'if ($scheme = https) { set $hsts "max-age=31536000; includeSubDomains"; }'
        yield "add_header Strict-Transport-Security $hsts always;"
        for name, code in (("temporal-redirect", 302), ("permanent-redirect", 301)):
            if name in notes:
                yield f"return {code} {notes[name]};"
        forced = notes.get("force-ssl-redirect") == "true"
        if forced or (secure and notes.get("ssl-redirect", "true") == "true"):
            # As its Lua says it: without the slash at the end.
            yield "set $target $request_uri; if ($request_uri ~ ^(/.+)/$) { set $target $1; }"
            yield "if ($scheme = http) { return 308 https://$host$target; }"
        for word, names in (
            ("deny", ["denylist-source-range"]),
            ("allow", ["whitelist-source-range", "allowlist-source-range"]),
        ):
            ranges = [text.strip() for name in names for text in notes.get(name, "").split(",") if text.strip()]
            for text in ranges:
                yield f"{word} {text};"
            if ranges and word == "allow":
                yield "deny all;"
        if (target := notes.get("rewrite-target")) and target != path:
            yield f'rewrite "(?i){path}" {target} break;'


def _notes(ingress: Ingress) -> dict[str, str]:
    notes = ingress.metadata.annotations
    return {key.removeprefix(_NGINX): value for key, value in notes.items() if key.startswith(_NGINX)}
