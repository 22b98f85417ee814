# The hub without its embedded PostgreSQL: DATABASE_URL names a server (compose.yaml brings one).
FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements/run.lock requirements/run.lock
RUN python -m venv /opt/memoryhub \
    && /opt/memoryhub/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements/run.lock
COPY . .
RUN /opt/memoryhub/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 memoryhub && install -d -o memoryhub -m 0700 /var/lib/memoryhub
COPY --from=build /opt/memoryhub /opt/memoryhub
ENV PATH=/opt/memoryhub/bin:$PATH MEMORYHUB_HOME=/var/lib/memoryhub MEMORYHUB_BIND=0.0.0.0 MEMORYHUB_DEMO=0
USER 10001
VOLUME /var/lib/memoryhub
EXPOSE 8000
# /health is answered while the database is away, so that the container is not restarted for it; /ready is not.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["memoryhub", "serve"]
