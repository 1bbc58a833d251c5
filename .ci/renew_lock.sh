#!/usr/bin/env bash
# Renews .ci/lock.txt: the newest versions that pyproject.toml allows, for all its Pythons, with the hash of every file.
#
#   .ci/renew_lock.sh                    everything; `uv` must be on the PATH
#   .ci/renew_lock.sh -P pillow          one package, the others stay (options of `uv pip compile`)
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --upgrade
uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url \
    --no-emit-find-links --extra dev "$@" pyproject.toml -o .ci/lock.txt >/dev/null
sed -i '1i # What CI installs, with the hash of every file: the extra dev. Made by .ci/renew_lock.sh.' .ci/lock.txt
