"""Cipher lists mean what OpenSSL says, less what protects nothing."""

from __future__ import annotations

import ssl

import pytest

from ingresskit.policies.cipher_lists import expand_cipher_list
from ingresskit.policies.tls_values import parse_ciphers

OLD_DEFAULT_OF_NGINX = "ALL:!aNULL:!EXPORT56:RC4+RSA:+HIGH:+MEDIUM:+LOW:+SSLv2:+EXP"


@pytest.mark.parametrize(
    "text",
    [
        "HIGH:!aNULL:!MD5",
        OLD_DEFAULT_OF_NGINX,
        "EECDH+CHACHA20:EECDH+AES128:RSA+AES128:EECDH+AES256:RSA+AES256:EECDH+3DES:RSA+3DES:!MD5",
        "HIGH:!kRSA:@STRENGTH",
        "ECDHE:-AES128:!SHA",
        "HIGH:!SHA1",
        "AES256:!TLSv1.2",
        "ECDHE-RSA-AES128-GCM-SHA256:!AES256",
        "!AES:HIGH",
        "RSA+AESGCM:ECDHE+AESGCM:@STRENGTH",
        "CAMELLIA128+DHE:+SHA",
        "ECDHE+ECDSA+AES:SHA384+aRSA",
        "HIGH:!SSLv3:!SHA256:+kRSA",
    ],
)
def test_a_list_stands_for_the_ciphers_that_openssl_says(text: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    known = set(expand_cipher_list(("ALL", "!aNULL")))
    context.set_ciphers(text)
    wanted = tuple(str(item["name"]) for item in context.get_ciphers() if item["name"] in known)

    assert parse_ciphers(text) == wanted != ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("HIGH:!aNULL:@SECLEVEL=0", "without @SECLEVEL"),
        ("ECDHE+AESGCM:evil", "the word evil"),
        ("eNULL:+HIGH", "leaves no cipher"),
        ("!RC4", "leaves no cipher"),
        ("aNULL:!MD5:$ciphers", "cipher list of OpenSSL"),
    ],
)
def test_what_protects_nothing_or_is_no_list_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_ciphers(text)
