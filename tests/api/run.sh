#!/bin/sh
# The library as its users have it: installed into a temporary folder, found by pkg-config, called from C, C++ and Python.
# Float, whatever the other variables say; needs pkg-config. What this machine lacks (g++, python3, man) is named as skipped.
#   tests/api/run.sh            (by `make check-cli`)
set -u
cd "$(dirname "$0")/../.." || exit 3
root=$PWD
tmp=$(mktemp -d) || exit 3
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
unset MAKEFLAGS MAKELEVEL VERSAVIT_DATA PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
make=${MAKE:-make}
cc=${CC:-cc}
cxx=${CXX:-g++}
passed=0 failed=0

ok() { # what, command...: passes when the command does
    what=$1
    shift
    if "$@" >"$tmp/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what: $*"
        sed 's/^/    /' "$tmp/log"
    fi
}
skip() { echo "skipped: $1"; }
has() { command -v "$1" >/dev/null 2>&1; }
same() { # expected, found
    [ "$1" = "$2" ] || { echo "expected \"$1\", found \"$2\""; return 1; }
}
# shellcheck disable=SC2086
install_to() { # prefix, variables...
    to=$1
    shift
    $make --no-print-directory install REAL=float SAN= BACKEND=cpu PREFIX="$to" "$@"
}

# ---- installed, and gone again ---------------------------------------------------------------------------------------
p=$tmp/usr
install_to "$p" DESTDIR= >"$tmp/log" 2>&1 || { cat "$tmp/log"; echo "0 passed, 1 failed"; exit 1; }
export PKG_CONFIG_PATH="$p/lib/pkgconfig"
version=$(pkg-config --modversion versavit)
major=${version%%.*}
case $(uname) in
Darwin) so=libversavit.$major.dylib so_file=libversavit.$version.dylib so_link=libversavit.dylib load=DYLD_LIBRARY_PATH ;;
*) so=libversavit.so.$major so_file=libversavit.so.$version so_link=libversavit.so load=LD_LIBRARY_PATH ;;
esac

touch "$tmp/others"
list() { (cd "$1" && find . \( -type f -o -type l \) | sort); }
staged() {
    install_to /opt/vv DESTDIR="$tmp/stage" || return 1
    list "$p" >"$tmp/a"
    list "$tmp/stage/opt/vv" >"$tmp/b"
    diff "$tmp/a" "$tmp/b" || return 1
    grep -q '^prefix=/opt/vv$' "$tmp/stage/opt/vv/lib/pkgconfig/versavit.pc" || return 1
    ! grep -rq "$tmp" "$tmp/stage/opt/vv/lib/pkgconfig" "$tmp/stage/opt/vv/include" "$tmp/stage/opt/vv/share"
}
gone() {
    touch "$tmp/stage/opt/vv/share/versavit/configs/mine.json"
    $make --no-print-directory uninstall PREFIX=/opt/vv DESTDIR="$tmp/stage" || return 1
    same ./share/versavit/configs/mine.json "$(list "$tmp/stage/opt/vv")"
}
ok "DESTDIR: the same files, PREFIX in versavit.pc, no other path" staged
ok "uninstall leaves what is not ours" gone
ok "a PREFIX that is not a path" sh -c "! $make install PREFIX=here >/dev/null 2>&1"

# ---- the shared library ------------------------------------------------------------------------------------------------
exported() {
    case $(uname) in
    Darwin) nm -gU "$1" | awk '{ print substr($NF, 2) }' ;;
    *) nm -D --defined-only "$1" | awk '{ print $NF }' ;;
    esac | sort
}
declared() { sed -n 's/^[a-z].*[ *]\(versavit_[a-z_]*\)(.*/\1/p' "$p/include/versavit.h" | sort; }
soname() {
    case $(uname) in
    Darwin) otool -D "$1" | tail -n 1 | sed 's|.*/||' ;;
    *) readelf -d "$1" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p' ;;
    esac
}
ok "exports what the header declares, and nothing else" same "$(declared)" "$(exported "$p/lib/$so_link")"
ok "declares something" test "$(declared | wc -l)" -gt 15
ok "soname" same "$so" "$(soname "$p/lib/$so_file")"
ok "links" same "$so_file $so" "$(readlink "$p/lib/$so") $(readlink "$p/lib/$so_link")"
ok "one version" same "$version" "$("$p/bin/versavit" --version | sed -n '1s/^versavit \([^,]*\),.*/\1/p')"

# ---- C, C++, static ----------------------------------------------------------------------------------------------------
# the same names as in the documentation, so that what is written there is what is tested
flags=$(pkg-config --cflags --libs versavit)
static=$(pkg-config --cflags --libs --static versavit)
configs=$(pkg-config --variable=datadir versavit)/configs
micro=$configs/micro.json
picture=$root/data/samples/shapes.png
mkdir "$tmp/run" "$tmp/static"
cp "$p/lib/libversavit.a" "$tmp/static" # a folder where -lversavit can only mean the static one
run() { (cd "$tmp/run" && env "$load=$p/lib" "$@"); }
alone() { (cd "$tmp/run" && env -u "$load" "$@"); }
train() { # runner, program: what it prints goes to PROGRAM.out, which must be train.out
    "$1" "$2" "$micro" "$picture" "$2.model" >"$2.out" && cmp "$tmp/train.out" "$2.out"
}
for f in train errors backend; do cp tests/api/$f.c "$tmp"; done # away from ref/: no header of ours but the installed ones

