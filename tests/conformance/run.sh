#!/bin/sh
# The worked example of tests/conformance/example: the right archive is accepted in float and in double, each wrong one is
# rejected, in the function that has the mistake and in no other.
#   sh tests/conformance/run.sh          (from the root of the project)
set -u
MAKE=${MAKE:-make}
out=build/example
passed=0 failed=0
ok() { passed=$((passed + 1)); echo "ok      $1"; }
no() { failed=$((failed + 1)); echo "FAILED  $1"; }

# the folders of the usual builds: the archive is only linked in front of their library
build() { [ "$1" = float ] && echo build || echo "build/$1-openblas"; }

# archive REAL FUNCTION-THAT-FAILS
try() {
    log=$out/$1-$2.log
    $MAKE --no-print-directory conformance BACKEND="$out/$2/lib$1.a" REAL="$2" BUILD="$(build "$2")" >"$log" 2>&1
    status=$?
    wrong=$(sed -n 's/^FAIL *\([a-z_0-9]*\) .*/\1/p' "$log" | sort -u | tr '\n' ' ')
    told=$(grep -cE '^SKIP +[a-z_]+ +not in the archive' "$log")
    counts=$(grep -E '^[0-9]+ passed' "$log")
    if [ "$told" -gt 0 ] && [ "$wrong" = "${3:+$3 }" ] && { [ -n "$3" ] || [ "$status" = 0 ]; } &&
        { [ -z "$3" ] || [ "$status" != 0 ]; }; then
        ok "$1, $2: ${3:+$3 rejected; }$counts"
    else no "$1, $2: exit $status, failing: ${wrong:-none}; see $log"; fi
}

for real in float double; do
    define=
    [ $real = double ] && define=-DVV_DOUBLE
    $MAKE --no-print-directory -f tests/conformance/example/Makefile OUT=$out/$real CFLAGS="-O2 $define" >$out.log 2>&1 || {
        cat $out.log
        exit 1
    }
done
try example float ""
try example double ""
try wrong1 float gelu_fwd
try wrong2 float layernorm_fwd
try wrong3 float add_fwd

# the line that repeats a failure does so; the program is relinked for each archive
$MAKE --no-print-directory conformance BACKEND=$out/float/libwrong2.a BUILD=build ONLY=nothing >/dev/null 2>&1
line=$(sed -n "s/^FAIL .*repeat with  //p" $out/wrong2-float.log | head -n 1)
eval "$line" >$out/repeat.log 2>&1
if [ $? = 1 ] && grep -q '^FAIL  *layernorm_fwd' $out/repeat.log; then ok "repeat line: $line"; else no "repeat line: $line"; fi

# an archive of the other precision brings nothing: that is not a success
$MAKE --no-print-directory conformance BACKEND=$out/double/libexample.a BUILD=build >$out/precision.log 2>&1
if [ $? != 0 ] && grep -q '^nothing was judged' $out/precision.log; then ok "an archive of the other precision"; else no "an archive of the other precision"; fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
