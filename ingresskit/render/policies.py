"""Which policies a renderer honours, and how: one table of handlers, from which everything else follows.

A renderer has one `PolicyHandler` for each type of policy that it honours, and puts them into a
`HandlerTable`. `Renderer.supports`, what `Renderer.restrict` takes out of a graph and reports, and the
documentation's matrix all come from that table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Generic, Never, TypeVar, cast

from typing_extensions import override

from ingresskit.diagnostics import Severity
from ingresskit.errors import ConfigurationError
from ingresskit.policies import NATIVE_ORDER, Order, Policy, PolicySet, Stage

__all__ = ["HandlerTable", "Judgement", "LeftToDelegate", "Loss", "PolicyHandler", "Support"]

P_contra = TypeVar("P_contra", bound=Policy, contravariant=True)
Draft_contra = TypeVar("Draft_contra", contravariant=True)
DraftT = TypeVar("DraftT")
H_co = TypeVar("H_co", bound="PolicyHandler[Never, Never]", covariant=True)


class Support(StrEnum):
    """How a renderer honours a policy, or one value of it. Values are stable."""

    NATIVE = "native"
    """The proxy does it by itself."""
    DELEGATED = "delegated"
    """The proxy cannot do it exactly. It hands the route's requests to a delegate that can, if it has one."""
    NONE = "none"
    """Neither does it: the loss is reported to the author of the route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What of a policy a proxy cannot honour exactly.

    Attributes:
        message: Why, as the end of a sentence that begins with "the … renderer".
        field: The field of the policy that it concerns; empty for the whole policy.
        requests: Which requests of the route it concerns, in the words of `ingresskit.render.delegate`: where
            not all of them, the proxy tells those apart by itself.
        support: `Support.DELEGATED` where a delegate can do it, so that it is a loss without one only.
        closes: Whether the route responds 503; ``None``: if the policy protects.
        severity: ``None``: an error if the route closes, else a warning.
        effect: The consequence for a route that does not close, as the end of the sentence.
    """

    message: str
    field: str = ""
    support: Support = Support.NONE
    closes: bool | None = None
    severity: Severity | None = None
    effect: str = "it is ignored"
    requests: str = "all"


