"""What a folder of manifests comes to: every host and path, and everything that is wrong. Nothing listens.

python examples/01_dry_run.py [DIR]
"""

import sys
from pathlib import Path

import anyio

from ingresskit import Snapshot
from ingresskit.sources import FileSource
from ingresskit.translate import translate


async def read(folder: Path) -> Snapshot:
    source = FileSource(folder)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(source.run)
        await source.wait_changed(0)  # everything has been read once
        tasks.cancel_scope.cancel()
    return source.snapshot() or Snapshot()


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "manifests" / "hello"
    translation = translate(anyio.run(read, folder))
    for host in translation.graph.virtual_hosts:
        for route in host.routes:
            print(f"{host.host} {route.match}: {route.action}")
    for diagnostic in translation.diagnostics:
        print(diagnostic)


if __name__ == "__main__":
    main()
