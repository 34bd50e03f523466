#!/usr/bin/env bash
# Refuses weak secrets and full volumes with one line, before a service fails for them. Runs in a container.
set -euo pipefail

fail() {
    echo "$1" >&2
    exit 1
}

for name in POSTGRES_PASSWORD AIRFLOW_DB_PASSWORD MLFLOW_DB_PASSWORD MINIO_ROOT_PASSWORD REDIS_PASSWORD AIRFLOW_PASSWORD \
    AIRFLOW_FERNET_KEY AIRFLOW_SECRET_KEY AIRFLOW_JWT_SECRET MLFLOW_PASSWORD MLFLOW_SECRET_KEY ACCIDENTS_API_KEY \
    ACCIDENTS_SIGNING_KEY; do
    value=${!name}
    # They stand in URLs and settings files, hence the characters.
    [[ $value =~ ^[A-Za-z0-9_=-]+$ ]] ||
        fail "$name in .env holds a character that is no letter, digit, _, - or =: delete its line and run \`make env\`."
    distinct=$(grep -o . <<<"$value" | sort -u | wc -l)
    { [ ${#value} -ge 20 ] && [ "$distinct" -ge 8 ]; } ||
        fail "$name in .env is weak (20 characters at least, 8 of them different): delete its line and run \`make env\`."
done
[[ $AIRFLOW_FERNET_KEY =~ ^[A-Za-z0-9_-]{43}=$ ]] ||
    fail "AIRFLOW_FERNET_KEY in .env is not 32 bytes in URL-safe base64: delete its line and run \`make env\`."
[[ $MINIO_ROOT_USER =~ ^[A-Za-z0-9_-]{3,}$ ]] ||
    fail "MINIO_ROOT_USER in .env needs 3 letters or digits at least: delete its line and run \`make env\`."

for volume in /volumes/*; do
    free=$(df --output=avail --block-size=1M "$volume" | tail -1 | tr -d ' ')
    [ "$free" -ge "$MIN_FREE_MB" ] ||
        fail "The volume ${volume##*/} has $free MB left, less than $MIN_FREE_MB: free space on Docker's disk (see \
\`docker system df\`), or lower ACCIDENTS_MIN_FREE_MB in .env."
done
