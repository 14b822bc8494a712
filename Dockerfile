# Tingfeng's own parts for docker-compose.yml: one image, one command per part.
#   docker build -t tingfeng . && docker run --rm tingfeng --help
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/tingfeng
COPY requirements-distributed.lock .
RUN /opt/tingfeng/bin/pip install --no-cache-dir --disable-pip-version-check \
    --require-hashes --no-deps -r requirements-distributed.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY nlp nlp
COPY crawlers crawlers
COPY pipeline pipeline
COPY dashboard dashboard
RUN /opt/tingfeng/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps \
    --no-build-isolation .

FROM python:3.11-slim
# charts in reports and reviews are written in Chinese
RUN apt-get update && apt-get install -y --no-install-recommends fonts-noto-cjk \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 tingfeng \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin tingfeng \
    && install -d -o 10001 -g 10001 -m 0750 /data
COPY --from=build /opt/tingfeng /opt/tingfeng
# The root file system is read-only: compiled functions are kept on the data volume, the rest in
# memory.
ENV PATH=/opt/tingfeng/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp \
    NUMBA_CACHE_DIR=/data/cache/numba
USER 10001:10001
WORKDIR /data
ENTRYPOINT ["tingfeng"]
CMD ["--help"]
