# CUDA comes with torch's wheels; the host needs only the NVIDIA driver and container toolkit.
FROM python:3.11-slim

# torch.compile compiles with them: its C++ kernels on a CPU, Triton's launchers on a GPU.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 epochd && install -d -m 700 -o epochd /data
WORKDIR /app

# Dependencies change seldom: their layer is kept while the code changes. For an image without CUDA (1.5 GB, not 6):
# docker build --build-arg PIP_EXTRA_INDEX_URL=..., the index of CPU wheels that PyTorch's installation page names.
COPY constraints.txt pyproject.toml README.md ./
COPY epochd/__init__.py epochd/__init__.py
COPY ml/__init__.py ml/__init__.py
COPY service/__init__.py service/__init__.py
COPY migrations migrations
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir --constraint constraints.txt .

COPY epochd epochd
COPY ml ml
COPY service service
RUN pip install --no-cache-dir --no-deps --force-reinstall .

USER epochd
ENV EPOCHD_HOST=0.0.0.0 EPOCHD_PORT=8000 EPOCHD_DATA_DIR=/data EPOCHD_ADMIN_KEY_FILE=/data/admin.key
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["epochd", "serve"]
