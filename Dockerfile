# The image of Headgate: API, worker and migration are one program. How to build and run it: docs/deploying.md
#
# The base is named by its tag, which moves when it is mended; whoever builds may pin it to a digest:
#   docker build --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:... -t headgate .
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build

# Requirements before the code: a change of the code takes what was installed from the cache.
COPY requirements.txt /build/
# Wheels only, each with the hash that was locked: nothing of others runs here, and no compiler is needed.
RUN python -m venv --without-pip /venv && \
    python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r /build/requirements.txt

COPY LICENSE /app/
COPY headgate/ /app/headgate/
# Compiled here, because the file system is read-only there; by hash, because copying may change times.
RUN python -m compileall -q --invalidation-mode unchecked-hash /app/headgate


FROM ${PYTHON_IMAGE}

ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Headgate" \
      org.opencontainers.image.description="Pulls records by id from rate-limited APIs: durable, prioritised, never over quota." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# What installs is of no use in what runs. /data is the one place that is written, and only with a SQLite file.
RUN rm -rf /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip /usr/local/bin/pip* && \
    install -d -o 10001 -g 10001 -m 0700 /data

COPY --from=build /venv /venv
COPY --from=build /app /app

# XDG_DATA_HOME makes /data/headgate/headgate.db the default, and so leaves HEADGATE_DATABASE_URL, DATABASE_URL
# and headgate.toml their say; a variable of the image would go before the last two.
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/data \
    XDG_DATA_HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# A headgate.toml that is mounted here is found.
WORKDIR /app
# As a number, so that Kubernetes can see that it is not root.
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000

# Not through a proxy, whatever HTTP_PROXY says. Where HEADGATE_ALLOWED_HOSTS is set it has to have 127.0.0.1, too.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8000/healthz', timeout=4)"]

# Without a shell between, so that SIGTERM reaches Headgate: no new call begins, and those under way are waited for.
# Give it 45 s before SIGKILL (docker stop --timeout 45).
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "headgate"]
# Everybody can reach 0.0.0.0, so this refuses to start without HEADGATE_API_KEYS.
# Others: serve --no-worker --host 0.0.0.0 | worker --host 0.0.0.0 | migrate | check | version
CMD ["serve", "--host", "0.0.0.0"]
