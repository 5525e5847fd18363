# syntax=docker/dockerfile:1
# The HTTP API of asterism in a container.
#
#   docker build -t asterism .                                   # CPU
#   docker build -t asterism:cuda --build-arg TORCH=cu130 .      # NVIDIA GPUs; run it with --gpus all
#   docker run -p 7860:7860 -v "$PWD/runs:/models:ro" -e ASTERISM_TOKEN=... asterism /models/faces
#
# PyTorch's CUDA wheels bring the CUDA libraries, so both variants start from the same small image; the machine needs a driver.
FROM python:3.12-slim-bookworm AS build
ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /source
# PyTorch first: this layer is kept while the package changes.
COPY constraints.txt ./
RUN pip install -c constraints.txt --index-url "https://download.pytorch.org/whl/${TORCH}" torch
COPY pyproject.toml README.md LICENSE ./
COPY asterism ./asterism
RUN pip install -c constraints.txt ".[serve]"

FROM python:3.12-slim-bookworm
COPY --from=build /venv /venv
# A user without rights, and a cache that is writable where the rest of the file system is not.
RUN useradd --uid 10001 --no-create-home asterism && install -d -o asterism /cache
ENV PATH=/venv/bin:$PATH ASTERISM_CACHE=/cache HF_HOME=/cache/huggingface PYTHONUNBUFFERED=1
USER 10001
WORKDIR /models
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=120s --interval=10s --timeout=3s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/ready', timeout=2)"]
ENTRYPOINT ["asterism", "serve", "--host", "0.0.0.0", "--port", "7860", "--drain", "10"]
