#!/bin/sh
# Other backends are linked in front of the CPU's, function by function. From the project's root:
#   tests/link/run.sh PATH/TO/versavit [MAKE-VARIABLE=VALUE...]
# The library beside the command is used; its precision and its BLAS are asked of the command.
V=${1:?usage: tests/link/run.sh PATH/TO/versavit [MAKE-VARIABLE=VALUE...]}
shift
unset MAKEFLAGS MFLAGS MAKELEVEL # run by make or by hand: the makes in here are their own
built=$("$V" --version) || exit 1
case $built in *"own blocked product"*) set -- BLAS=none "$@" ;; esac
case $built in *", double,"*) set -- REAL=double "$@" ;; esac
set -- "BUILD=$(dirname "$V")" "$@"
T=$(mktemp -d "${TMPDIR:-/tmp}/vv-link-XXXXXX") || exit 1
trap 'rm -rf "$T"' EXIT
trap 'exit 1' INT TERM
passed=0 failed=0
# claim NAME COMMAND...: it succeeds
claim() {
    name=$1
    shift
    if "$@" >"$T/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n' "$name"
        tail -n 5 "$T/out" | sed 's/^/    /'
    fi
}
# refuses NAME WORD COMMAND...: it fails, and its output has the word
refuses() {
    name=$1 word=$2
    shift 2
    if "$@" >"$T/out" 2>&1; then echo "it succeeded" >"$T/out"; else
        if grep -qF -- "$word" "$T/out"; then
            passed=$((passed + 1))
            return
        fi
    fi
    failed=$((failed + 1))
    printf 'FAILED: %s: no error with "%s"\n' "$name" "$word"
    tail -n 5 "$T/out" | sed 's/^/    /'
}

# What make would use: its variables, from its own mouth.
asked() { make -s -f - "$@" "VVT_ASK=$ask" vvt-ask <<'MAKE'
include Makefile
vvt-ask: ; @printf '%s\n' "$($(VVT_ASK))"
MAKE
}
for ask in CC CPPFLAGS FLAGS CFLAGS LDLIBS LIB REAL; do eval "$ask=\$(asked \"\$@\")" || exit 1; done
[ -e "$LIB" ] || make -s "$@" "$LIB" >/dev/null || exit 1
# shellcheck disable=SC2086
compile() { eval "$CC $CPPFLAGS $FLAGS $CFLAGS $3 -c $1 -o $2"; }
# shellcheck disable=SC2086
link() { out=$1 && shift && eval "$CC $FLAGS $CFLAGS $* $LIB $LDLIBS -o $out"; }
says() { "$1" | grep -qF -- "$2"; }

# ---- one function of a pair
compile tests/link/main.c "$T/main.o" && compile tests/link/gelu.c "$T/gelu.o" && compile tests/link/info.c "$T/info.o" || exit 1
claim "without a replacement it links" link "$T/plain" "$T/main.o"
claim "and calls the CPU backend" says "$T/plain" "forward 1.936 -0.018 backward 1.074 -0.025"
claim "with a replacement of one function it links" link "$T/replaced" "$T/main.o" "$T/gelu.o"
claim "the forward is the replacement, the backward the CPU's" says "$T/replaced" "forward -3.000 2.000 backward 1.074 -0.025"
claim "the order on the line does not matter" link "$T/other" "$T/gelu.o" "$T/main.o"
claim "the forward is the replacement again" says "$T/other" "forward -3.000 2.000"

# ---- precision and version are part of every name
if [ "$REAL" = double ]; then wrong=-UVV_DOUBLE function=vvb2_f32_gelu_fwd; else wrong=-DVV_DOUBLE function=vvb2_f64_gelu_fwd; fi
compile tests/link/main.c "$T/wrong.o" "$wrong" || exit 1
refuses "another precision does not link" "$function" link "$T/never" "$T/wrong.o"
sed 's/^#define VVB_PASTE2(tag, f) vvb2_/#define VVB_PASTE2(tag, f) vvb3_/' ref/backend/backend.h >"$T/backend.h"
mkdir -p "$T/next/backend" && mv "$T/backend.h" "$T/next/backend/"
CPPFLAGS_NOW=$CPPFLAGS CPPFLAGS="-I$T/next $CPPFLAGS"
compile tests/link/main.c "$T/next.o" || exit 1
CPPFLAGS=$CPPFLAGS_NOW
refuses "another version does not link" vvb3_ link "$T/never" "$T/next.o"
claim "the version in the names is that of the header" test "vvb$(sed -n 's/^#define VVB_ABI //p' ref/backend/backend.h)_" = vvb2_

# ---- make BACKEND=
ar rcs "$T/liblinktest.a" "$T/info.o" "$T/gelu.o"
mkdir "$T/build"
# what is compiled already need not be again
[ -d "$(dirname "$LIB")/obj" ] && cp -Rp "$(dirname "$LIB")/obj" "$LIB" "$T/build/"
claim "make BACKEND=archive builds" make "$@" "BACKEND=$T/liblinktest.a" "BUILD=$T/build" build
version() { "$T/build/versavit" --version | grep -qF -- "$1"; }
claim "the command tells the archive's name" version "backend linktest"
claim "and its device" version "a device of its own"
golden() { "$T/build/versavit" golden make tower-micro -o "$T/g.safetensors" && "$T/build/versavit" golden check golden/tower-micro "$T/g.safetensors"; }
refuses "a wrong gelu shows in the golden file, where it is" "in the order of execution: u1/vision/act/visual.blocks.0.mlp.act" golden
refuses "BACKEND=cuda without nvcc" "nvcc was not found on the PATH" make BACKEND=cuda NVCC= build
refuses "BACKEND=cuda in double" "the CUDA backend computes in float" make REAL=double BACKEND=cuda build
refuses "BACKEND=missing.a" "BACKEND=missing.a: no such archive" make "$@" BACKEND=missing.a build
refuses "REAL=half" "REAL=half: expected float or double" make REAL=half build
refuses "BLAS=mkl" "BLAS=mkl: expected" make BLAS=mkl build

printf '%d passed, %d failed\n' $passed $failed
[ $failed -eq 0 ]
