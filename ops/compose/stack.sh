#!/usr/bin/env bash
# The commands of the compose stack: env, up [OPTION…], down, backup [FOLDER], restore FOLDER.
# Needs a Docker Engine with Compose v2 and nothing else. Works with bash 3.2 (macOS).
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly ENV_FILE=${ACCIDENTS_ENV_FILE:-.env}
readonly DATABASES="airflow mlflow"
readonly OLDEST=2.26
readonly PATIENCE_SECONDS=900

fail() {
    echo "$1" >&2
    exit 1
}

compose() {
    docker compose --env-file "$ENV_FILE" "$@"
}

# What Compose sees: the shell's value, that of the file, or the default.
setting() {
    local value
    value=${!1:-$(sed -n "s/^$1=//p" "$ENV_FILE" | tail -n 1)}
    echo "${value:-$2}"
}

secret() {
    case $1 in
        AIRFLOW_FERNET_KEY) head -c 32 /dev/urandom | base64 | tr '+/' '-_' ;;
        *) od -An -N 24 -tx1 /dev/urandom | tr -d ' \n' ;;
    esac
}

# Fill in what .env lacks, in one step: a half-written file must not be used.
make_env() {
    umask 077
    local part=$ENV_FILE.part line name new_secrets=0
    if [ -e "$ENV_FILE" ]; then cat "$ENV_FILE" >"$part"; else : >"$part"; fi
    while IFS= read -r line; do
        name=${line%=}
        if [[ ! $line =~ ^[A-Z_]+=$ ]]; then
            [ -e "$ENV_FILE" ] || echo "$line" >>"$part"
        elif ! grep -q "^$name=." "$part"; then
            echo "$name=$(secret "$name")" >>"$part"
            new_secrets=$((new_secrets + 1))
        fi
    done <.env.example
    chmod 600 "$part"
    mv "$part" "$ENV_FILE"
    mkdir -p data/raw # or Docker makes it, as root
    echo "$ENV_FILE holds all secrets ($new_secrets of them new)."
}

