"""How policies become filters and edits: a table of compile functions, one for each type of policy.

The table is a value. Who has a policy of their own makes a table that has it too, and gives it to the
renderer of the in-process proxy, to `decide` and to `explain`:

```python
from ingresskit.filters import BUILTIN_EFFECTS

effects = BUILTIN_EFFECTS.with_policy(QuietHours, compile_quiet_hours)
renderer = InProcessRenderer(effects=effects)
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ingresskit.errors import ConfigurationError
from ingresskit.filters.base import Filter, ResponseFilter
from ingresskit.filters.edits import UNCHANGED, HeaderEdit, PathChange
from ingresskit.policies import AccessLog, Compression, Mirror, Policy

__all__ = ["Compiler", "Effect", "PolicyEffects"]

P = TypeVar("P", bound=Policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one policy does to the requests of its route. A frozen value that can be pickled.

    Attributes:
        guards: Asked before the request goes on; each may respond instead. The order of a route's guards
            is that of their stages.
        path: What happens to the path; ``None``: nothing.
        host: What endpoints get as ``Host`` in place of the client's; empty: that one.
        request: What happens to the header fields of the request.
        response: What happens to those of an endpoint's response.
        secure_response: The same for clients that use TLS, after *response*.
        rewrites: Asked for each response of an endpoint, for changes of what it says itself: their edits come
            before all others.
        responses: Asked for each response of an endpoint, for edits that depend on the request.
        local_secure: Header fields of responses of the proxy itself to clients that use TLS.
        local: Asked for each response of the proxy itself; the fields of their edits are added.
        max_body_bytes: The runtime counts the body while it passes, and refuses more; 0 is no limit.
        mirror: Where the runtime sends copies of requests; ``None``: there are none.
        compression: How it compresses responses; ``None``: not at all.
        access_log: Which requests the access log has; ``None``: all.
        errors: The statuses of responses in whose place the runtime sends a page of `Forward.fallback`.
    """

    guards: tuple[Filter, ...] = ()
    path: PathChange | None = None
    host: str = ""
    request: HeaderEdit = UNCHANGED
    response: HeaderEdit = UNCHANGED
    secure_response: HeaderEdit = UNCHANGED
    rewrites: tuple[ResponseFilter, ...] = ()
    responses: tuple[ResponseFilter, ...] = ()
    local_secure: HeaderEdit = UNCHANGED
    local: tuple[ResponseFilter, ...] = ()
    max_body_bytes: int = 0
    errors: frozenset[int] = frozenset()
    mirror: Mirror | None = None
    compression: Compression | None = None
    access_log: AccessLog | None = None


@dataclass(frozen=True, slots=True)
class Compiler(Generic[P]):
    """The compile function of one type of policy.

    Attributes:
        kind: The type of policy.
        compile: From a policy to its effect; pure, and asked once for each set of policies.
    """

    kind: type[P]
    compile: Callable[[P], Effect]


class PolicyEffects:
    """Compile functions by type of policy. Immutable.

    Args:
        compilers: Where two policies edit the same header field, the later one wins.

    Raises:
        ConfigurationError: Two are for the same type.
    """

    __slots__ = ("_compilers",)

    # A mapping from a type to what takes its instances has no type of its own in Python: hence Any.
    def __init__(self, compilers: Iterable[Compiler[Any]] = ()) -> None:
        self._compilers: dict[type[Policy], Compiler[Any]] = {}
        for compiler in compilers:
            if compiler.kind in self._compilers:
                raise ConfigurationError(f"two compile functions for {compiler.kind.__name__}")
            self._compilers[compiler.kind] = compiler

    @property
    def kinds(self) -> frozenset[type[Policy]]:
        """The policies that the table knows."""
        return frozenset(self._compilers)

    def with_policy(self, kind: type[P], compile_one: Callable[[P], Effect]) -> PolicyEffects:
        """This table and one type of policy more.

        Args:
            kind: The type of policy.
            compile_one: As `Compiler.compile`.

        Raises:
            ConfigurationError: The table has that type.
        """
        return PolicyEffects((*self._compilers.values(), Compiler(kind, compile_one)))

    def of(self, policies: Iterable[Policy]) -> tuple[Effect, ...]:
        """The effects of those policies that the table knows, in the order of the table."""
        held = {type(policy): policy for policy in policies}
        if not held:
            return ()
        return tuple(compiler.compile(held[kind]) for kind, compiler in self._compilers.items() if kind in held)
