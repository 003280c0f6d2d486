from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingresskit.apply.haproxy import Haproxy, HaproxyOptions, PoolSettings
from ingresskit.apply.haproxy.fallback_certificate import fallback_certificate
from ingresskit.apply.haproxy.master import Master, occupied
from ingresskit.errors import ApplyError, ConfigurationError
from ingresskit.render.haproxy import HaproxySettings


def test_an_address_somebody_listens_at_is_occupied() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        assert "in use" in occupied("127.0.0.1", port, shared=False)
        assert "in use" in occupied("127.0.0.1", port, shared=True)


def test_an_address_that_our_own_haproxy_shares_is_not() -> None:
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        port = ours.getsockname()[1]

        assert occupied("127.0.0.1", port, shared=True) == ""
        assert occupied("127.0.0.1", port, shared=False) != ""


def test_an_address_of_another_machine_cannot_be_listened_at() -> None:
    assert occupied("192.0.2.1", 8080, shared=False) != ""


def test_our_own_certificate_is_made_once_and_fits_its_key(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    first, second = fallback_certificate(path), fallback_certificate(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    assert first == second
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_certificate_that_cannot_be_read_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    path.write_bytes(b"half a certif")

    assert fallback_certificate(path) == path.read_bytes() != b"half a certif"


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ApplyError, match=r"own\.pem"):
        fallback_certificate(tmp_path / "nowhere" / "own.pem")


@pytest.mark.parametrize(
    "make",
    [
        lambda: PoolSettings(first=0),
        lambda: PoolSettings(low=0.5),
        lambda: HaproxyOptions(reload_gap=timedelta(0)),
        lambda: HaproxyOptions(reload_share=0),
        lambda: HaproxyOptions(most_old_workers=0),
    ],
    ids=["no slots", "always low", "no gap", "no share", "no old workers"],
)
def test_settings_that_cannot_work_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigurationError):
        make()


@pytest.mark.parametrize("name", ["a,mode,777", "a b", "a'b", "ä", "a#b"], ids=range(5))
def test_a_folder_that_haproxy_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be HAProxy's folder"):
        Master("haproxy", state=tmp_path / name)


def test_nothing_of_it_can_be_asked_before_it_is_opened(tmp_path: Path) -> None:
    haproxy = Haproxy(HaproxySettings(), state=tmp_path)

    with pytest.raises(ConfigurationError, match="open it first"):
        _ = haproxy.supervisor
    assert haproxy.statistics().connections_total == 0


def test_loading_it_loads_neither_the_cluster_client_nor_a_program() -> None:
    names = "'kubernetes' in sys.modules, 'cryptography' in sys.modules"
    code = f"import sys, ingresskit.apply.haproxy; print({names})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False"]


def test_years_are_not_what_a_certificate_lasts(tmp_path: Path) -> None:
    from cryptography import x509

    made = x509.load_pem_x509_certificate(fallback_certificate(tmp_path / "own.pem"))

    assert made.not_valid_after_utc - datetime.now(UTC) < timedelta(days=398)
