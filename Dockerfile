# Compose builds this; see docker-compose.yml. With the CUDA build of torch, which PyPI has for Linux x86-64, the
# image is several GB.
FROM python:3.12-slim AS build
RUN pip install --no-cache-dir uv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY connectors connectors
COPY models models
ENV UV_PROJECT_ENVIRONMENT=/opt/groundswell UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
RUN uv sync --no-dev --no-editable --no-cache

FROM python:3.12-slim
RUN useradd --uid 10001 --no-create-home --home-dir /data groundswell \
    && install -d -o groundswell -g groundswell /data
COPY --from=build /opt/groundswell /opt/groundswell
# The root file system is mounted read-only: whatever is written goes to /data or /tmp.
ENV PATH=/opt/groundswell/bin:$PATH HOME=/data PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
USER groundswell
WORKDIR /data
VOLUME /data
ENTRYPOINT ["groundswell"]
CMD ["run"]
