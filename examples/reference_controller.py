"""The reference controller: the public parts of ingresskit, put together as flags say, until a signal.

    python examples/reference_controller.py --demo
    python examples/reference_controller.py             # the cluster of the pod, or of the kubeconfig

It is `ingresskit run`. `ingresskit.app.service` is the place to begin reading, and to copy from.
"""

import sys

from ingresskit.app import run_controller

if __name__ == "__main__":
    sys.exit(run_controller(program="reference_controller.py"))
