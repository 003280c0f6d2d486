"""From one snapshot after another to route graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from ingresskit.models import Snapshot
from ingresskit.translate.claims import Front
from ingresskit.translate.fronts import default_fronts
from ingresskit.translate.options import TranslateOptions
from ingresskit.translate.work import Translation, Work

__all__ = ["Translation", "Translator", "translate"]


def translate(
    snapshot: Snapshot, options: TranslateOptions | None = None, *, now: datetime | None = None
) -> Translation:
    """The route graph of *snapshot*.

    Pure: equal snapshots give equal translations whatever the order of their objects. Never raises
    for what users of a cluster write.

    Args:
        snapshot: What the cluster holds, and who holds which host already.
        options: What the integrator decides; the defaults when left out.
        now: To report certificates that have expired, to stamp new claims on hosts, and to end grace
            periods; ``None`` reports none, stamps none, and grants no grace.
    """
    return Translator(options, retain=False).translate(snapshot, now=now)


class Translator:
    """Translates one snapshot after another, doing only the work that the changes ask for.

    The graphs share structure: a host, backend or certificate that did not change is the same object
    in successive graphs, and `ingresskit.graph.diff` of two of them costs as much as there are changes. Not
    safe to use from two threads at once.

    Args:
        options: What the integrator decides; the defaults when left out.
        retain: Go on serving the last good certificate of a Secret whose new content is no good. The
            one thing in which a translation depends on the snapshots before.
        fronts: Makes the fronts of the APIs whose objects make claims; Ingresses when left out.
    """

    def __init__(
        self,
        options: TranslateOptions | None = None,
        *,
        retain: bool = True,
        fronts: Callable[[TranslateOptions], Iterable[Front]] = default_fronts,
    ) -> None:
        self._options = options or TranslateOptions()
        self._retain = retain
        self._fronts = fronts
        self._work: Work | None = None

    def translate(self, snapshot: Snapshot, *, now: datetime | None = None) -> Translation:
        """The route graph of *snapshot*. See `translate`."""
        work = self._work or Work(self._options, self._fronts(self._options), retain=self._retain)
        # Work that raises half-way is not gone on with: the next snapshot is translated from scratch.
        self._work = None
        translation = work.advance(snapshot, now)
        self._work = work
        return translation
