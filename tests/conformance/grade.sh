#!/bin/sh
# The judge of one kernel is judged: right functions pass, each kind of mistake and of cheating has its verdict and its exit status.
#   sh tests/conformance/grade.sh          (from the root of the project)
set -u
export OMP_WAIT_POLICY=passive
here=tests/conformance/example out=build/example
mkdir -p $out
passed=0 failed=0
ok() { passed=$((passed + 1)) && echo "ok      $1"; }
no() { failed=$((failed + 1)) && echo "FAILED  $1" && sed 's/^/        /' "$log" | cut -c 1-200 | tail -n 8; }
log=$out/grade.log

# try NAME STATUS WORDS COMMAND...: ends with the status and prints each of the words (separated by |)
try() {
    name=$1 status=$2 words=$3
    shift 3
    "$@" >$log 2>&1
    got=$?
    missing=$(printf '%s\n' "$words" | tr '|' '\n' | while read -r w; do grep -qF -- "$w" $log || echo "$w"; done)
    if [ $got = "$status" ] && [ -z "$missing" ]; then ok "$name"; else no "$name: exit $got, expected $status; without: $missing"; fi
}

# ---- what is right passes: in this process and in another, in float and in double; here and there with the same bounds
right='right|PASS       |of the bound|times its speed'
try "vector.c: layernorm_fwd" 0 "$right|replaces   layernorm_fwd|150 calls" scripts/grade layernorm $here/vector.c
try "vector.c: all it brings, in another process" 0 "$right|replaces   gelu_fwd layernorm_fwd rope_fwd|300 calls|SEED=77" \
    scripts/grade --untrusted --seed 77 "" $here/vector.c
try "vector.c: double" 0 "$right" scripts/grade gelu_fwd $here/vector.c REAL=double
try "a family" 0 "$right|replaces   layernorm_bwd layernorm_fwd|PASS       layernorm_bwd|dw " scripts/grade --untrusted layernorm ref/backend/cpu/layernorm.c
try "an archive" 0 "$right|replaces   add_fwd" scripts/grade add $out/float/libexample.a

# ---- what is wrong is found, in the function that has the mistake, and the line given repeats it
for n in 1:gelu_fwd 2:layernorm_fwd 3:add_fwd; do
    for how in "" $([ ${n%:*} != 2 ] || echo --untrusted); do # shellcheck disable=SC2086
        try "wrong${n%:*} $how" 1 "WRONG|FAIL       ${n#*:}|repeat with" scripts/grade $how "${n#*:}" $out/float/libwrong${n%:*}.a
        line=$(sed -n 's/^FAIL .*repeat with  //p' $log | head -n 1)
        try "   $line" 1 "FAIL       ${n#*:}|1 of 1 calls|ref|got" eval "$line"
    done
done

# ---- cheating: one build, the environment says which
judge=build/conformance/conformance runner=build/grade/cheats/conformance
try "cheats.c, honest" 0 "right|PASS       relu_fwd|times its speed" scripts/grade --untrusted relu_fwd $here/cheats.c
try "cheat: large" 1 "PASS       relu_fwd|FAIL       relu_fwd         2048000        y is not the reference's|WRONG" \
    env CHEAT=large scripts/grade --untrusted relu_fwd $here/cheats.c
cheat() { try "cheat: $1" 1 "FAIL       relu_fwd|$2" env "CHEAT=$1" $judge --summary --own relu_fwd --seed 5 --limit "${3:-10}" --runner $runner; }
cheat exit "ended itself with status 0"
cheat announce "ended itself with status 0"
cheat crash "signal 6"
cheat memory "signal 11"
cheat hang "no answer within 0.5 s" 0.5
cheat late "did not end well"
cheat behind "a word outside the buffer was written to"
cheat before "a word outside the buffer was written to"
cheat far "was written to"
cheat input "element 48 should not be written to"
cheat short "[96] [0,96] ref 0 got nan"
cheat peek "[48] [0,48] ref 0 got nan"
cheat recall "is right alone and wrong after other calls: something is kept"
line=$(sed -n 's/^FAIL .*repeat with  //p' $log | head -n 1)
try "   CHEAT=recall $line" 1 "something is kept" env CHEAT=recall sh -c "$line"
cheat fifty "FAIL       relu_fwd"

# ---- what cannot be judged
try "no such function" 2 "OP=layernrom|has no such function or family|layernorm_fwd" scripts/grade layernrom $here/vector.c
try "a function it does not bring" 2 "brings none of these functions: linear_bwd|vvb2_f32_rope_fwd" scripts/grade linear_bwd $here/vector.c
try "the other precision" 2 "brings none|vvb2_f64_gelu_fwd|vvb2_f32_NAME" scripts/grade gelu $out/double/libexample.a
echo 'int nothing;' >$out/nothing.c
try "nothing of the contract" 2 "brings none|nothing of the contract" scripts/grade gelu $out/nothing.c
echo 'void *vvb_alloc(' >$out/broken.c
try "it does not compile" 3 "broken.c:1|cannot be compiled" scripts/grade gelu $out/broken.c
try "no such file" 3 "no such file" scripts/grade gelu $out/missing.c
try "no C file" 2 "expected a C file" scripts/grade gelu README.md
try "a function without cases" 2 "nothing was judged" scripts/grade get_info $here/../../link/info.c

# ---- the vectors in the command: the golden file of the tower
c=$out/versavit-vector g=$out/vector.safetensors
try "vector.c as the backend of the command" 0 "" make -s BACKEND=$out/float/libvector.a BUILD=build COMMAND=$c $c
try "golden/tower-micro" 0 "equal:" sh -c "$c golden make tower-micro -o $g && $c golden check golden/tower-micro $g"
try "the CPU's recording" 0 "" build/versavit golden make tower-micro -o $out/cpu.safetensors
if cmp -s $g $out/cpu.safetensors; then log=/dev/null && no "the recording has the bits of the CPU's: nothing was replaced"; fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
