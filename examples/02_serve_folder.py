"""A folder of manifests behind a real proxy, in one process. Edits are live.

python examples/02_serve_folder.py [DIR] [PORT]
curl -H 'Host: hello.example' http://127.0.0.1:8080/
"""

import sys
from pathlib import Path

import anyio

from ingresskit import InProcessApplier, InProcessRenderer
from ingresskit.controller import Controller
from ingresskit.proxy import Proxy
from ingresskit.sources import FileSource


async def main(folder: Path, port: int) -> None:
    async with Proxy() as proxy:
        controller = Controller(
            source=FileSource(folder), renderer=InProcessRenderer(), applier=InProcessApplier(proxy)
        )
        await proxy.listen("127.0.0.1", port)
        await controller.run()


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "manifests" / "hello"
    anyio.run(main, folder, int(sys.argv[2]) if len(sys.argv) > 2 else 8080)
