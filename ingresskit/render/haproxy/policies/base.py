"""What a handler of a policy gives HAProxy: rows of settings, rules that read them, a part of the slot class.

The values of a policy stand in the settings map under the id of the route's policies, where the rules find
them. Every request passes the rules of every policy up to the last one that its route has, for HAProxy has
no jumps; so each rule begins with the flag of its policy, a letter in the row of the route.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final, Generic, TypeVar

from typing_extensions import override

from ingresskit.policies import Policy, Stage
from ingresskit.render.haproxy.artifact import MapName, Needs, SlotClass
from ingresskit.render.haproxy.capabilities import Capabilities
from ingresskit.render.haproxy.settings import HaproxySettings
from ingresskit.render.policies import Loss, PolicyHandler, Support

__all__ = ["DECIDING", "Beyond", "Context", "Draft", "Handler", "SettingRow"]

P_contra = TypeVar("P_contra", bound=Policy, contravariant=True)

DECIDING: Final = frozenset(Stage) - {Stage.REWRITE, Stage.HEADERS, Stage.UPSTREAM}
"""The stages that may end a request: their order can be seen from outside."""

SettingRow = tuple[MapName, str, str]
"""A map, the end of a key (what follows the id and ``/``), and a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the rules of a program depend on."""

    settings: HaproxySettings
    capabilities: Capabilities
    needs: Needs


@dataclass(slots=True)
class Draft:
    """What the policies of a route amount to.

    Attributes:
        rows: Of settings.
        flags: A letter for each policy with rows.
        stages: When the policies with rows act.
        slot_class: Of the slots of its backends.
        features: See `Handler.feature`.
        request_names: Request header fields that the program must know, lower case: the type of policy and
            the field of it that names each.
        response_names: The same for the response.
    """

    rows: list[SettingRow] = field(default_factory=list[SettingRow])
    flags: list[str] = field(default_factory=list[str])
    stages: set[Stage] = field(default_factory=set[Stage])
    slot_class: SlotClass = field(default_factory=SlotClass)
    features: set[str] = field(default_factory=set[str])
    request_names: dict[str, tuple[type[Policy], str]] = field(
        default_factory=dict[str, "tuple[type[Policy], str]"]
    )
    response_names: dict[str, tuple[type[Policy], str]] = field(
        default_factory=dict[str, "tuple[type[Policy], str]"]
    )


class Handler(PolicyHandler[P_contra, Draft], Generic[P_contra]):
    """How HAProxy honours one type of policy. The defaults do nothing.

    Its rules stand in the program where its stage is: request rules of the stages before `Stage.ACTION`
    before the route's action, the others after the header fields of forwarding. Those of a stage that may
    refuse a request stand there again for each order in which it has another place; so each has the form
    ``… if …``, and a request that passed them passes them again.
    """

    flag: ClassVar[str] = ""
    """One letter, unique among handlers; in the row of each route whose policy gives any rows."""
    words: ClassVar[str] = ""
    """What its rules do, a sentence: the comment above them."""

    feature: ClassVar[str] = ""
    """A name, where few routes have such a policy: the rules are in the program only while one has."""

    def is_in(self, context: Context) -> bool:
        """Whether its rules are in the program."""
        return not self.feature or self.feature in context.needs.features

    def table(self) -> str:
        """The words of the ``stick-table`` that its rules count in, under the name of the feature."""
        return ""

    def rows(self, policy: P_contra) -> Iterator[SettingRow]:
        """The settings that the policy amounts to."""
        del policy
        yield from ()

    def slot_class(self, policy: P_contra, base: SlotClass) -> SlotClass:
        """*base* with what the policy asks for of it."""
        del policy
        return base

    def request_names(self, policy: P_contra) -> Iterator[tuple[str, str]]:
        """Request header fields that the program must know, lower case, each behind the policy's field."""
        del policy
        yield from ()

    def response_names(self, policy: P_contra) -> Iterator[tuple[str, str]]:
        """The same for the response."""
        del policy
        yield from ()

    def request(self, context: Context) -> Iterator[str]:
        """``http-request`` rules of the frontend."""
        del context
        yield from ()

    def response(self, context: Context) -> Iterator[str]:
        """``http-response`` rules of the frontend; only requests of routes with any flag get there."""
        del context
        yield from ()

    def after(self, context: Context) -> Iterator[str]:
        """``http-after-response`` rules of the frontend, for responses of HAProxy itself too."""
        del context
        yield from ()

    def backend(self, context: Context) -> Iterator[str]:
        """``http-request`` rules that only a backend can have; in all of them."""
        del context
        yield from ()

    @override
    def contribute(self, policy: P_contra, draft: Draft) -> None:
        found = list(self.rows(policy))
        if found:
            draft.rows += found
            draft.flags.append(self.flag)
            draft.stages.add(self.stage)
            if self.feature:
                draft.features.add(self.feature)
        draft.slot_class = self.slot_class(policy, draft.slot_class)
        for field_name, name in self.request_names(policy):
            draft.request_names.setdefault(name, (self.policy, field_name))
        for field_name, name in self.response_names(policy):
            draft.response_names.setdefault(name, (self.policy, field_name))


class Beyond(Handler[Policy]):
    """Leaves a policy whole to the delegate.

    Args:
        kind: The policy.
        message: Why, as `Loss.message`.
        effect: As `Loss.effect`, without a delegate.
    """

    def __init__(self, kind: type[Policy], message: str, effect: str = "it is ignored") -> None:
        self.policy: type[Policy] = kind
        loss = Loss(message=message, support=Support.DELEGATED, effect=effect)
        self.limitations: tuple[Loss, ...] = (loss,)

    @override
    def losses(self, policy: Policy) -> Iterable[Loss]:
        return self.limitations

    @override
    def honoured(self, policy: Policy) -> Policy | None:
        return None
