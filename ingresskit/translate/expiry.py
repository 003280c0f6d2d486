"""Warns of certificates that are not valid now, and looks only at those for which that may have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from heapq import heappop, heappush

from ingresskit._ledger import Ledger
from ingresskit.diagnostics import Diagnostic, Reason, Severity
from ingresskit.graph import Certificate
from ingresskit.models import ObjectKey, ObjectRef, Secret

__all__ = ["ExpiryTable"]


class ExpiryTable:
    """The warnings for the certificates that are served.

    Such a certificate is served all the same: the client decides, and the default one would fit no better.

    Args:
        notes: Gets the warnings.
    """

    def __init__(self, notes: Ledger[ObjectRef, Diagnostic]) -> None:
        self._notes = notes
        self._served: dict[ObjectKey, Certificate] = {}
        self._now: datetime | None = None
        # When a certificate begins or ends to be valid, of those that are served and some that were.
        self._moments: list[tuple[datetime, ObjectKey]] = []

    def advance(self, changed: Mapping[ObjectKey, Certificate | None], now: datetime | None) -> None:
        """Warn of what is not valid at *now*; ``None``: of nothing.

        Args:
            changed: The certificates that are served anew; ``None``: no longer.
            now: The moment.
        """
        before, self._now = self._now, now
        for key, certificate in changed.items():
            if certificate is None:
                self._served.pop(key, None)
            else:
                self._served[key] = certificate
                heappush(self._moments, (certificate.not_before, key))
                heappush(self._moments, (certificate.not_after, key))
        due = set(changed)
        if now != before and (before is None or now is None or now < before):
            due.update(self._served)
            self._moments = []
            for key, certificate in self._served.items():
                heappush(self._moments, (certificate.not_before, key))
                heappush(self._moments, (certificate.not_after, key))
        if now is not None:
            while self._moments and self._moments[0][0] <= now:
                due.add(heappop(self._moments)[1])
        for key in due:
            self._notes.put(("expiry", key), self._warnings(key))

    def _warnings(self, key: ObjectKey) -> Iterator[Diagnostic]:
        certificate, now = self._served.get(key), self._now
        if certificate is None or now is None:
            return
        if certificate.not_after <= now:
            what = f"expired at {certificate.not_after:%Y-%m-%dT%H:%M:%SZ}"
        elif certificate.not_before > now:
            what = f"is not valid before {certificate.not_before:%Y-%m-%dT%H:%M:%SZ}"
        else:
            return
        yield Diagnostic(
            subject=ObjectRef(Secret.kind, key),
            field="data[tls.crt]",
            reason=Reason.CERTIFICATE_EXPIRED,
            message=f"the certificate {what}; it is served all the same",
            severity=Severity.WARNING,
        )
