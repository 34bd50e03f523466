#!/usr/bin/env bash
# Whether Airflow has heard a part of it (dag_processor, triggerer) lately. Asks the api-server, which costs nothing;
# Airflow's own `airflow jobs check` imports Airflow each time.
set -euo pipefail

curl -fsS http://airflow-api-server:8080/api/v2/monitor/health |
    grep -Eq "\"$1\":[{][^}]*\"status\":\"healthy\""
