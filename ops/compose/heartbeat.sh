#!/usr/bin/env bash
# Checks that a part of Airflow (dag_processor, triggerer) is alive. It asks the api-server, which is fast;
# `airflow jobs check` would import Airflow each time.
set -euo pipefail

curl -fsS http://airflow-api-server:8080/api/v2/monitor/health |
    grep -Eq "\"$1\":[{][^}]*\"status\":\"healthy\""