check() {
    command -v docker >/dev/null || fail "There is no docker here: install a Docker Engine with Compose $OLDEST or newer."
    local version
    version=$(docker compose version --short 2>/dev/null) ||
        fail "docker has no Compose plugin: install Compose $OLDEST or newer (on Debian 13: apt install docker-compose)."
    [ "$(printf '%s\n' "$OLDEST" "${version#v}" | sort -t. -k1,1n -k2,2n | head -n 1)" = "$OLDEST" ] ||
        fail "Docker Compose $version is too old: install $OLDEST or newer."
    docker info >/dev/null 2>&1 ||
        fail "The Docker Engine does not answer: start it, or let an administrator add you to the group docker."
    [ -e "$ENV_FILE" ] || fail "There is no $ENV_FILE: run \`make env\`."
}

check_ports() {
    local published name port
    published=$(compose ps --format json 2>/dev/null || true) # its table shortens 9000 and 9001 to a range
    for name in AIRFLOW:8080 MLFLOW:5000 S3:9000 CONSOLE:9001 API:8000; do
        port=$(setting "ACCIDENTS_${name%:*}_PORT" "${name#*:}")
        if [[ ! $published =~ \"PublishedPort\":$port[,}] ]] && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            fail "Port $port is used by another program: stop it, or set ACCIDENTS_${name%:*}_PORT in $ENV_FILE."
        fi
    done
}

up() {
    check
    check_ports
    compose --progress quiet run --rm --no-deps -T preflight # also a step of the start, but that builds images first
    local status=0
    log=$(mktemp) # not local: it is needed at the exit
    trap 'rm -f "$log"' EXIT
    compose up --detach --wait --wait-timeout "$PATIENCE_SECONDS" "$@" 2>&1 | tee "$log" || status=$?
    [ $status = 0 ] || explain "$log"
}

# Say why the start failed: Docker's own message, the last line of a failed step, or the log to read.
explain() {
    local step service refused
    refused=$(sed -n 's/^Error response from daemon: //p' "$1" | tail -n 1)
    [ -z "$refused" ] || fail "Docker refuses: $refused"
    step=$(sed -n 's/.*service "\([a-z-]*\)" didn.t complete successfully.*/\1/p' "$1" | tail -n 1)
    [ -z "$step" ] || fail "$(docker logs --tail 1 "$(compose ps --all --quiet "$step")" 2>&1)"
    service=$(sed -n 's/.*container [a-z0-9]*-\([a-z-]*\)-[0-9]* \(is unhealthy\|exited\).*/\1/p' "$1" | tail -n 1)
    [ -n "$service" ] || service=$(compose ps --all --format '{{.Service}} {{.Health}} {{.State}}' |
        sed -nE 's/ (starting|unhealthy) .*| .*restarting$//p' | sort -u | tr '\n' ' ')
    [ -z "$service" ] || fail "The service ${service% } does not get ready: see \`docker compose logs ${service% }\`."
    exit 1
}

down() {
    check
    compose --profile '*' down --remove-orphans "$@"
}

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

# The databases first: the objects that they refer to are in the buckets by then, and never change.
backup() {
    check
    umask 077
    local target=${1:-backups/$(date -u +%Y-%m-%dT%H%M%SZ)} name
    [ ! -e "$target" ] || fail "$target exists: name a new folder, as in \`make backup TO=backups/monday\`."
    is_running postgres && is_running minio || fail "The stack is not running: start it by \`make compose-up\`."
    mkdir -p "$target.part"
    for name in $DATABASES; do
        compose exec -T postgres pg_dump --username=postgres --format=custom "$name" >"$target.part/$name.dump"
    done
    buckets save >"$target.part/buckets.tar"
    cp "$ENV_FILE" "$target.part/env"
    (cd "$target.part" && sha256 ./* >SHA256SUMS)
    mv "$target.part" "$target"
    echo "Saved in $target ($(du -sh "$target" | cut -f 1)). It holds the secrets (env): keep it as safe as .env."
}

# Everything is read into new databases first; only then do these replace the present ones.
restore() {
    local from=${1:-} name
    [ -n "$from" ] || fail "Say which backup: \`make restore FROM=backups/…\`."
    [ -e "$from/SHA256SUMS" ] || fail "$from is no complete backup (there is no SHA256SUMS in it): name another folder."
    (cd "$from" && sha256 -c SHA256SUMS >/dev/null 2>&1) ||
        fail "$from is damaged (its files do not have the checksums of SHA256SUMS): name another folder."
    if [ ! -e "$ENV_FILE" ]; then
        (umask 077 && cp "$from/env" "$ENV_FILE")
        echo "$ENV_FILE was taken from the backup."
    fi
    for name in AIRFLOW_FERNET_KEY ACCIDENTS_SIGNING_KEY; do
        [ "$(sed -n "s/^$name=//p" "$ENV_FILE" | tail -n 1)" = "$(sed -n "s/^$name=//p" "$from/env" | tail -n 1)" ] ||
            fail "$name in $ENV_FILE is not that of the backup, whose data would be unreadable: copy it from $from/env."
    done
    down
    compose up --detach --wait postgres minio
    compose run --rm --no-deps -T databases
    for name in $DATABASES; do
        sql "DROP DATABASE IF EXISTS ${name}_restored" "CREATE DATABASE ${name}_restored OWNER $name"
        compose exec -T postgres pg_restore --username=postgres --no-owner --role="$name" --exit-on-error \
            --dbname="${name}_restored" <"$from/$name.dump"
    done
    buckets restore <"$from/buckets.tar"
    for name in $DATABASES; do
        sql "DROP DATABASE $name WITH (FORCE)" "ALTER DATABASE ${name}_restored RENAME TO $name"
    done
    up
    echo "Restored from $from."
}

# A command a time: PostgreSQL makes and drops databases outside of transactions only.
sql() {
    local command
    for command in "$@"; do
        compose exec -T postgres psql --username=postgres --quiet --set=ON_ERROR_STOP=1 --command="$command"
    done
}

# Past the image's entrypoint, which may write to the stream too.
buckets() {
    compose run --rm --no-deps -T --entrypoint python buckets -m ops.compose.buckets "$@"
}

is_running() {
    [ -n "$(compose ps --quiet --status running "$1" 2>/dev/null)" ]
}

case ${1:-} in
    env) make_env ;;
    up | down | backup | restore) "$@" ;;
    *) fail "usage: ops/compose/stack.sh env | up [OPTION…] | down | backup [FOLDER] | restore FOLDER" ;;
esac
