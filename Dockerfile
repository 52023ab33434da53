# SPDX-License-Identifier: MIT
# A registry of records: server, worker and watcher are the same image. See docs/DEPLOYMENT.md.
#
#   docker build --tag mrv-registry .
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
RUN python3 -m venv /opt/mrv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY mrv_core mrv_core
COPY mrv_backends_btc mrv_backends_btc
COPY mrv_backends_eth mrv_backends_eth
COPY mrv_backends_ipfs mrv_backends_ipfs
COPY mrv_backends_log mrv_backends_log
COPY mrv_cli mrv_cli
COPY mrv_devnet mrv_devnet
COPY mrv_service mrv_service
# Not with -e: the second stage has no sources. 'service' brings psycopg along.
RUN /opt/mrv/bin/pip install --no-cache-dir '.[service,eth,btc,ipfs,log]'

FROM ${PYTHON_IMAGE}
# The number is what files that a container reads have to belong to, see docs/DEPLOYMENT.md.
RUN groupadd --gid 10001 mrv \
 && useradd --uid 10001 --gid mrv --no-create-home --home-dir /data --shell /usr/sbin/nologin mrv \
 && install --directory --owner=mrv --group=mrv --mode=0700 /data
COPY --from=build /opt/mrv /opt/mrv
ENV PATH=/opt/mrv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
WORKDIR /data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000
# Not by urllib, which would ask a proxy of the environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python3", "-c", "\
from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); \
c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["mrv"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--base-dir", "/data"]
