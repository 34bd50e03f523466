#!/usr/bin/env bash
# Creates a role and a database for each service where absent, with the password in .env. Runs in a container.
set -euo pipefail

for name in airflow mlflow; do
    password=${name^^}_DB_PASSWORD
    psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --set=name="$name" --set=password="${!password}" postgres <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'name') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
SQL
done
