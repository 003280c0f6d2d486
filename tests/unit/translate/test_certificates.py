from __future__ import annotations

import dataclasses

import pytest

from ingresskit.models import ObjectKey, Secret
from ingresskit.testing import make_certificate, tls_secret
from ingresskit.translate.certificates import CertificateTable, ParsedCertificate, covers, read_certificate

_KEY = ObjectKey("default", "tls")


def _secret(**data: bytes) -> Secret:
    good = tls_secret("a.test")
    return dataclasses.replace(good, data={name.replace("_", "."): value for name, value in data.items()})


_GOOD = make_certificate("a.test")


@pytest.mark.parametrize(
    ("secret", "fault"),
    [
        pytest.param(_secret(tls_key=_GOOD.private_key), "has no tls.crt", id="no certificate"),
        pytest.param(_secret(tls_crt=b" \n", tls_key=_GOOD.private_key), "has no tls.crt", id="an empty one"),
        pytest.param(_secret(tls_crt=_GOOD.chain), "has no tls.key", id="no key"),
        pytest.param(
            _secret(tls_crt=b"hello", tls_key=_GOOD.private_key),
            "has a tls.crt that is not a chain of PEM certificates",
            id="a certificate that is none",
        ),
        pytest.param(
            _secret(tls_crt=_GOOD.chain[: len(_GOOD.chain) // 2], tls_key=_GOOD.private_key),
            "has a tls.crt that is not a chain of PEM certificates",
            id="half a certificate",
        ),
        pytest.param(
            _secret(tls_crt=_GOOD.chain, tls_key=b"hello"),
            "has a tls.key that is not a PEM private key",
            id="a key that is none",
        ),
        pytest.param(
            _secret(tls_crt=_GOOD.chain, tls_key=make_certificate("b.test").private_key),
            "has a tls.key that does not fit its tls.crt",
            id="a key of another certificate",
        ),
        pytest.param(
            _secret(tls_crt=_GOOD.chain, tls_key=_GOOD.chain),
            "has a tls.key that is not a PEM private key",
            id="a certificate for a key",
        ),
    ],
)
def test_a_secret_is_at_fault(secret: Secret, fault: str) -> None:
    assert read_certificate(secret) == ParsedCertificate(fault=fault)


def test_a_good_secret_gives_its_names_sorted_and_in_lower_case() -> None:
    certificate = read_certificate(tls_secret("b.test", "*.A.test")).certificate

    assert certificate is not None
    assert certificate.names == ("*.a.test", "b.test")


def test_a_chain_is_judged_by_its_first_certificate() -> None:
    chain = make_certificate("a.test").chain + make_certificate("issuer.test").chain
    certificate = read_certificate(_secret(tls_crt=chain, tls_key=_GOOD.private_key)).certificate

    assert certificate is not None
    assert certificate.names == ("a.test",)
    assert certificate.chain == chain


def test_the_digest_changes_with_chain_and_key() -> None:
    digests = {
        parsed.certificate.digest
        for parsed in map(
            read_certificate,
            (
                tls_secret("a.test"),
                tls_secret("a.test", salt="other"),
                tls_secret("b.test"),
                _secret(tls_crt=_GOOD.chain + b"\n", tls_key=_GOOD.private_key),
                _secret(tls_crt=_GOOD.chain, tls_key=b"\n" + _GOOD.private_key),
            ),
        )
        if parsed.certificate
    }

    assert len(digests) == 5


def test_neither_key_nor_chain_shows() -> None:
    shown = repr(read_certificate(tls_secret("a.test")))

    assert "PRIVATE" not in shown
    assert "BEGIN" not in shown


@pytest.mark.parametrize(
    ("names", "host", "yes"),
    [
        (("a.test",), "a.test", True),
        (("a.test",), "b.test", False),
        (("a.test",), "x.a.test", False),
        (("*.a.test",), "x.a.test", True),
        (("*.a.test",), "*.a.test", True),
        (("*.a.test",), "a.test", False),
        (("*.a.test",), "y.x.a.test", False),
        (("x.a.test",), "*.a.test", False),
        (("*.test",), "*.a.test", False),
    ],
)
def test_a_certificate_covers(names: tuple[str, ...], host: str, yes: bool) -> None:
    certificate = read_certificate(tls_secret(*names)).certificate

    assert certificate is not None
    assert covers(certificate, host) is yes


def test_a_secret_is_read_once_while_it_stays() -> None:
    secret, table = tls_secret("a.test"), CertificateTable(retain=True)
    table.advance({_KEY: secret}, [_KEY])
    first = table.get(_KEY)
    table.advance({_KEY: secret}, [_KEY])

    assert table.get(_KEY) is first


def test_the_last_good_certificate_is_kept_through_any_number_of_bad_ones() -> None:
    table = CertificateTable(retain=True)
    table.advance({_KEY: tls_secret("a.test")}, [_KEY])
    good = table.get(_KEY)
    assert good is not None
    for key in (b"bad", b"worse"):
        table.advance({_KEY: tls_secret("a.test", key=key)}, [_KEY])
        kept = table.get(_KEY)

        assert kept is not None
        assert kept.certificate == good.certificate
        assert kept.fault == "has a tls.key that is not a PEM private key"


def test_nothing_is_kept_of_a_secret_that_was_deleted() -> None:
    table = CertificateTable(retain=True)
    table.advance({_KEY: tls_secret("a.test")}, [_KEY])
    assert table.get(_KEY) is not None
    table.advance({}, [_KEY])
    assert table.get(_KEY) is None
    table.advance({_KEY: tls_secret("a.test", key=b"bad")}, [_KEY])

    assert table.get(_KEY) == ParsedCertificate(fault="has a tls.key that is not a PEM private key")


def test_nothing_is_kept_where_that_is_not_asked_for() -> None:
    table = CertificateTable(retain=False)
    table.advance({_KEY: tls_secret("a.test")}, [_KEY])
    table.get(_KEY)
    table.advance({_KEY: tls_secret("a.test", key=b"bad")}, [_KEY])

    assert table.get(_KEY) == ParsedCertificate(fault="has a tls.key that is not a PEM private key")
