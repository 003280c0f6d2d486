"""Affinity cookies: who accepts whose, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from ingresskit.graph import BackendKey, Protocol
from ingresskit.policies import Affinity, AffinityMode
from ingresskit.proxy.endpoints import EndpointState
from ingresskit.proxy.upstreams.affinity import AffinityCookies
from ingresskit.proxy.upstreams.same_site import takes_none_for_strict
from ingresskit.render.inprocess import RoutingTable
from tests.unit.proxy.conftest import Stage, forward, get

pytestmark = pytest.mark.anyio

KEY = b"k" * 32
BACKEND = BackendKey("shop", "web", 80)
ENDPOINTS = [EndpointState("10.1.2.3", port, Protocol.HTTP) for port in (8001, 8002, 8003)]
MOJAVE = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_6)"
MODES = pytest.mark.parametrize("mode", AffinityMode)


@dataclass
class Cookie:
    """A request with a cookie."""

    value: bytes

    def field(self, name: bytes) -> bytes | None:
        return b"s=" + self.value if name == b"cookie" else None


def cookies(mode: AffinityMode, key: bytes = KEY, backend: BackendKey = BACKEND) -> AffinityCookies:
    return AffinityCookies(Affinity(cookie="s", mode=mode), key, backend)


def value(found: AffinityCookies) -> bytes:
    given, _ = found.begin(ENDPOINTS, (), 0.0)
    return given or found.value_of(ENDPOINTS[0])


@MODES
def test_a_proxy_with_the_same_key_leads_to_the_same_endpoint(mode: AffinityMode) -> None:
    one, other = cookies(mode), cookies(mode)
    request = Cookie(value(one))

    assert one.find(request, ENDPOINTS, (), 0.0) == other.find(request, ENDPOINTS, (), 0.0)
    assert other.holds(request, ENDPOINTS)


@MODES
@pytest.mark.parametrize(
    ("key", "backend"),
    [
        pytest.param(b"x" * 32, BACKEND, id="another key"),
        pytest.param(KEY, BACKEND._replace(service="api"), id="another service"),
        pytest.param(KEY, BACKEND._replace(port=81), id="another port"),
        pytest.param(KEY, BACKEND._replace(namespace="else"), id="another namespace"),
    ],
)
def test_a_cookie_is_good_for_one_key_and_one_service_port(
    mode: AffinityMode, key: bytes, backend: BackendKey
) -> None:
    request = Cookie(value(cookies(mode)))
    other = cookies(mode, key, backend)

    assert not other.holds(request, ENDPOINTS)
    assert other.find(request, ENDPOINTS, (), 0.0) == (None, True)


@MODES
def test_other_policies_of_the_backend_do_not_end_affinity(mode: AffinityMode) -> None:
    request = Cookie(value(cookies(mode)))

    assert cookies(mode, backend=BACKEND._replace(policies="0123456789abcdef")).holds(request, ENDPOINTS)


@MODES
def test_a_value_says_nothing_of_the_endpoint(mode: AffinityMode) -> None:
    found = value(cookies(mode)).decode()

    assert "10.1.2.3" not in found
    assert "8001" not in found.replace(".", " ").split()


def test_a_persistent_cookie_outlives_other_endpoints_and_not_its_own() -> None:
    found = cookies(AffinityMode.PERSISTENT)
    request = Cookie(found.value_of(ENDPOINTS[1]))

    assert found.find(request, [ENDPOINTS[1]], (), 0.0) == (ENDPOINTS[1], False)
    assert found.find(request, [*ENDPOINTS], (), 0.0) == (ENDPOINTS[1], False)
    assert found.find(request, [ENDPOINTS[0]], (), 0.0) == (None, True)


def test_sessions_are_spread_over_all_endpoints() -> None:
    found = cookies(AffinityMode.BALANCED)

    homes = {str(found.begin(ENDPOINTS, (), 0.0)[1]) for _ in range(100)}

    assert homes == {str(item) for item in ENDPOINTS}


async def test_two_proxies_with_one_key_know_each_others_cookies(stage: Stage) -> None:
    endpoints = [await stage.endpoint() for _ in range(4)]
    table = forward(*(one.port for one in endpoints), held=(Affinity(cookie="s"),))
    keyed = replace(table, affinity_key=KEY)
    proxies = [await stage.proxy(keyed), await stage.proxy(keyed), await stage.proxy(table)]
    clients = [await stage.connect(proxy) for proxy in proxies]
    for _ in range(8):
        given = (await clients[0].ask(get())).value("set-cookie")
        assert given is not None
        fields = [f"Cookie: {given.partition(';')[0]}"]
        answers = [await client.ask(get(fields=fields)) for client in clients]

        assert [bool(answer.value("set-cookie")) for answer in answers] == [False, False, True]


def test_the_key_is_in_no_repr() -> None:
    secret = b"very-secret-very-secret"

    assert "very-secret" not in repr(RoutingTable(affinity_key=secret))


@pytest.mark.parametrize(
    ("agent", "wanted"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 12_1 like Mac OS X) AppleWebKit/605.1", True),
        (
            f"{MOJAVE} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Safari/605.1.15",
            True,
        ),
        (
            f"{MOJAVE} AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99.0.4844 Safari/537.36",
            False,
        ),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/60.0.3112 Safari/537.36", True),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/67.0.3396 Safari/537.36", False),
        ("Mozilla/5.0 (Linux; U; Android 9) UCBrowser/12.12.9.1 Mobile", True),
        ("Mozilla/5.0 (Linux; U; Android 9) UCBrowser/12.13.2.1 Mobile", False),
        ("curl/8.0", False),
        ("", False),
    ],
)
def test_which_browsers_do_not_know_that_attribute(agent: str, wanted: bool) -> None:
    assert takes_none_for_strict(agent) is wanted
