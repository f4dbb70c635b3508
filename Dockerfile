# The command line, without napari, on the CPU.
# docker build -t napari-coordgate . && docker run --rm -v "$PWD:/data" napari-coordgate --help
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/coordgate
# Without an index of PyTorch's builds for CPUs (see its install page), pip takes the build for
# GPUs, which is ten times as large: docker build --build-arg TORCH_INDEX=... .
ARG TORCH_INDEX=
RUN if [ -n "$TORCH_INDEX" ]; then \
        /opt/coordgate/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" torch; \
    fi && /opt/coordgate/bin/pip install --no-cache-dir ".[microscopes,cluster,remote]"

FROM python:3.12-slim
COPY --from=build /opt/coordgate /opt/coordgate
# Results belong to whoever runs the container: docker run --user "$(id -u):$(id -g)"
ENV PATH=/opt/coordgate/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
WORKDIR /data
ENTRYPOINT ["napari-coordgate"]
