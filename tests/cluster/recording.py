"""Conversations with an API server, written down so that two servers can be compared word for word.

What differs from run to run by nature (uids, versions, times, addresses the server chooses) is replaced by
a label; the same value gets the same label throughout one conversation, so that what must be the same
still shows. Prose is left out: the embedded server says things in its own words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, cast

from ingresskit.testing.apiserver import AnyApiServer, Manifest
from ingresskit.testing.apiserver.calls import Answered, call

__all__ = ["APPLY", "JSON_PATCH", "MERGE", "STRATEGIC", "TABLE", "Talk"]

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
"""What kubectl asks for when it prints."""

_AGENT = "conversation"
_TOLD_HEADERS = ("content-type", "warning", "retry-after")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_TIMES = {"creationTimestamp", "deletionTimestamp", "time"}
_AGE = re.compile(r"(\d+[smhdy])+")
_CHOSEN = (
    (re.compile(r"^10\.(9[6-9]|1[01]\d)\.\d+\.\d+$"), "<address>"),
    (re.compile(r":3\d{4}/"), ":<port>/"),
)
_TOKEN = re.compile("continue=[-\\w]{20,}")
_VERSION = re.compile(r"resourceVersion=(\d+)")
_PROSE = {"description", "message"}


def _owner(entry: Manifest) -> tuple[str, ...]:
    return tuple(str(entry.get(key, "")) for key in ("manager", "operation", "subresource", "apiVersion"))


class Talk:
    """What was said in one conversation.

    Args:
        server: With whom.
        namespace: One made for this conversation; ``{ns}`` stands for it in paths and comes back in answers.
    """

    def __init__(self, server: AnyApiServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self._said: list[Manifest] = []
        self._labels: dict[tuple[str, str], str] = {}

    def get(self, path: str, *, accept: str = "", token: str | None = None) -> Answered:
        return self.say("GET", path, accept=accept, token=token)

    def post(self, path: str, body: object, content_type: str = "") -> Answered:
        return self.say("POST", path, body, content_type)

    def put(self, path: str, body: object) -> Answered:
        return self.say("PUT", path, body)

    def patch(self, path: str, body: object, content_type: str = MERGE) -> Answered:
        return self.say("PATCH", path, body, content_type)

    def delete(self, path: str, body: object = None) -> Answered:
        return self.say("DELETE", path, body)

    def say(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "",
        *,
        accept: str = "",
        token: str | None = None,
        look_at: Callable[[Manifest], object] | None = None,
    ) -> Answered:
        """Ask one thing, and write the answer down; of a long one only what *look_at* picks."""
        headers = {"User-Agent": _AGENT, **({"Accept": accept} if accept else {})}
        path = path.replace("{ns}", self.namespace)
        answer = call(self.server, method, path, body, content_type=content_type, headers=headers, token=token)
        self._said.append(self._written(method, path, accept, answer, look_at))
        return answer

    def watch(self, path: str, query: str, *, accept: str = "") -> list[Manifest]:
        """The events of a watch of one second, written down."""
        target = f"{path}?watch=1&timeoutSeconds=1&{query}"
        answer = self.say("GET", target, accept=accept)
        return [] if answer.status != 200 else [json.loads(line) for line in answer.body.splitlines()]

    def quietly(self, method: str, path: str, body: object = None, content_type: str = "") -> Manifest:
        """Ask without writing down, and insist on success."""
        path = path.replace("{ns}", self.namespace)
        answer = call(
            self.server, method, path, body, content_type=content_type, headers={"User-Agent": "preparation"}
        )
        assert answer.status < 300, (method, path, answer)
        self._value(answer.json, "", "")  # for the labels
        return answer.json

    def text(self) -> str:
        """All that was said."""
        return "".join(json.dumps(item, indent=1, sort_keys=True) + "\n" for item in self._said)

    # Writing down.

    def _written(
        self,
        method: str,
        path: str,
        accept: str,
        answer: Answered,
        look_at: Callable[[Manifest], object] | None,
    ) -> Manifest:
        said: Manifest = {"asked": f"{method} {self._target(path)}", "status": answer.status}
        if accept:
            said["accepting"] = accept
        told = {name: answer.headers[name] for name in _TOLD_HEADERS if name in answer.headers}
        if told != {"content-type": "application/json"}:
            said["headers"] = self._value(told, "", "")
        said["answer"] = self._body(answer.body, look_at)
        return said

    def _body(self, body: bytes, look_at: Callable[[Manifest], object] | None) -> object:
        try:
            lines: list[Any] = [json.loads(body)]
        except ValueError:
            try:
                lines = [json.loads(line) for line in body.splitlines() if line]
            except ValueError:
                return self._text(body.decode(errors="replace"))
        if look_at is not None:
            return self._value(look_at(lines[0]), "", "")
        found = [self._value(line, "", "") for line in lines]
        return found[0] if len(found) == 1 else found

    def _value(self, value: Any, name: str, above: str) -> object:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            tree = cast("dict[str, Any]", value)
            is_list = str(tree.get("kind", "")).endswith(("List", "Table"))
            if name == "bookmark":
                is_list = True  # it tells how far the server is, which other writes move on as well
            if tree.get("type") == "BOOKMARK":
                return {"type": "BOOKMARK", "object": self._value(tree["object"], "bookmark", name)}
            return {
                self._text(key): self._value(item, "list" if is_list and key == "metadata" else key, name)
                for key, item in tree.items()
            }
        if isinstance(value, list):
            items: list[Any] = [*value]
            if name == "clusterIPs" and items != ["None"]:
                return ["<address>"]
            if name == "managedFields":
                # The server sorts them by time, in seconds, which is not the same in each run.
                items = sorted(items, key=_owner)
            return [self._value(item, name, above) for item in items]
        if isinstance(value, str):
            return self._labelled(value, name, above)
        return "<port>" if name == "nodePort" and value else value

    def _labelled(self, text: str, name: str, above: str) -> str:
        match name:
            case "resourceVersion" if text:
                return "<version of a list>" if above == "list" else self._label("version", text)
            case "uid" if text:
                return self._label("uid", text)
            case "continue" if text:
                return "<token>"
            case "clusterIP" if text not in ("", "None"):
                return "<address>"
            case _ if name in _TIMES:
                return "<time>"
            case _ if name in _PROSE:
                return "<prose>" if text else ""
            case "cells" if _AGE.fullmatch(text):
                return "<age>"
            case "cells":
                for pattern, label in _CHOSEN:
                    text = pattern.sub(label, text)
                return self._text(text)
            case "warning":
                return "<prose>"
            case _:
                return self._text(text)

    def _label(self, kind: str, value: str) -> str:
        count = sum(1 for known, _ in self._labels if known == kind)
        return self._labels.setdefault((kind, value), f"<{kind} {count + 1}>")

    def _text(self, text: str) -> str:
        text = text.replace(self.namespace, "<ns>")
        for (kind, value), label in self._labels.items():
            if kind == "uid":
                text = text.replace(value, label)
        return _TIME.sub("<time>", text)

    def _target(self, path: str) -> str:
        path = _TOKEN.sub("continue=<token>", self._text(path))
        return _VERSION.sub(lambda found: f"resourceVersion={self._known(found[1])}", path)

    def _known(self, version: str) -> str:
        # The first few are asked for by number, to see what is said of the past.
        return self._labels.get(("version", version), version if version in "015" else "<version of a list>")