class PolicyHandler(Generic[P_contra, Draft_contra]):
    """How one proxy honours one type of policy. Subclass it; the defaults honour it whole and write nothing.

    A handler holds no state: one object serves all routes.
    """

    policy: type[Policy]
    """The type of policy; that of the first type argument."""
    limitations: tuple[Loss, ...] = ()
    """All that `losses` may return, for the documentation; the messages may differ."""

    @property
    def stage(self) -> Stage:
        """When it acts on a request."""
        return self.policy.stage

    def contribute(self, policy: P_contra, draft: Draft_contra) -> None:
        """Write what *policy* amounts to into *draft*, which is that of a route, host or backend."""

    def losses(self, policy: P_contra) -> Iterable[Loss]:
        """What of *policy* the proxy cannot honour; nothing when it honours its values exactly."""
        del policy
        return ()

    def honoured(self, policy: P_contra) -> Policy | None:
        """*policy* less what the proxy cannot honour; ``None`` when nothing is left.

        It is what `contribute` gets. By default *policy* itself: losses are left to `contribute`.
        """
        return policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a renderer can do of a set of policies.

    Attributes:
        policies: What is left of them; the same object when nothing was taken out. Policies without a
            handler stay.
        losses: Each with the type of policy that it concerns, in the order of `PolicySet`.
        delegated: Whether the requests of their routes must go through the delegate. Only where there is one.
    """

    policies: PolicySet
    losses: tuple[tuple[type[Policy], Loss], ...] = ()
    delegated: bool = False


class HandlerTable(Generic[H_co]):
    """The handlers of one renderer. Immutable.

    Args:
        handlers: At most one for each type of policy, in any order.

    Raises:
        ConfigurationError: Two are for the same type of policy.
    """

    __slots__ = ("_by_kind",)

    def __init__(self, handlers: Iterable[H_co] = ()) -> None:
        self._by_kind: dict[type[Policy], H_co] = {}
        for handler in handlers:
            if handler.policy in self._by_kind:
                raise ConfigurationError(f"two handlers for the policy {handler.policy.__name__}")
            self._by_kind[handler.policy] = handler

    @property
    def supports(self) -> frozenset[type[Policy]]:
        """The types of policy that have a handler."""
        return frozenset(self._by_kind)

    def handlers(self, order: Order = NATIVE_ORDER) -> tuple[H_co, ...]:
        """All handlers in *order*; those of one stage by the names of their policies."""

        def place(item: PolicyHandler[Never, Never]) -> tuple[int, str]:
            return order.place(item.stage), item.policy.__name__

        return tuple(sorted(self, key=place))

    def get(self, kind: type[Policy]) -> H_co | None:
        """The handler for policies of that type."""
        return self._by_kind.get(kind)

    def only(self, kinds: Iterable[type[Policy]]) -> HandlerTable[PolicyHandler[Never, Never]]:
        """The table for these types of policy, with the handlers from here where there are any.

        For the others the renderer honours the policy whole, and reads its values by itself.
        """
        return HandlerTable(
            self._by_kind.get(kind) or _Declared(kind) for kind in sorted(kinds, key=lambda kind: kind.__name__)
        )

    def with_delegated(self, kinds: Iterable[type[Policy]]) -> HandlerTable[PolicyHandler[Never, Never]]:
        """This table and, for those types of policy that it lacks, handlers that leave them to a delegate."""
        more = (LeftToDelegate(kind) for kind in kinds if kind not in self._by_kind)
        return HandlerTable((*self, *sorted(more, key=lambda handler: handler.policy.__name__)))

    def contribute(
        self: HandlerTable[PolicyHandler[Never, DraftT]],
        policies: PolicySet,
        draft: DraftT,
        order: Order = NATIVE_ORDER,
    ) -> None:
        """Write what *policies* amount to into *draft*, in *order*; those without a handler write nothing."""
        found = [(handler, policy) for policy in policies if (handler := self._by_kind.get(type(policy)))]
        if len(found) > 1:
            found.sort(key=lambda item: order.place(item[0].stage))
        for handler, policy in found:
            cast("PolicyHandler[Policy, DraftT]", handler).contribute(policy, draft)

    def judge(self, policies: PolicySet, *, delegate: bool = False) -> Judgement:
        """What the renderer can do of *policies*.

        Args:
            policies: Those of a route, host or backend.
            delegate: Whether there is a delegate. If so, a loss that is `Support.DELEGATED` is none, and the
                policy that has one is left whole.
        """
        losses: list[tuple[type[Policy], Loss]] = []
        changed: dict[type[Policy], Policy | None] = {}
        delegated = False
        for policy in policies:
            kind = type(policy)
            found = tuple(self.losses(policy))
            lost = tuple(item for item in found if not (delegate and item.support is Support.DELEGATED))
            delegated = delegated or len(lost) < len(found)
            losses += ((kind, item) for item in lost)
            if lost and (handler := self._by_kind.get(kind)):
                left = cast("PolicyHandler[Policy, Never]", handler).honoured(policy)
                if left is not policy:
                    changed[kind] = left
        if changed:
            left_over = PolicySet(item for item in changed.values() if item is not None)
            policies = policies.without(*(kind for kind, item in changed.items() if item is None))
            policies = policies.merged(left_over)
        return Judgement(policies=policies, losses=tuple(losses), delegated=delegated)

    def losses(self, policy: Policy) -> Iterable[Loss]:
        """What of *policy* the renderer cannot honour: all of it where it has no handler."""
        handler = self._by_kind.get(type(policy))
        if handler is None:
            return (_unsupported(type(policy)),)
        return cast("PolicyHandler[Policy, Never]", handler).losses(policy)

    def support(self, kind: type[Policy]) -> tuple[Support, tuple[Loss, ...]]:
        """For the documentation: how policies of a type are honoured, and what of them may be lost.

        The first is `Support.DELEGATED` or `Support.NONE` where a loss concerns the whole policy.
        """
        handler = self._by_kind.get(kind)
        if handler is None:
            return Support.NONE, ()
        whole = [item.support for item in handler.limitations if not item.field]
        return (whole[0] if whole else Support.NATIVE), handler.limitations

    def __iter__(self) -> Iterator[H_co]:
        return iter(self._by_kind.values())

    def __len__(self) -> int:
        return len(self._by_kind)

    def __contains__(self, kind: type[Policy]) -> bool:
        return kind in self._by_kind


class _Declared(PolicyHandler[Policy, object]):
    """The renderer honours a policy, and reads its values by itself."""

    def __init__(self, kind: type[Policy]) -> None:
        self.policy = kind


class LeftToDelegate(PolicyHandler[Policy, object]):
    """Leaves a policy whole to the delegate: the program cannot do it exactly.

    Args:
        kind: The policy.
        message: Why, as `Loss.message`; empty: the renderer knows nothing of it.
    """

    def __init__(self, kind: type[Policy], message: str = "") -> None:
        self.policy: type[Policy] = kind
        loss = Loss(message=message) if message else _unsupported(kind)
        self.limitations: tuple[Loss, ...] = (replace(loss, support=Support.DELEGATED),)

    @override
    def losses(self, policy: Policy) -> Iterable[Loss]:
        return self.limitations

    @override
    def honoured(self, policy: Policy) -> Policy | None:
        return None


def _unsupported(kind: type[Policy]) -> Loss:
    return Loss(message=f"does not support {kind.__name__}")
