"""The record of host claims as ConfigMaps: text in, text out, and how the text is split. No I/O.

One line for each host, so that a broken line costs one host:

    shop.test shop 2026-11-30T08:00:00Z
    *.blog.test blog 2026-11-30T08:00:00Z 2026-12-01T09:30:00Z

Host, namespace, since when, and, during a grace period, when the last claim went; ``-`` for an unknown time.

The lines are spread over 2^n ConfigMaps by a hash of the host. When n grows, each host stays in its
ConfigMap or goes to a new one, so the new ones are written first and no host is ever in none of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ingresskit._quoting import quoted
from ingresskit.errors import ConfigurationError, DecodeError
from ingresskit.graph import ANY_HOST, HostRefused, rule_host
from ingresskit.models import ConfigMap, HostClaim, HostClaims, ObjectKey

__all__ = ["RECORD_KEY", "RECORD_LABEL", "PublishedClaims", "check_record_key", "read_record", "write_record"]

RECORD_LABEL = "ingresskit.dev/host-claims"
"""The label of every ConfigMap of a record; its value is the name of the record."""
RECORD_KEY = "hosts"
"""The key in ``data`` that holds the lines."""

# With name, labels and managed fields an object stays below 256 KiB, a quarter of what etcd takes.
_MAX_BYTES = 240_000
_GOOD_BYTES = 120_000
_MOST_SHARDS = 4096
_MOST_TOLD = 5
_HEADER = "# host namespace since [released]: kept by the controller, edits are overwritten\n"

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_LINE = re.compile(rf"(\S{{1,255}}) ([a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?) (-|{_TIME})(?: ({_TIME}))?")
# A label value has 63 characters at most, and the number of a ConfigMap stands behind the name.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,55}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedClaims:
    """A record as it was read.

    Attributes:
        claims: What could be read.
        problems: What could not: a few lines of each ConfigMap, and how many more.
    """

    claims: HostClaims
    problems: tuple[DecodeError, ...] = ()


def check_record_key(key: ObjectKey) -> None:
    """Refuse a name that no record can have.

    Raises:
        ConfigurationError: The name is not a DNS label of at most 57 characters.
    """
    if not _NAME.fullmatch(key.name):
        raise ConfigurationError(
            f"{key.name!r} cannot be the name of a record of hosts:"
            " at most 57 lower-case letters, digits and dashes"
        )


def write_record(claims: HostClaims, key: ObjectKey, present: int = 1) -> Mapping[str, str]:
    """The ConfigMaps of a record by name, each with its text.

    Args:
        claims: The record.
        key: Its namespace and name: the name of the first ConfigMap.
        present: How many ConfigMaps there are. Their number is kept while they are neither too large nor
            far too many, so that a host more or less does not move all others.

    Returns:
        A power of two of them; lines sorted by host; none is longer than 240,000 bytes, unless there
        would be more than 4,096 of them.
    """
    lines = {host: _line(host, claim) for host, claim in claims.by_host.items()}
    size = sum(map(len, lines.values()))
    good = 1
    while good * _GOOD_BYTES < size and good < _MOST_SHARDS:
        good *= 2
    count = 1
    while count < present:
        count *= 2
    count = count if good <= count <= 4 * good else good
    hashes = {host: _hash(host) for host in lines}
    while True:
        shards: list[list[str]] = [[] for _ in range(count)]
        for host in sorted(lines):
            shards[hashes[host] % count].append(lines[host])
        if count >= _MOST_SHARDS or max(sum(map(len, shard)) for shard in shards) <= _MAX_BYTES:
            break
        count *= 2
    return {shard_name(key.name, index): _HEADER + "".join(shard) for index, shard in enumerate(shards)}


def shard_name(name: str, index: int) -> str:
    """The name of one ConfigMap of a record: ``"ingresskit-hosts"``, ``"ingresskit-hosts-1"``."""
    return f"{name}-{index}" if index else name


def is_shard(item: ConfigMap, key: ObjectKey) -> bool:
    """Whether a ConfigMap belongs to the record *key*."""
    meta = item.metadata
    if meta.namespace != key.namespace or meta.labels.get(RECORD_LABEL) != key.name:
        return False
    return meta.name == key.name or re.fullmatch(rf"{re.escape(key.name)}-[0-9]{{1,4}}", meta.name) is not None


def read_record(items: Iterable[ConfigMap]) -> PublishedClaims:
    """The record in these ConfigMaps.

    Of two claims on one host, which only hosts that were just moved have, the later one counts.
    """
    claims: dict[str, HostClaim] = {}
    problems: list[DecodeError] = []
    for item in sorted(items, key=lambda item: item.key):
        faults: list[str] = []
        for number, line in enumerate(item.data.get(RECORD_KEY, "").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            found = _read_line(line)
            if found is None:
                shown = quoted(line)
                faults.append(f"line {number} {shown} is not HOST NAMESPACE SINCE and is not used")
                continue
            host, claim = found
            before = claims.get(host)
            if before is None or _later(claim, before):
                claims[host] = claim
        if len(faults) > _MOST_TOLD:
            faults[_MOST_TOLD:] = [f"and {len(faults) - _MOST_TOLD} more lines like these"]
        problems += (_problem(item.key, fault) for fault in faults)
    return PublishedClaims(claims=HostClaims(by_host=claims), problems=tuple(problems))


def _read_line(line: str) -> tuple[str, HostClaim] | None:
    if (found := _LINE.fullmatch(line)) is None:
        return None
    try:
        host = ANY_HOST if found[1] == ANY_HOST else rule_host(found[1])
        since = None if found[3] == "-" else _read_time(found[3])
        released = _read_time(found[4]) if found[4] else None
    except (HostRefused, ValueError):
        return None
    return host, HostClaim(namespace=found[2], since=since, released=released)


def _later(claim: HostClaim, than: HostClaim) -> bool:
    oldest = datetime.min.replace(tzinfo=UTC)
    return (claim.since or oldest, claim.namespace) > (than.since or oldest, than.namespace)


def _line(host: str, claim: HostClaim) -> str:
    released = f" {_time(claim.released)}" if claim.released is not None else ""
    return f"{host} {claim.namespace} {'-' if claim.since is None else _time(claim.since)}{released}\n"


def _hash(host: str) -> int:
    return int.from_bytes(hashlib.blake2b(host.encode(), digest_size=4).digest(), "big")


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}".rjust(20, "0")


def _read_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _problem(key: ObjectKey, reason: str) -> DecodeError:
    field = f"data[{RECORD_KEY}]"
    return DecodeError(kind=ConfigMap.kind, namespace=key.namespace, name=key.name, field=field, reason=reason)
