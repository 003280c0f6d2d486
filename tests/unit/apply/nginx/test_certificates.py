"""Certificates as files: swapped whole, removed when nobody names them, ours made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingresskit.apply.nginx.certificates import CertificateFiles
from ingresskit.errors import ApplyError
from ingresskit.graph import Certificate
from ingresskit.models import Snapshot
from ingresskit.render.nginx import DEFAULT_CERTIFICATE, NginxSettings
from ingresskit.testing import ingress, ingress_class, tls_secret
from ingresskit.translate import translate


def certificate(salt: str) -> Certificate:
    objects = [
        ingress_class(),
        ingress("web", {"a.test": {"/": "web"}}, tls={"tls": ["a.test"]}),
        tls_secret("a.test", salt=salt),
    ]
    (made,) = translate(Snapshot.of(objects)).graph.certificates.values()
    return made


def pem(folder: Path, identifier: str) -> bytes:
    return (folder / "certificates" / identifier / "tls.pem").read_bytes()


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return CertificateFiles(NginxSettings(state=str(tmp_path)))


def test_chain_and_key_change_together(files: CertificateFiles, tmp_path: Path) -> None:
    first, second = certificate("1"), certificate("2")
    files.write({"abc": first})
    before = pem(tmp_path, "abc")
    files.write({"abc": second})

    assert before == first.chain.rstrip(b"\n") + b"\n" + first.private_key
    assert pem(tmp_path, "abc") == second.chain.rstrip(b"\n") + b"\n" + second.private_key
    assert (tmp_path / "certificates" / "abc").is_symlink()


def test_keys_are_their_owners_only(files: CertificateFiles, tmp_path: Path) -> None:
    files.write({"abc": certificate("1")})

    for path in (tmp_path / "certificates").rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o077 == 0, path


def test_the_version_before_stays_for_one_change(files: CertificateFiles, tmp_path: Path) -> None:
    for salt in "1234":
        files.write({"abc": certificate(salt)})
    folders = [item for item in (tmp_path / "certificates").glob("abc.*") if item.is_dir()]

    assert len(folders) == 2


def test_what_nobody_names_is_removed(files: CertificateFiles, tmp_path: Path) -> None:
    files.write({"abc": certificate("1"), "def": certificate("2")})
    files.write({"abc": certificate("1")})
    assert (tmp_path / "certificates" / "def").exists()
    files.remove_others({"abc": certificate("1")})

    names = {item.name.partition(".")[0] for item in (tmp_path / "certificates").iterdir()}
    assert names == {"abc", DEFAULT_CERTIFICATE}


def test_one_of_our_own_is_made_once(files: CertificateFiles, tmp_path: Path) -> None:
    files.write({})
    made = pem(tmp_path, DEFAULT_CERTIFICATE)
    CertificateFiles(NginxSettings(state=str(tmp_path))).write({})

    assert made.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE KEY" in made
    assert pem(tmp_path, DEFAULT_CERTIFICATE) == made


def test_a_default_one_takes_the_place_of_ours_and_gives_it_back(
    files: CertificateFiles, tmp_path: Path
) -> None:
    files.write({})
    ours = pem(tmp_path, DEFAULT_CERTIFICATE)
    files.write({DEFAULT_CERTIFICATE: certificate("1")})
    theirs = pem(tmp_path, DEFAULT_CERTIFICATE)
    files.write({})

    assert theirs == certificate("1").chain.rstrip(b"\n") + b"\n" + certificate("1").private_key
    assert pem(tmp_path, DEFAULT_CERTIFICATE).startswith(b"-----BEGIN CERTIFICATE-----")
    assert pem(tmp_path, DEFAULT_CERTIFICATE) not in (theirs, b"")
    assert ours


def test_a_folder_that_cannot_be_written_is_an_error_of_the_world(tmp_path: Path) -> None:
    (tmp_path / "certificates").write_text("a file", encoding="ascii")

    with pytest.raises(ApplyError, match="could not write certificates under"):
        CertificateFiles(NginxSettings(state=str(tmp_path))).write({"abc": certificate("1")})
