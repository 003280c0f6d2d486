"""When a reload is made, when it has to wait, and when it counts as done."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ingresskit.apply import Dynamic, Reload
from ingresskit.apply.nginx import Nginx, NginxApplier, NginxProcessSettings
from ingresskit.errors import ApplyPostponed, CheckFailed, ConfigurationError
from ingresskit.models import ObjectKey, ObjectRef, Snapshot
from ingresskit.render.nginx import ConfigFile, Mode, NginxArtifact, NginxRenderer, NginxSettings
from ingresskit.render.nginx.tree import Span
from ingresskit.testing import ingress, ingress_class
from ingresskit.testing.planes import free_port, state_folder
from ingresskit.translate import translate

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nginx_there")]


class Plain:
    """An nginx in its static mode."""

    def __init__(self, nginx: Nginx) -> None:
        self.nginx = nginx
        self.renderer = NginxRenderer(nginx.settings, nginx.capabilities, mode=Mode.STATIC)
        self.applier = NginxApplier(nginx)

    def artifact(self, *hosts: str) -> NginxArtifact:
        objects = [ingress_class(), *(ingress(host[0], {host: {"/": "web"}}) for host in hosts)]
        return self.renderer.render(translate(Snapshot.of(objects)).graph)


@asynccontextmanager
async def plain(process: NginxProcessSettings, state: Path) -> AsyncGenerator[Plain]:
    settings = NginxSettings(state=str(state), http=(f"127.0.0.1:{free_port()}",), workers=1)
    async with Nginx(settings, process) as nginx:
        yield Plain(nginx)


async def test_two_reloads_come_at_once_and_the_next_one_is_postponed() -> None:
    with state_folder() as folder:
        async with plain(NginxProcessSettings(reload_gap=timedelta(seconds=60)), folder) as made:
            hosts = ("a.test", "b.test", "c.test", "d.test")
            artifacts = [made.artifact(*hosts[:count]) for count in (1, 2, 3, 4)]
            live: NginxArtifact | None = None
            for artifact in artifacts[:3]:
                await made.applier.apply(made.applier.plan(live, artifact))
                live = artifact
            plan = made.applier.plan(live, artifacts[3])
            with pytest.raises(ApplyPostponed) as postponed:
                await made.applier.apply(plan)

            assert isinstance(plan, Reload)
            assert timedelta(seconds=5) < postponed.value.retry_after <= timedelta(seconds=60)
            assert await made.nginx.control.generation() == artifacts[2].generation
            assert made.nginx.reloads == 2


async def test_change_that_comes_during_the_end_is_postponed_without_a_fault() -> None:
    with state_folder() as folder:
        async with plain(NginxProcessSettings(), folder) as made:
            first, second = made.artifact("a.test"), made.artifact("a.test", "b.test")
            await made.applier.apply(made.applier.plan(None, first))
            await made.nginx.drain(timedelta(seconds=5))

            with pytest.raises(ApplyPostponed, match="is being ended"):
                await made.applier.apply(made.applier.plan(first, second))


async def test_a_refused_configuration_names_its_object_and_leaves_what_serves() -> None:
    with state_folder() as folder:
        async with plain(NginxProcessSettings(reload_gap=timedelta(0)), folder) as made:
            first, second = made.artifact("a.test"), made.artifact("a.test", "b.test")
            await made.applier.apply(made.applier.plan(None, first))
            file = second.hosts["b.test"]
            lines = file.content.splitlines(keepends=True)
            lines[file.spans[0].first : file.spans[0].first] = [b"    spoiled on;\n"]
            spoiled = ConfigFile(path=file.path, content=b"".join(lines), spans=(widened(file.spans[0]),))
            bad = replace(second, hosts={**second.hosts, "b.test": spoiled})

            with pytest.raises(CheckFailed, match="unknown directive") as checked:
                await made.applier.check(bad)
            with pytest.raises(CheckFailed, match="unknown directive") as refused:
                await made.applier.apply(made.applier.plan(first, bad))
            kept = await made.nginx.control.generation()
            await made.applier.apply(made.applier.plan(first, second))

            theirs = {ObjectRef("Ingress", ObjectKey("default", "b"))}
            assert checked.value.subjects == refused.value.subjects == theirs
            assert kept == first.generation
            assert await made.nginx.control.generation() == second.generation


async def test_the_next_controller_adopts_and_changes_nothing_that_is_right() -> None:
    with state_folder() as folder:
        async with plain(NginxProcessSettings(reload_gap=timedelta(0)), folder) as made:
            artifact = made.artifact("a.test")
            await made.applier.apply(made.applier.plan(None, artifact))
            pid = made.nginx.pid
            async with Nginx(made.nginx.settings) as next_one:
                plan = NginxApplier(next_one).plan(None, artifact)
                adopted = next_one.pid
                other = NginxApplier(next_one).plan(None, made.artifact("b.test"))

        assert adopted == pid
        assert isinstance(plan, Dynamic)
        assert other == Reload(artifact=made.artifact("b.test"), reason="nginx runs with another configuration")


@pytest.mark.parametrize(
    "wrong",
    [
        {"reload_timeout": timedelta(0)},
        {"reload_gap": timedelta(seconds=-1)},
        {"most_old_workers": 0},
        {"keep": 0},
    ],
    ids=["no time", "negative gap", "no workers", "nothing kept"],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, timedelta | int]) -> None:
    with pytest.raises(ConfigurationError):
        NginxProcessSettings(**wrong)  # type: ignore[arg-type]


def test_nothing_is_asked_of_one_that_was_not_entered() -> None:
    nginx = Nginx(NginxSettings(state="/run/nowhere"))

    with pytest.raises(ConfigurationError, match="before its context was entered"):
        _ = nginx.capabilities


def widened(span: Span) -> Span:
    return span._replace(last=span.last + 1)
