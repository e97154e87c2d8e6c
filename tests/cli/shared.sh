# What the files of tests/cli share: a folder for what they write, counts, and the words of their claims. A script that sources it gets the
# command's path as $1 and ends with `finish`.
V=${1:?usage: $0 PATH/TO/versavit}
case $V in /*) ;; *) V=$PWD/$V ;; esac
T=$(mktemp -d "${TMPDIR:-/tmp}/vv-cli-XXXXXX") || exit 1
trap 'rm -rf "$T"' EXIT
trap 'exit 1' INT TERM
passed=0 failed=0

ok() { passed=$((passed + 1)); }
bad() {
    failed=$((failed + 1))
    printf 'FAILED: %s\n' "$1"
    [ -s "$T/err" ] && sed 's/^/    stderr: /' "$T/err"
    return 0
}
# claim NAME COMMAND...: the command succeeds
claim() {
    claim_name=$1
    shift
    if "$@" >"$T/claim" 2>&1; then ok; else bad "$claim_name"; fi
}
# run STATUS NAME ARGUMENT...: versavit ends with the status; $T/out and $T/err keep what it said. Success says nothing on
# stderr (it is no terminal: no progress either), an error exactly one line.
run() {
    want=$1 name=$2
    shift 2
    "$V" "$@" >"$T/out" 2>"$T/err" </dev/null
    got=$?
    lines=$(wc -l <"$T/err")
    if [ "$got" -ne "$want" ]; then bad "$name: status $got, expected $want"
    elif [ "$want" -le 1 ] && [ "$lines" -ne 0 ]; then bad "$name: $lines lines on stderr"
    elif [ "$want" -gt 1 ] && [ "$lines" -ne 1 ]; then bad "$name: $lines lines on stderr, expected 1"
    else ok; fi
}
# says WORD...: the last run named every one of them, on stderr
says() {
    for word; do
        if grep -qF -- "$word" "$T/err"; then ok; else bad "$name: the message lacks '$word'"; fi
    done
}
prints() {
    for word; do
        if grep -qF -- "$word" "$T/out"; then ok; else bad "$name: the output lacks '$word'"; fi
    done
}
# nothing NAME: the folder $T/w, where the last run was to write, is empty
nothing() {
    left=$(ls -A "$T/w")
    if [ -z "$left" ]; then ok; else bad "$name: left behind: $left"; fi
    rm -rf "$T/w"
    mkdir "$T/w"
}
mkdir "$T/w"
S=data/samples
# the numbers of this build, as safetensors names them
real=F32
"$V" --version | grep -q double && real=F64
# finish: the status of all of it
finish() {
    printf '%d passed, %d failed\n' $passed $failed
    [ $failed -eq 0 ]
}

# ---- files, seen from outside
# side WIDTHxHEIGHT FILE: the size of a picture that was written
side() {
    run 0 "the size of $2" pixels "$2" -o "$T/p.safetensors"
    prints "$1"
}
# bytes N FILE: its size; an npy of float32 has 128 bytes before 4 for each number
bytes() { claim "$2 has $1 bytes" test "$(wc -c <"$2")" -eq "$1"; }
# poke FILE TENSOR BYTES: writes over the first bytes of a tensor
poke() {
    header=$(od -An -tu8 -N8 "$1" | tr -d ' ')
    at=$(head -c $((8 + header)) "$1" | grep -ao "\"$2\":{[^}]*}" | sed 's/.*data_offsets":\[\([0-9]*\),.*/\1/')
    printf "$3" | dd of="$1" bs=1 seek=$((8 + header + at)) conv=notrunc 2>/dev/null
}
bias=depth_head.scratch.output_conv2.2.bias
# the numbers of an npy of float32, one a line; the first channel of a picture of N pixels that the model sees as it is, the high bytes
floats() { tail -c +129 "$1" | od -An -v -tf4 | awk '{ for (i = 1; i <= NF; i++) print $i }'; }
channel() {
    "$V" pixels "$1" -o "$T/p.safetensors" -q && tail -c $((3 * $2)) "$T/p.safetensors" | od -An -v -tu1 |
        awk '{ for (i = 1; i <= NF; i++) if (n++ % 3 == 0) print $i }'
}
