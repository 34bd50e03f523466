#!/bin/sh
# Make a virtual environment hold exactly what a lock file says; do nothing when it does already.
#
#   requirements/install.sh VENV (runtime|dev) [PYTHON]
#
# PYTHON: what to make the environment with; without it, the newest one found that fits.
set -eu

venv=$1
wanted=$2
python=${3:-}
lock=requirements/$wanted.txt
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
version='import sys; print(*sys.version_info[:3], sep=".")'
sha256='import hashlib, sys; print(hashlib.sha256(b"".join(open(f, "rb").read() for f in sys.argv[1:])).hexdigest())'

fail() {
    echo "$1" >&2
    exit 1
}

find_python() {
    for candidate in ${python:-python3.13 python3.12 python3.11 python3}; do
        # Run it: pyenv puts commands on the PATH that fail where their version is not installed.
        if "$candidate" -c "$fits" >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    [ -z "$python" ] || fail "$python is not a Python from 3.11 to 3.13: name another, as in PYTHON=python3.12."
    fail "There is no Python from 3.11 to 3.13 here: install one, or say where it is, as in PYTHON=/opt/bin/python3.12."
}

make_venv() {
    found=$(find_python)
    "$found" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$found cannot make virtual environments: install that part of it (on Debian: apt install python3-venv)."
    echo "Making $venv with Python $("$found" -c "$version")."
    rm -rf "$venv"
    "$found" -m venv "$venv"
}

is_usable() {
    "$venv/bin/python" -c "import pip; $fits" >/dev/null 2>&1 || return 1
    [ -z "$python" ] || [ "$("$python" -c "$version" 2>/dev/null)" = "$("$venv/bin/python" -c "$version")" ]
}

checksum() {
    "$venv/bin/python" -c "$sha256" "requirements/$1.txt" requirements/uv.txt
}

is_usable || make_venv
[ "$(cat "$venv/installed-$wanted" 2>/dev/null)" != "$(checksum "$wanted")" ] || exit 0

# Trust whom the system trusts (a company's proxy, say), where it has a list; else uv has its own.
if [ "$(uname)" = Darwin ] || [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ]; then
    export UV_SYSTEM_CERTS=true
fi
echo "Installing what $lock says; the first time takes a minute or two."
rm -f "$venv"/installed-*
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/uv.txt
"$venv/bin/python" -m uv pip sync --quiet --python "$venv/bin/python" --require-hashes --compile-bytecode \
    "$lock" requirements/uv.txt
checksum "$wanted" >"$venv/installed-$wanted"
# What is locked for development holds all of what is locked for running.
checksum runtime >"$venv/installed-runtime"
