# syntax of any builder; two targets: `broker` (the default: serves and migrates) and `sandbox` (the imitation bank).
FROM python:3.13-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/broker/bin:$PATH

FROM base AS build
WORKDIR /build
RUN python -m venv /opt/broker
COPY requirements-runtime.lock ./
RUN /opt/broker/bin/python -m pip install --no-cache-dir --require-hashes -r requirements-runtime.lock
COPY app app
COPY migrations migrations
COPY deploy/broker /opt/broker/bin/broker
RUN cp -r app migrations "$(/opt/broker/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

# What runs needs no installer.
FROM build AS build-broker
RUN /opt/broker/bin/python -m pip uninstall --yes --quiet pip

FROM build AS build-sandbox
COPY requirements.lock ./
RUN /opt/broker/bin/python -m pip install --no-cache-dir --require-hashes -r requirements.lock
COPY sandbox sandbox
RUN cp -r sandbox "$(/opt/broker/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

FROM base AS runtime
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
 && useradd --uid 10001 --no-create-home --home-dir /var/lib/broker --shell /usr/sbin/nologin broker \
 && install -d -o broker -g broker -m 700 /var/lib/broker
USER broker
WORKDIR /var/lib/broker

FROM runtime AS sandbox
COPY --from=build-sandbox /opt/broker /opt/broker
EXPOSE 9000
CMD ["python", "-m", "sandbox", "--host", "0.0.0.0"]

FROM runtime AS broker
LABEL org.opencontainers.image.title="stitch-token-broker" \
      org.opencontainers.image.description="Links bank accounts at Stitch and keeps their tokens" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-broker /opt/broker /opt/broker
# Holds answers of the bank that the database could not take; keep it on a volume of its own for each replica.
ENV BROKER_DATA_DIR=/var/lib/broker
VOLUME /var/lib/broker
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["broker", "serve", "--host", "0.0.0.0"]
