# Two images: `broker` (the default), which serves and migrates, and `sandbox`, an imitation bank for development.
# Pin the base image for a release: --build-arg PYTHON=python:3.13-slim@sha256:…
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS base
ENV PYTHONUNBUFFERED=1 PATH=/opt/broker/bin:$PATH

# Only needed to install: pip, and binutils to strip debug symbols, which are a third of the size.
FROM base AS build
RUN apt-get update -q && apt-get install -y -q --no-install-recommends binutils
WORKDIR /build
RUN python -m venv --without-pip /opt/broker
COPY requirements-runtime.lock ./
RUN pip --python /opt/broker/bin/python install --no-cache-dir --only-binary :all: --no-deps --require-hashes \
      -r requirements-runtime.lock \
 && find /opt/broker -name '*.so' -exec strip --strip-unneeded {} +
COPY app app
COPY docs app/docs
COPY migrations migrations
COPY deploy/broker /opt/broker/bin/broker
RUN python -m compileall -q app migrations \
 && cp -r app migrations "$(/opt/broker/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

FROM build AS build-sandbox
COPY requirements.lock ./
RUN pip --python /opt/broker/bin/python install --no-cache-dir --only-binary :all: --no-deps --require-hashes \
      -r requirements.lock
COPY sandbox sandbox
RUN cp -r sandbox "$(/opt/broker/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

FROM base AS runtime
# The running image needs no installer.
RUN rm -rf "$(python -c 'import os, pip; print(os.path.dirname(pip.__file__))')" /usr/local/bin/pip* /usr/bin/pip* \
 && useradd --uid 10001 --no-create-home --home-dir /var/lib/broker --shell /usr/sbin/nologin broker \
 && install -d -o broker -g broker -m 700 /var/lib/broker
# By number, so that an orchestrator can verify that it is not root.
USER 10001:10001
WORKDIR /var/lib/broker
STOPSIGNAL SIGTERM

FROM runtime AS sandbox
COPY --from=build-sandbox /opt/broker /opt/broker
EXPOSE 9000
CMD ["python", "-m", "sandbox", "--host", "0.0.0.0"]

FROM runtime AS broker
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="stitch-token-broker" \
      org.opencontainers.image.description="Links bank accounts at Stitch and keeps their tokens" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/broker /opt/broker
# Stores token responses that could not be saved in the database. The broker writes nothing else.
ENV BROKER_DATA_DIR=/var/lib/broker
VOLUME /var/lib/broker
EXPOSE 8000
# http.client ignores proxy variables of the environment, unlike urllib.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python", "-c", "import http.client as h; \
c = h.HTTPConnection('127.0.0.1', 8000, timeout=2); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
CMD ["broker", "serve", "--host", "0.0.0.0"]
