#!/usr/bin/env bash
# Airflow's database, connections, pools, variables and the administrator's login, as airflow_settings.yaml and .env
# say. Can be repeated; any failure stops the start.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m include.airflow_settings "$folder"

airflow db migrate
airflow connections import --overwrite "$folder/connections.json"
airflow pools import "$folder/pools.json"
[ "$(cat "$folder/variables.json")" = "{}" ] || airflow variables import "$folder/variables.json"

user=(--username="$AIRFLOW_USER" --password="$AIRFLOW_PASSWORD")
airflow users create --role Admin --firstname Admin --lastname Admin --email "$AIRFLOW_USER@localhost" "${user[@]}"
airflow users reset-password "${user[@]}" # where the user was there already, with another password