strict="-pedantic -Wall -Wextra -Werror"
ok "the shared library needs no other flag" same "-I$p/include -L$p/lib -lversavit" "$(pkg-config --cflags --libs versavit | tr -s ' ' '\n' |
    grep -E "^-I$p|^-L|^-l" | tr '\n' ' ' | sed 's/ $//')"
# shellcheck disable=SC2086
for f in train errors; do ok "C99: $f.c" $cc -std=c99 $strict "$tmp/$f.c" -o "$tmp/$f" $flags; done
ok "train" train run "$tmp/train"
ok "losses and features" same "4 1" "$(grep -c '^loss' "$tmp/train.out") $(grep -c '^features' "$tmp/train.out")"
ok "errors" run "$tmp/errors" "$micro" "$tmp/train.c"
if has "$cxx"; then
    # shellcheck disable=SC2086
    for f in train errors; do ok "C++: $f.c" "$cxx" -x c++ -std=c++11 -Wall -Wextra -Werror "$tmp/$f.c" -x none -o "$tmp/$f++" $flags; done
    ok "train, C++" train run "$tmp/train++"
    ok "errors, C++" run "$tmp/errors++" "$micro" "$tmp/train.c"
    echo '#include <versavit/backend.h>' >"$tmp/header.cc"
    # shellcheck disable=SC2086
    ok "backend.h, C++" "$cxx" -std=c++11 -Wall -Wextra -Werror -fsyntax-only "$tmp/header.cc" $flags
else
    skip "C++: no $cxx"
fi
# shellcheck disable=SC2086
ok "static: train.c" $cc -std=c99 $strict "$tmp/train.c" -o "$tmp/train-static" -L"$tmp/static" $static
ok "train, static" train alone "$tmp/train-static"
# shellcheck disable=SC2086
ok "static: backend.c" $cc -std=c99 $strict "$tmp/backend.c" -o "$tmp/backend" -L"$tmp/static" $static
ok "a function of your own replaces ours" alone "$tmp/backend" "$micro"
# shellcheck disable=SC2086
if $cc -static "$tmp/train.c" -o "$tmp/train-all" $static >/dev/null 2>&1; then
    ok "train, everything static" train alone "$tmp/train-all"
else
    skip "everything static: this machine has no static library of something"
fi

# ---- Python ------------------------------------------------------------------------------------------------------------
wrapper=$root/scripts/versavit.py
if has python3; then
    python() { (cd "$tmp/run" && PYTHONDONTWRITEBYTECODE=1 VERSAVIT_LIB="$p/lib/$so_link" python3 "$@"); }
    python -c 'import numpy' 2>/dev/null || skip "Python with numpy: no numpy"
    ok "Python" python "$wrapper" --self-test "$tmp/train.out" "$tmp/train.model" "$picture"
    ok "Python without numpy" python -S "$wrapper" --self-test "$tmp/train.out" "$tmp/train.model" "$picture"
else
    skip "Python: no python3"
fi

# ---- the command and its manual ------------------------------------------------------------------------------------------
elsewhere() { (cd / && "$p/bin/versavit" "$@"); }
ok "init by name from any folder" elsewhere init --config micro --seed 1 -o "$tmp/model" -q
ok "a case by name from any folder" elsewhere golden make tower-micro -o "$tmp/case.safetensors" -q
ok "through a link" sh -c "ln -s '$p/bin/versavit' '$tmp/vv' && cd / && '$tmp/vv' info micro >/dev/null"
ok "VERSAVIT_DATA comes first" sh -c "cd / && ! VERSAVIT_DATA=/no/such '$p/bin/versavit' info micro"

names() { # of all commands, and of their verbs
    echo versavit
    "$p/bin/versavit" --help | sed -n '/^commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' | while read -r c; do
        echo "versavit-$c"
        "$p/bin/versavit" "$c" --help | sed -n "1{/VERB/!q;};/^example/q;s/^  \([a-z]*\)  .*/versavit-$c-\1/p"
    done
}
ok "a page for each command" same "$(names | sort)" "$(cd "$p/share/man/man1" && ls | sed 's/\.1$//' | sort)"
words() { tr -cs 'A-Za-z0-9_<>/|' '\n' | grep . | sort -u; } # but not where they stand
rendered() { # every word of --help is on the page; nothing is reported
    for f in "$p"/share/man/man1/*.1; do
        page=$(basename "$f" .1)
        MANWIDTH=100 LC_ALL=C man --warnings -l "$f" >"$tmp/page" 2>"$tmp/warnings" || return 1
        [ ! -s "$tmp/warnings" ] || { cat "$tmp/warnings"; return 1; }
        of=$(echo "$page" | sed 's/^versavit-*//') # a command, which may have a hyphen, or "golden-make": a command's verb
        "$p/bin/versavit" --help | grep -q "^  $of " || of=$(echo "$of" | sed 's/-/ /')
        # shellcheck disable=SC2086
        "$p/bin/versavit" $of --help |
            sed 's/^usage://; s/^\(options\|commands\|example\|exit status\)://' | words >"$tmp/said"
        words <"$tmp/page" >"$tmp/shown"
        missing=$(comm -23 "$tmp/said" "$tmp/shown" | tr '\n' ' ')
        [ -z "$missing" ] || { echo "$page: not on the page: $missing"; return 1; }
    done
}
if man --version >/dev/null 2>&1 && has groff; then ok "manual" rendered; else skip "manual: no man or groff"; fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
