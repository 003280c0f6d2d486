# The reference controller and nginx, Debian's, with its modules for Lua and for connections that are passed on.
# From the root of the repository:
#   docker build --tag registry.example/ingresskit-nginx:0.1.0 --file examples/deploy/images/nginx.Dockerfile .
FROM python:3.13-slim-trixie AS build
WORKDIR /src
# What the lock names, each file checked against its hash; wheels only, so nothing is compiled.
COPY requirements/all.lock requirements/all.lock
RUN python -m venv /opt/ingresskit \
    && /opt/ingresskit/bin/python -m pip install --no-cache-dir --require-hashes --only-binary :all: --requirement requirements/all.lock
COPY pyproject.toml README.md LICENSE ./
COPY ingresskit ingresskit
COPY examples/manifests/demo examples/manifests/demo
# The lock brings the back end that builds; it does not go into the image, nor does pip.
RUN /opt/ingresskit/bin/python -m pip install --no-cache-dir --no-index --no-deps --no-build-isolation . \
    && /opt/ingresskit/bin/python -m pip uninstall --yes editables hatchling pip

FROM python:3.13-slim-trixie
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nginx libnginx-mod-http-lua libnginx-mod-stream \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/ingresskit /opt/ingresskit
# Of nobody on the node. The root file system may be read-only: what is written goes to --state-dir and /tmp.
USER 10001:10001
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 8080 8443 8580
# Without a shell: the signal that ends the pod reaches the controller.
ENTRYPOINT ["/opt/ingresskit/bin/python", "-m", "ingresskit", "run"]
