#!/usr/bin/env bash
# Airflow's database, connections, pools, variables and the administrator's login, as airflow_settings.yaml and .env
# say. Can be repeated; any failure stops the start.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m include.airflow_settings "$folder"

airflow db migrate
# Each imports Airflow for seconds: side by side, and each one's failure is waited for.
airflow connections import --overwrite "$folder/connections.json" &
steps=$!
airflow pools import "$folder/pools.json" &
steps="$steps $!"
if [ "$(cat "$folder/variables.json")" != "{}" ]; then
    airflow variables import "$folder/variables.json" &
    steps="$steps $!"
fi

user=(--username="$AIRFLOW_USER" --password="$AIRFLOW_PASSWORD")
airflow users create --role Admin --firstname Admin --lastname Admin --email "$AIRFLOW_USER@localhost" "${user[@]}"
airflow users reset-password "${user[@]}" # where the user was there already, with another password
for step in $steps; do wait "$step"; done
