# One image for every process of ours: the code server, Dagster's webserver and daemon, `serve`, `ingest`, `migrate`, `doctor`.
# Which one it is, the command says: docker run IMAGE analytics-pipeline doctor
ARG BASE_IMAGE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/analytics-pipeline
WORKDIR /build
# The locked packages are a layer of their own: it changes with the lock alone. A registry of your own, or its certificate, is
# given as the secret `pip` (a pip.conf) and the secret `ca`, which leave nothing behind in the image.
# requirements-kubernetes.lock adds what Dagster's run launcher for Kubernetes needs, 80 MB.
ARG LOCK=requirements-deploy.lock
COPY ${LOCK} requirements.lock
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/ca.pem \
    /opt/analytics-pipeline/bin/pip install --quiet --require-hashes --only-binary :all: -r requirements.lock
COPY . .
# pip compiles what it installs, and is then of no more use: an image is replaced, not changed.
# Maps of the UI's scripts are for who develops it.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/ca.pem \
    /opt/analytics-pipeline/bin/pip install --quiet "setuptools>=80" \
    && /opt/analytics-pipeline/bin/pip install --quiet --no-deps --no-build-isolation ./sdk . \
    && /opt/analytics-pipeline/bin/pip uninstall --quiet --yes setuptools pip \
    && find /opt/analytics-pipeline -name '*.map' -delete \
    && mkdir /opt/dagster && cp deploy/image/workspace.yaml /opt/dagster/ \
    && cat dagster.yaml deploy/image/run_launcher.yaml >/opt/dagster/dagster.yaml

FROM ${BASE_IMAGE}
ARG VERSION=unknown
LABEL org.opencontainers.image.title="analytics-pipeline" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}"
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin analytics \
    && install --directory --owner 10001 --group 10001 /opt/dagster/storage /opt/landing
COPY --from=build /opt/analytics-pipeline /opt/analytics-pipeline
COPY --from=build /opt/dagster /opt/dagster
# Nothing is written but in /tmp, in /opt/dagster/storage (what runs print) and, where LANDING_URL=file:///opt/landing says so,
# in /opt/landing. Mount them, and the root file system may be read-only.
ENV PATH=/opt/analytics-pipeline/bin:$PATH \
    DAGSTER_HOME=/opt/dagster \
    DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS=1 \
    DAGSTER_EVENT_BATCH_SIZE=1000 \
    CODE_SERVER_HOST=code-server \
    CODE_SERVER_PORT=4000 \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/dagster
USER 10001:10001
# Puts the secrets of files into the environment, then becomes the command, which so gets SIGTERM itself.
ENTRYPOINT ["python", "-m", "analytics_pipeline.secret_files"]
CMD ["analytics-pipeline", "--help"]
