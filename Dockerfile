# One target a service: api, mlflow, airflow. What changes seldom comes first, so that a change of code rebuilds only
# the last layers. Versions and hashes come from requirements/.

FROM python:3.12-slim-bookworm AS uv
# Trust whom the image trusts, rather than uv's own list.
ENV UV_SYSTEM_CERTS=true UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY requirements/uv.txt /requirements/
RUN pip install --no-cache-dir --no-deps --require-hashes --root-user-action=ignore -r /requirements/uv.txt \
 && python -m venv --without-pip /opt/venv

# The packages' own tests stay out: a fifth of what they weigh.
FROM uv AS api-packages
COPY requirements/api.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/venv --require-hashes -r /requirements/api.txt \
 && find /opt/venv -type d -name tests -prune -exec rm -r {} + \
 && python -m compileall -q -j 0 /opt/venv

FROM uv AS mlflow-packages
COPY requirements/mlflow.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/venv --require-hashes -r /requirements/mlflow.txt \
 && find /opt/venv -type d -name tests -prune -exec rm -r {} + \
 && python -m compileall -q -j 0 /opt/venv

# The project, readable by every user whatever the umask of the checkout was, with bytecode that needs no check.
FROM python:3.12-slim-bookworm AS source
COPY . /app
RUN mkdir -p /app/plugins \
 && python -m compileall -q --invalidation-mode unchecked-hash /app/api /app/dags /app/include /app/ops /app/plugins \
 && chmod -R u=rwX,go=rX /app

FROM python:3.12-slim-bookworm AS slim
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update -q \
 && apt-get install -y -q --no-install-recommends libgomp1 \
 && useradd --uid 10001 --gid 0 --create-home app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONPATH=/app \
    DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /app
USER 10001:0

FROM slim AS mlflow
COPY --from=mlflow-packages /opt/venv /opt/venv
COPY --from=source /app/ops/mlflow_server.py /app/ops/
EXPOSE 5000
CMD ["python", "-m", "ops.mlflow_server", "--host", "0.0.0.0", "--port", "5000"]
ARG VERSION=dev
LABEL org.opencontainers.image.version=$VERSION

FROM slim AS api
COPY --from=api-packages /opt/venv /opt/venv
COPY --from=source /app/include/__init__.py /app/include/hosts.py /app/include/
COPY --from=source /app/include/accidents/__init__.py /app/include/accidents/errors.py /app/include/accidents/settings.py \
    /app/include/accidents/
COPY --from=source /app/include/accidents/data /app/include/accidents/data
COPY --from=source /app/include/accidents/features /app/include/accidents/features
COPY --from=source /app/include/accidents/models /app/include/accidents/models
COPY --from=source /app/include/accidents/registry /app/include/accidents/registry
COPY --from=source /app/include/accidents/reporting/__init__.py /app/include/accidents/reporting/plots.py \
    /app/include/accidents/reporting/
COPY --from=source /app/api /app/api
EXPOSE 8000
CMD ["uvicorn", "--factory", "api.app:create_app", "--host", "0.0.0.0", "--port", "8000"]
ARG VERSION=dev
LABEL org.opencontainers.image.version=$VERSION

FROM apache/airflow:3.3.2-python3.12 AS airflow
USER root
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update -q \
 && apt-get install -y -q --no-install-recommends libgomp1
USER airflow
COPY requirements/airflow.txt /requirements/
RUN --mount=type=cache,target=/home/airflow/.cache/pip,uid=50000,gid=0 \
    pip install --no-deps --require-hashes --no-compile -r /requirements/airflow.txt \
 && find /home/airflow/.local -type d -name tests -prune -exec rm -r {} + \
 && python -m compileall -q -j 0 /home/airflow/.local/lib
ENV PYTHONPATH=/app AIRFLOW__CORE__DAGS_FOLDER=/app/dags AIRFLOW__CORE__PLUGINS_FOLDER=/app/plugins \
    DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /app
COPY --from=source /app/airflow_settings.yaml /app/
COPY --from=source /app/ops /app/ops
COPY --from=source /app/plugins /app/plugins
COPY --from=source /app/include /app/include
COPY --from=source /app/dags /app/dags
ARG VERSION=dev
LABEL org.opencontainers.image.version=$VERSION
