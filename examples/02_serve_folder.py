"""A folder of manifests behind a real proxy, in one process. Edits are live, and a signal drains the proxy.

python examples/02_serve_folder.py [DIR] [PORT]
curl -H 'Host: hello.example' http://127.0.0.1:8080/
"""

import sys
from pathlib import Path

from ingresskit import FileSource, InProcessApplier, InProcessRenderer, Proxy, run
from ingresskit.controller import Controller


def main(folder: Path, port: int) -> None:
    proxy = Proxy()
    controller = Controller(
        source=FileSource(folder), renderer=InProcessRenderer(), applier=InProcessApplier(proxy)
    )
    run(controller, proxy=proxy, http=f"127.0.0.1:{port}")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "manifests" / "hello"
    main(folder, int(sys.argv[2]) if len(sys.argv) > 2 else 8080)
