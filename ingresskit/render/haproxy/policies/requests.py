"""Which requests are served at all: methods by rows; what clients say of themselves is for the delegate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from typing_extensions import override

from ingresskit.policies import AllowedMethods, DeniedAgents, Policy
from ingresskit.render.error_bodies import sentence
from ingresskit.render.haproxy.artifact import MapName
from ingresskit.render.haproxy.lines import flagged, lookup, plain_text, refused, setting
from ingresskit.render.haproxy.policies.base import Context, Handler, SettingRow
from ingresskit.render.policies import Loss, Support

__all__ = ["HANDLERS"]


class _AllowedMethods(Handler[AllowedMethods]):
    """A row for each method, and one with the list."""

    policy: type[Policy] = AllowedMethods
    flag = "m"
    words = "Only some methods are served; without the list, none is."

    @override
    def rows(self, policy: AllowedMethods) -> Iterator[SettingRow]:
        if policy.methods:
            yield MapName.SETTINGS, "methods", ", ".join(policy.methods)
            for method in policy.methods:
                yield MapName.SETTINGS, f"method-{method}", "1"

    @override
    def request(self, context: Context) -> Iterator[str]:
        on = flagged(self.flag)
        yield f"set-var-fmt(txn.key) %[var(txn.policy)]/method-%[method] if {on}"
        other = f"{on} !{{ {lookup('var(txn.key)', MapName.SETTINGS)} -m found }}"
        reply = f"return status 405 hdr Allow %[{setting('methods')}] {plain_text(sentence(405))}"
        yield from refused(reply, other, context.capabilities)


class _DeniedAgents(Handler[DeniedAgents]):
    """HAProxy has no rules for a list of regular expressions that is not in its configuration."""

    policy: type[Policy] = DeniedAgents
    limitations: tuple[Loss, ...] = (
        Loss(message="has no lists of regular expressions", support=Support.DELEGATED),
    )

    @override
    def losses(self, policy: DeniedAgents) -> Iterable[Loss]:
        return self.limitations if policy.agents or policy.referers else ()


HANDLERS: Final = (_AllowedMethods(), _DeniedAgents())
