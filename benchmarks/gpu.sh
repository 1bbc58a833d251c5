#!/usr/bin/env bash
# Everything that needs a card, in under eight minutes: environment, tests, measurements.
#
#   benchmarks/gpu.sh [--wheels DIR] [--python PYTHON] [--out DIR] [--tiny]
#
# Needs nothing from outside the tree but DIR, a folder of wheels (`pip wheel -w DIR ".[test,train,export]"
# tensorrt-rtx-cu12 cuda-python setuptools`), or a PYTHON that has all of it. Writes OUT/tests.txt, OUT/table.txt,
# OUT/gpu.json. --tiny runs every step on the processor, which is how the tests hold it.
set -euo pipefail
cd "$(dirname "$0")/.."
wheels= python=python3 out=gpu-results tiny=
while [ $# -gt 0 ]; do
    case $1 in
    --wheels) wheels=$2; shift 2 ;;
    --python) python=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --tiny) tiny=1; shift ;;
    *) echo "unknown option $1; see the head of $0" >&2; exit 2 ;;
    esac
done
mkdir -p "$out"
left() { echo $((470 - SECONDS)); } # of eight minutes
if [ -n "$wheels" ]; then
    "$python" -m venv "$out/environment"
    python=$out/environment/bin/python
    "$python" -m pip install -q --no-index --find-links "$wheels" -e ".[test,train,export]" tensorrt-rtx-cu12 cuda-python
fi
failed=0
measure() { "$python" -m cliplit.benchmarks.gpu --json "$out/gpu.json" "$@" | tee "$out/table.txt"; }
if [ -n "$tiny" ]; then
    measure --device cpu --tiny --card H100
else
    timeout 30 "$python" -m cliplit.runtime.doctor >"$out/doctor.txt" || true
    timeout 120 "$python" -m pytest -q -m gpu 2>&1 | tee "$out/tests.txt" || failed=1
    # A number that has begun is finished: the last one may take as long as a compiler does.
    export -f measure
    export python out
    timeout "$(left)" bash -o pipefail -c "measure --limit $(($(left) - 60))" || failed=1
fi
exit $failed
