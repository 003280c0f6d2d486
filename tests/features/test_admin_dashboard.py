"""The dashboard in a real browser."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ingresskit.models import KubeObject
from tests.unit.controller.browser import Browser, Page
from tests.unit.controller.certificates import tls_secret
from tests.unit.controller.client import Admin, admin_over
from tests.unit.controller.doubles import ingress, service, web

OBJECTS: tuple[KubeObject, ...] = (
    *web(),
    service("idle"),
    tls_secret("shop-tls", "shop.test", valid_for=timedelta(days=6)),
    ingress("shop", "shop.test", "/cart", tls="shop-tls", annotations={"ingresskit.dev/connect-timeout": "3s"}),
    ingress("blog", "blog.test", annotations={"ingresskit.dev/conect-timeout": "3s"}),
    ingress("orphan", "orphan.test", namespace="nowhere"),
)
READY = "document.querySelector('#ready').textContent === 'Ready'"
ROUTES = "document.querySelectorAll('#routes-rows tr').length"


@dataclass(frozen=True)
class Served:
    """An admin server in a thread of its own."""

    portal: BlockingPortal
    admin: Admin

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.admin.address[1]}/"

    def apply(self, *objects: KubeObject) -> None:
        async def change() -> None:
            self.admin.source.apply(*objects)
            await self.admin.live()

        self.portal.call(change)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Generator[Browser]:
    with Browser.running(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def served() -> Generator[Served]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(admin_over(*OBJECTS, deadline=110)) as admin,
    ):
        yield Served(portal, admin)


def test_the_overview_shows_what_is_live(browser: Browser, served: Served) -> None:
    with browser.page(served.url) as page:
        page.wait_for(READY)
        page.wait_for("document.querySelectorAll('.card').length === 8")
        overview = page.text("#overview")

        assert page.text("#contact") == "Live"
        assert page.text("#renderer") == "inprocess"
        assert "on 3 hosts" in overview
        assert "1 error, 1 warning" in overview
        page.wait_for("document.querySelector('#overview').innerText.includes('the first expires in 6 d')")


def test_routes_are_searched_filtered_and_opened(browser: Browser, served: Served) -> None:
    with browser.page(f"{served.url}#routes") as page:
        page.wait_for(f"{ROUTES} === 3")
        page.press("/")
        assert page.evaluate("document.activeElement.id") == "routes-search"
        page.type("SHOP cart")
        page.wait_for(f"{ROUTES} === 1")
        assert page.text("#routes-shown") == "1 of 3 routes"

        page.evaluate("document.querySelector('.disclose').focus()")
        page.press("Enter")
        page.wait_for("!!document.querySelector('tr.details')")
        details = page.text("tr.details")
        assert "10.0.0.1:8080" in details
        assert "spec.rules[0].http.paths[0]" in details
        assert "connect = 3000ms" in details
        assert page.evaluate("document.querySelector('.disclose').getAttribute('aria-expanded')") == "true"

        page.evaluate("location.hash = '#routes?filter=broken'")
        page.evaluate(
            "{const s = document.querySelector('#routes-search'); s.value = '';"
            " s.dispatchEvent(new Event('input'))}"
        )
        page.wait_for(
            f"{ROUTES} === 1 && document.querySelector('#routes-rows').innerText.includes('orphan.test')"
        )


def test_diagnostics_are_filtered_by_severity(browser: Browser, served: Served) -> None:
    with browser.page(f"{served.url}#diagnostics") as page:
        page.wait_for("document.querySelectorAll('#diagnostics-rows tr').length === 2")
        assert page.text("#diagnostics-rows tr:first-child .badge") == "error"
        page.click("input[name=severity][value=warning]")
        page.wait_for("document.querySelectorAll('#diagnostics-rows tr').length === 1")

        assert "AnnotationUnknown" in page.text("#diagnostics-rows")


def test_certificates_show_when_they_expire(browser: Browser, served: Served) -> None:
    with browser.page(f"{served.url}#certificates") as page:
        page.wait_for("document.querySelectorAll('#certificates-rows tr').length === 1")

        assert "shop/shop-tls" in page.text("#certificates-rows")
        assert "in 6 d" in page.text("#certificates-rows .badge.warn")


def test_why_names_the_verdict_and_the_near_misses(browser: Browser, served: Served) -> None:
    with browser.page(f"{served.url}#why") as page:
        page.wait_for(READY)
        page.evaluate("document.querySelector('input[name=url]').focus()")
        page.type("https://shop.test/cartoon")
        page.press("Enter")
        page.wait_for("!!document.querySelector('.verdict')")

        assert "404" in page.text(".verdict .badge")
        assert "shop.test" in page.text(".verdict")
        assert "Ingress shop/shop" in page.text("#near-misses")
        assert "PathType" in page.text("#near-misses")
        assert "#why?url=https%3A%2F%2Fshop.test%2Fcartoon&method=GET" in page.evaluate("location.href")


def test_an_address_with_a_question_is_answered_when_it_is_opened(browser: Browser, served: Served) -> None:
    with browser.page(f"{served.url}#why?url=https%3A%2F%2Fshop.test%2Fcart") as page:
        page.wait_for("!!document.querySelector('.verdict.good')")

        assert page.text(".verdict .badge") == "forwarded"


def test_changes_appear_without_a_reload_and_what_was_open_stays_open(browser: Browser, served: Served) -> None:
    with browser.page(f"{served.url}#routes") as page:
        page.wait_for(f"{ROUTES} === 3")
        page.click(".disclose")
        served.apply(ingress("new", "new.test"))
        page.wait_for("document.querySelector('#routes-rows').innerText.includes('new.test')")

        assert page.rows("tr.details") == 1
        page.evaluate("location.hash = '#overview'")
        assert "apply" in page.wait_for("document.querySelector('#activity').innerText")


def test_when_the_controller_is_away_the_page_says_so_and_keeps_what_it_knows(
    browser: Browser, served: Served
) -> None:
    with browser.page(f"{served.url}#routes") as page:
        page.wait_for(f"{ROUTES} === 3")
        # The page's clock jumps: nobody wants to wait until it gives up.
        page.evaluate("{const real = Date.now; window.ahead = 0; Date.now = () => real() + window.ahead}")
        _network(page, online=False)
        served.portal.call(_hang_up, served.admin)
        page.evaluate("window.ahead = 60_000")
        page.wait_for("document.querySelector('#contact').textContent.startsWith('Last contact ')")
        assert "does not respond" in page.text("#banners")
        assert page.rows("#routes-rows tr") == 3

        served.apply(ingress("meanwhile", "meanwhile.test"))
        _network(page, online=True)
        page.wait_for("document.querySelector('#contact').textContent === 'Live'")
        page.wait_for("document.querySelector('#routes-rows').innerText.includes('meanwhile.test')")
        assert page.text("#banners") == ""
        page.complaints.clear()  # requests that failed are what this is about


def _network(page: Page, *, online: bool) -> None:
    rate = -1 if online else 0
    page.call(
        "Network.emulateNetworkConditions",
        offline=not online,
        latency=0,
        downloadThroughput=rate,
        uploadThroughput=rate,
    )


async def _hang_up(admin: Admin) -> None:
    """End every connection, the event streams too."""
    for scope in tuple(admin.server._open):
        scope.cancel()


def test_five_thousand_routes_keep_the_tab_responsive(browser: Browser) -> None:
    objects = [ingress(f"app-{number:04}", f"app-{number:04}.test") for number in range(5000)]
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(admin_over(*objects, *web(), deadline=110)) as admin,
        browser.page(f"{Served(portal, admin).url}#routes") as page,
    ):
        page.wait_for("document.querySelector('#routes-shown').innerText === '5,000 routes'")
        drawn = page.rows("#routes-rows tr")
        longest = page.evaluate(
            "(async () => { const search = document.querySelector('#routes-search'); let longest = 0;"
            " for (const text of ['app', 'app-4', 'app-49', '']) {"
            "   search.value = text; search.dispatchEvent(new Event('input'));"
            "   let last = performance.now(); const end = last + 300;"
            "   while (performance.now() < end) { await new Promise((go) => setTimeout(go, 0));"
            "     const now = performance.now(); longest = Math.max(longest, now - last); last = now; } }"
            " return longest; })()"
        )
        page.evaluate("document.querySelector('#routes-more').scrollIntoView()")
        page.wait_for(f"{ROUTES} > {drawn}")

    assert drawn <= 200
    assert longest < 1000  # milliseconds; a tenth of it on an idle machine


def test_nothing_a_tenant_writes_becomes_markup(browser: Browser, served: Served) -> None:
    bad = "<img src=x onerror=alert(1)>"
    served.apply(ingress("evil", "evil.test", annotations={"ingresskit.dev/connect-timeout": bad}))
    with browser.page(f"{served.url}#diagnostics") as page:
        page.wait_for("document.querySelector('#diagnostics-rows').innerText.includes('<img src=x')")
        page.evaluate(f"location.hash = '#why?' + new URLSearchParams({{url: 'http://{bad}/'}})")
        page.wait_for("document.querySelector('#why-answer').innerText.includes('<img src=x')")
        page.complaints.clear()

        assert page.rows("main img") == 0


@pytest.mark.parametrize("view", ["overview", "routes", "diagnostics", "certificates", "why"])
def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, served: Served, view: str) -> None:
    hash_ = "why?url=http://shop.test/cartoon" if view == "why" else view
    with browser.page(f"{served.url}#{hash_}", width=360, height=740) as page:
        page.wait_for(READY)
        page.wait_for(f"{ROUTES} > 0")

        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_dark_and_light_follow_the_system(browser: Browser, served: Served) -> None:
    def background(*, dark: bool) -> str:
        with browser.page(served.url, dark=dark) as page:
            page.wait_for(READY)
            color: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
            return color

    assert background(dark=True) != background(dark=False)


def test_every_control_is_reached_by_keyboard(browser: Browser, served: Served) -> None:
    with browser.page(f"{served.url}#routes") as page:
        page.wait_for(f"{ROUTES} === 3")
        reached: list[str] = []
        for _ in range(14):
            page.press("Tab")
            reached.append(
                page.evaluate(
                    "(a => a.id || a.dataset.view || a.className || a.tagName)(document.activeElement)"
                )
            )

    wanted = ["skip", "brand", "overview", "routes", "diagnostics", "certificates", "why", "routes-search"]
    assert [name for name in wanted if name not in reached] == []
    assert "routes-filter" in reached
    assert reached.count("disclose") == 3
