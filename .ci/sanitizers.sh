#!/usr/bin/env bash
# The pixel loops under AddressSanitizer and UndefinedBehaviorSanitizer; the frei0r filter is in .ci/plugins.sh.
#
#   .ci/sanitizers.sh PYTHON     an environment with cliplit[test]; gcc with libasan
#
# What is checked: reads and writes outside of memory, use after free, integer overflow, bad shifts and alignment. Not
# leaks: Python and its libraries keep memory until the end.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$work" # with what is not committed yet

checks=(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1)
cd "$work"
CFLAGS="${checks[*]}" LDFLAGS="-fsanitize=address,undefined" \
    "$python" setup.py -q build_ext --inplace --force >build.log 2>&1 || { cat build.log; exit 1; }
for name in _maps _relight _shadows; do
    library=$(find "$work" -name "$name*.so" | head -1)
    [ -n "$library" ] || { echo "the pixel loop $name was not built" >&2; exit 1; }
    nm -D "$library" | grep -q __asan_report || { echo "$library: has no checks in it" >&2; exit 1; }
    [ "$(dirname "$library")" = "$work/runtime/light" ] || mv "$library" "$work/runtime/light/"
done

export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
preload="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
env LD_PRELOAD="$preload" PYTHONPATH="$work" "$python" - "$work" <<'EOF'
import sys

from cliplit.runtime.light import _maps, _relight, _shadows

for library in (_maps, _relight, _shadows):
    assert library.__file__.startswith(sys.argv[1]), library.__file__
EOF
env LD_PRELOAD="$preload" PYTHONPATH="$work" PYTHONMALLOC=malloc "$python" -m pytest -q -p no:cacheprovider -p no:xdist \
    tests/test_gain.py tests/test_pixel_formats.py tests/test_loop_limits.py tests/test_shadows.py tests/test_maps.py
