#!/bin/sh
# The command from outside: exit statuses, messages, files. From the project's root: tests/cli/run.sh PATH/TO/versavit
V=${1:?usage: tests/cli/run.sh PATH/TO/versavit}
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

# ---- help and usage
help_of() {
    run 0 "$* --help" "$@" --help
    prints "usage: versavit" "example" "versavit ${1:-}"
    run 0 "$* -h" "$@" -h
}
names() { awk '/^commands:/ { on = 1; next } on && NF == 0 { exit } on { print $1 }' "$1"; }
run 0 "--help" --help
prints "example:"
names "$T/out" >"$T/commands"
claim "the commands are listed" test "$(wc -l <"$T/commands")" -ge 6
for c in $(cat "$T/commands"); do
    help_of "$c"
    run 2 "$c --no-such-option" "$c" --no-such-option
    says --no-such-option
done
help_of golden make
help_of golden record
help_of golden check
help_of golden floors
run 0 "help" help
run 0 "--version" --version
prints "versavit " "products:" "backend cpu"
"$V" >"$T/out" 2>"$T/err"
claim "no arguments: status 2" test $? -eq 2
claim "no arguments: usage on stderr, nothing on stdout" test -s "$T/err" -a ! -s "$T/out"
"$V" golden >"$T/out" 2>"$T/err"
claim "golden without a verb: status 2" test $? -eq 2
run 2 "an unknown command" encod
says encod
run 2 "an unknown option" encode --colour x.png
says --colour "encode --help"
run 2 "an option without its value" init --config
says --config
run 2 "a number that is none" init -c micro -o "$T/w/m" --seed many
says --seed many
run 2 "a negative number" init -c micro -o "$T/w/m" --seed -1
says --seed
run 2 "too many threads" info micro --threads 5000
says --threads
run 2 "too few arguments" diff one
says diff
run 2 "too many arguments" info one two
says info
run 2 "nothing to write" encode --model "$T/m" "$S/shapes.png"
says -o --pca
run 2 "a type that is none" init -c micro -o "$T/w/m" --dtype F8
says --dtype F8
nothing

# ---- init
run 0 "init" init -c micro --seed 5 -o "$T/m"
prints "34928 parameters in 43 tensors"
run 0 "init again" init -c micro --seed 5 -o "$T/m2" --threads 2
run 0 "init with another seed" init -c micro --seed 6 -o "$T/m3" -q
claim "--quiet prints nothing" test ! -s "$T/out"
for f in config.json preprocessor_config.json model.safetensors; do claim "the same seed, the same $f" cmp "$T/m/$f" "$T/m2/$f"; done
claim "another seed, other weights" test "$(cmp -s "$T/m/model.safetensors" "$T/m3/model.safetensors"; echo $?)" -eq 1
run 0 "init in bf16 and shards" init -c micro -o "$T/m4" --dtype BF16 --max-shard-bytes 20000
claim "an index" test -s "$T/m4/model.safetensors.index.json"
run 0 "info of shards" info "$T/m4" --tensors
prints BF16 visual.merger.mlp.2.bias 34928
printf '{"vision_config": {"embed_dim": 16, "num_heads": 2}, "preprocesor": {}}' >"$T/bad.json"
run 3 "a wrong key" init -c "$T/bad.json" -o "$T/w/m"
says bad.json preprocesor
printf '{"vision_config": {"embed_dim": "16"}}' >"$T/bad.json"
run 3 "a wrong type" init -c "$T/bad.json" -o "$T/w/m"
says bad.json embed_dim
run 3 "a configuration that is not there" init -c nano -o "$T/w/m"
says nano.json
run 2 "init without -o" init -c micro
says -o
run 2 "init without --config" init -o "$T/w/m"
says --config
nothing
run 3 "a place that cannot be written" init -c micro -o "$T/m/config.json/x"
says "$T/m/config.json/x"

# ---- info
run 0 "info of a configuration" info paper
prints 675759104 644.45
run 0 "info as JSON" info micro --json
prints '"parameters": 34928'
run 3 "info of nothing" info "$T/none.safetensors"
says none.safetensors
run 3 "info of a text" info tests/cli/run.sh
says run.sh

# ---- tokenize
tok() {
    status=$1 what=$2
    shift 2
    run "$status" "$what" tokenize --tokenizer data/tokenizer "$@"
}
printf 'Two red spheres\n\n<|im_end|>' >"$T/lines"
printf '"Two red spheres"\n{"text": "a\\u0000b", "other": 1}\n' >"$T/lines.json"
tok 0 "lines of text" "$T/lines"
claim "their ids" test "$(head -n 1 "$T/out")/$(sed -n 2p "$T/out")/$(wc -l <"$T/out")" = "51 457 354 433//3"
cp "$T/out" "$T/ids"
tok 0 "their ids again" --decode "$T/ids"
printf 'Two red spheres\n\n<|im_end|>\n' >"$T/want"
claim "the lines again" cmp "$T/out" "$T/want"
tok 0 "special tokens" --special "$T/lines"
claim "one id" test "$(sed -n 3p "$T/out")" = 488
cp "$T/out" "$T/ids"
tok 0 "special tokens shown" --decode --special "$T/ids"
prints "<|im_end|>"
tok 0 "special tokens not shown" --decode "$T/ids"
claim "nothing on the last line" test -z "$(sed -n 3p "$T/out")"
tok 0 "the whole file" --whole "$T/lines"
claim "one line" test "$(wc -l <"$T/out")" -eq 1
tok 0 "JSON" --json "$T/lines.json"
prints "[51,457,354,433]" "[64,188,65]"
cp "$T/out" "$T/ids"
tok 0 "JSON again" --json --decode "$T/ids"
prints '"Two red spheres"' '"a\u0000b"'
tok 0 "the speed" --time "$T/lines"
prints "25 bytes" "MB/s"
"$V" tokenize -t data/tokenizer/tokenizer.json <"$T/lines" >"$T/out" 2>"$T/err"
claim "standard input and a file" test "$(head -n 1 "$T/out")" = "51 457 354 433"
printf 'a\377b\n' >"$T/invalid"
tok 0 "invalid UTF-8, quiet" -q "$T/invalid"
claim "U+FFFD" test "$(cat "$T/out")" = "64 171 123 121 65"
tok 3 "invalid UTF-8, strict" --strict-utf8 "$T/invalid"
says invalid "line 1" "FF at offset 1"
"$V" tokenize -t data/tokenizer "$T/invalid" >"$T/out" 2>"$T/err"
claim "invalid UTF-8 is reported" grep -q "warning.*U+FFFD at 1 " "$T/err"
for bad in 'x' '1 -2' '1 2x' '99999999999' '1,2'; do
    printf '3\n%s\n' "$bad" >"$T/bad"
    tok 3 "ids that are none: $bad" --decode "$T/bad"
    says "$T/bad" "line 2" "ids with spaces"
done
for bad in '"x' '7' '{"test": "x"}' 'null' '{"text": 1}'; do
    printf '"a"\n%s\n' "$bad" >"$T/bad"
    tok 3 "no text: $bad" --json "$T/bad"
    says "$T/bad" "line 2"
done
for bad in '"x"' '[1.0]' '[-1]' '{}' '[4294967296]'; do
    printf '%s\n' "$bad" >"$T/bad"
    tok 3 "no ids: $bad" --json --decode "$T/bad"
    says "$T/bad" "line 1" "array of ids"
done
tok 3 "an input that is not there" "$T/none"
says "$T/none"
tok 3 "an input that is a folder" "$T/m"
says "$T/m"
tok 2 "whole and JSON" --whole --json "$T/lines"
says --whole --json
run 2 "no tokenizer" tokenize "$T/lines"
says --tokenizer
run 3 "a tokenizer that is none" tokenize -t "$T/w" "$T/lines"
says "tokenizer.json"

# ---- encode
enc() {
    status=$1 what=$2
    shift 2
    run "$status" "$what" encode --model "$T/m" "$@"
}
# 448x336 becomes 252x168 (18x12 patches) under the configuration's 50176 pixels, 360x480 becomes 168x252
enc 0 "two pictures" "$S/shapes.png" "$S/street.png" -o "$T/two.safetensors" --layers 0,2 --pca "$T/map.png"
prints "shapes.png: 448x336, 54 features of 32 numbers" "street.png: 360x480, 54 features"
run 0 "what is in it" info "$T/two.safetensors" --json
tr -d ' \n' <"$T/out" >"$T/flat"
real=F32
"$V" --version | grep -q double && real=F64
for i in 0 1; do
    claim "features.$i" grep -qF "{\"name\":\"features.$i\",\"dtype\":\"$real\",\"shape\":\"[54,32]\",\"count\":1728}" "$T/flat"
    for l in 0 2; do
        claim "layers.$l.$i" grep -qF "{\"name\":\"layers.$l.$i\",\"dtype\":\"$real\",\"shape\":\"[216,16]\",\"count\":3456}" "$T/flat"
    done
done
claim "six tensors" test "$(grep -o '"name"' "$T/flat" | wc -l)" -eq 6
run 0 "the drawing has the size of its picture" pixels "$T/map.0.png" -o "$T/p.safetensors"
prints "448x336"
run 0 "and so has the second" pixels "$T/map.1.png" -o "$T/p.safetensors"
prints "360x480"
claim "no map.png beside map.0.png" test ! -e "$T/map.png"
enc 0 "one picture" "$S/street.png" -o "$T/one.safetensors" --layers 0,2 --pca "$T/one.png" -q
claim "--quiet prints nothing" test ! -s "$T/out"
claim "one picture, one drawing" cmp "$T/one.png" "$T/map.1.png"
enc 0 "raster order" "$S/street.png" -o "$T/raster.safetensors" --layers 0,2 --raster --threads 1
run 1 "layers in another order differ" diff "$T/one.safetensors" "$T/raster.safetensors"
prints layers. "DIFFERENT"
for n in 1 2; do
    enc 0 "$n threads" "$S/shapes.png" "$S/street.png" -o "$T/t$n.safetensors" --layers 0,2 --pca "$T/t$n.png" --threads $n
done
claim "the same bytes with 1 and 2 threads" cmp "$T/t1.safetensors" "$T/t2.safetensors"
claim "and as before" cmp "$T/t1.safetensors" "$T/two.safetensors"
claim "the same drawing with 1 and 2 threads" cmp "$T/t1.1.png" "$T/t2.1.png"
enc 2 "a layer that is not there" "$S/shapes.png" -o "$T/w/x" --layers 3
says --layers "0 to 2"
enc 2 "layers that are no numbers" "$S/shapes.png" -o "$T/w/x" --layers 1,,2
says --layers "1,,2"
head -c 3000 "$S/shapes.png" >"$T/cut.png"
head -c 1000 "$S/shapes.png" >"$T/hurt.png"
printf 'XXXXXXXXXXXXXXXX' >>"$T/hurt.png"
tail -c +1017 "$S/shapes.png" >>"$T/hurt.png"
printf 'no picture' >"$T/text.png"
: >"$T/empty.png"
for f in cut hurt text empty none; do
    enc 3 "a picture that is bad: $f" "$T/$f.png" -o "$T/w/x" --pca "$T/w/y.png"
    says "$f.png"
    enc 3 "one of three is bad: $f" "$S/shapes.png" "$T/$f.png" "$S/street.png" -o "$T/w/x" --pca "$T/w/y.png"
    says "$f.png"
    nothing
    run 3 "pixels of a bad picture: $f" pixels "$T/$f.png" -o "$T/w/x"
    says "$f.png"
    nothing
done
enc 3 "a folder that is not there" "$S/shapes.png" -o "$T/w/no/x" --pca "$T/w/y.png"
says "$T/w/no/x"
enc 3 "a drawing that cannot be written" "$S/shapes.png" -o "$T/w/x" --pca "$T/w/no/y.png"
says "$T/w/no/y.png"
enc 3 "a folder in the place of the file" "$S/shapes.png" -o "$T/w"
says "$T/w"
run 3 "a model that is not there" encode --model "$T/none" "$S/shapes.png" -o "$T/w/x"
says "$T/none"
run 2 "no model" encode "$S/shapes.png" -o "$T/w/x"
says --model
run 2 "no picture" encode --model "$T/m" -o "$T/w/x"
nothing

# ---- golden and diff
run 0 "golden make" golden make tower-micro -o "$T/a.safetensors"
run 0 "golden make, one thread" golden make tower-micro -o "$T/b.safetensors" --threads 1
run 0 "golden make, checkpointed" golden make tower-micro -o "$T/c.safetensors" --checkpoint --threads 2
claim "the same bytes" cmp "$T/a.safetensors" "$T/b.safetensors"
claim "the same bytes with checkpointing" cmp "$T/a.safetensors" "$T/c.safetensors"
run 0 "diff of equals" diff "$T/a.safetensors" "$T/b.safetensors"
prints "equal:"
run 0 "golden floors" golden floors "$T/a.safetensors" "$T/b.safetensors" -o "$T/f.safetensors"
run 0 "golden check" golden check "$T/f.safetensors" "$T/a.safetensors"
prints "equal:"
run 0 "golden check as JSON" golden check "$T/f.safetensors" "$T/a.safetensors" --json
prints '"equal": true' '"failed": 0' '"first": ""'
run 3 "golden check without floors" golden check "$T/a.safetensors" "$T/b.safetensors"
says a.safetensors floor
for g in tower-micro tower-odd; do
    [ -e "golden/$g.safetensors" ] || continue
    run 0 "make $g" golden make "$g" -o "$T/mine.safetensors"
    run 0 "check $g against the committed file" golden check "golden/$g.safetensors" "$T/mine.safetensors"
done
sed "s|\"seed\": 1|\"seed\": 2|; s|\.\./configs|$PWD/data/configs|" data/cases/tower-micro.json >"$T/other.json"
run 0 "another seed" golden make "$T/other.json" -o "$T/other.safetensors"
run 1 "another seed differs" diff "$T/a.safetensors" "$T/other.safetensors"
prints "first to diverge, in the order of execution: u1/vision/in/image.0"
run 1 "golden check of another seed" golden check "$T/f.safetensors" "$T/other.safetensors"
prints "first to diverge, in the order of execution: u1/vision/in/image.0" "DIFFERENT"
run 1 "and as JSON" golden check "$T/f.safetensors" "$T/other.safetensors" --json
prints '"equal": false' '"first": "u1/vision/in/image.0"'
# the last byte belongs to the last picture
cp "$T/a.safetensors" "$T/tampered.safetensors"
size=$(wc -c <"$T/a.safetensors")
last=$(tail -c 1 "$T/a.safetensors" | od -An -tu1 | tr -d ' ')
printf "\\$(printf %o $(((last + 1) % 256)))" | dd of="$T/tampered.safetensors" bs=1 seek=$((size - 1)) conv=notrunc 2>/dev/null
run 1 "one byte is enough" golden check "$T/f.safetensors" "$T/tampered.safetensors"
prints "first to diverge, in the order of execution: u1/vision/in/image.1"
run 1 "and for diff" diff "$T/a.safetensors" "$T/tampered.safetensors"
# eight bytes of all ones are a NaN: the first number of the first tensor of numbers, which stands behind grid_thw [2,3] or before it
cp "$T/a.safetensors" "$T/nan.safetensors"
first=$((8 + $(od -An -tu8 -N8 "$T/a.safetensors")))
[ $real = F32 ] && first=$((first + 48))
printf '\377\377\377\377\377\377\377\377' | dd of="$T/nan.safetensors" bs=1 seek=$first conv=notrunc 2>/dev/null
run 1 "a NaN" golden check "$T/f.safetensors" "$T/nan.safetensors"
prints "NOT FINITE u1/vision/act/visual.blocks.0 "
run 1 "a NaN as JSON" golden check "$T/f.safetensors" "$T/nan.safetensors" --json
prints '"verdict": "NOT FINITE"' '"got": null' '"failed": 1'
run 1 "a NaN in the reference" diff "$T/nan.safetensors" "$T/nan.safetensors"
prints UNTRUSTED
head -c 5000 "$T/a.safetensors" >"$T/short.safetensors"
run 3 "a candidate cut short" golden check "$T/f.safetensors" "$T/short.safetensors"
says short.safetensors
run 3 "a candidate that is not there" diff "$T/a.safetensors" "$T/none.safetensors"
says none.safetensors
run 3 "a case that is not there" golden make tower-none -o "$T/w/x"
says tower-none
run 3 "a golden file in no folder" golden make tower-micro -o "$T/w/no/x"
says "$T/w/no/x"
run 2 "golden make without -o" golden make tower-micro
says -o
run 2 "a verb that is none" golden bake
says bake
run 0 "golden record" golden record --model golden/torch/tall --recording golden/torch/tall/recording.safetensors -o "$T/tall.safetensors"
run 1 "its own and transformers' differ in the last bits" diff golden/torch/tall/recording.safetensors "$T/tall.safetensors"
run 0 "and not by more" golden check golden/torch/tall/recording.safetensors "$T/tall.safetensors" --limit 1e-5
run 2 "golden record from nowhere" golden record --model "$T/m" --recording "$T/a.safetensors" -o "$T/w/x" --from there
says --from there
nothing

# ---- standard output that cannot be written
to_closed() { "$V" "$@" >&- 2>"$T/err"; }
to_closed info micro
claim "closed stdout: status 3" test $? -eq 3
claim "closed stdout: one line" test "$(wc -l <"$T/err")" -eq 1
to_closed encode --model "$T/m" "$S/street.png" -o "$T/closed.safetensors" --layers 0,2 --pca "$T/closed.png"
claim "encode with a closed stdout: status 3" test $? -eq 3
claim "and the file is not damaged by it" cmp "$T/closed.safetensors" "$T/one.safetensors"
to_closed golden make tower-micro -o "$T/closed.safetensors"
claim "golden make has nothing to print" test $? -eq 0
claim "and writes the same" cmp "$T/closed.safetensors" "$T/a.safetensors"
if [ -c /dev/full ]; then
    for c in "info micro" "info micro --json" "--version" "--help" "golden check $T/f.safetensors $T/a.safetensors --all"; do
        # shellcheck disable=SC2086
        "$V" $c >/dev/full 2>"$T/err"
        claim "full stdout: $c" test $? -eq 3
    done
fi

# ---- signals
printf '{"vision_config": {"embed_dim": 512, "num_heads": 8, "depth": 4, "hidden_size": 64}}' >"$T/big.json"
# stop SIGNAL STATUS FILE: init is stopped when FILE (a pattern) exists
stop() {
    for attempt in 1 2 3 4 5; do
        rm -rf "$T/w"
        mkdir "$T/w"
        "$V" init -c "$T/big.json" -o "$T/w/m" --dtype F64 >/dev/null 2>"$T/err" &
        pid=$!
        n=0
        # shellcheck disable=SC2086
        while [ -z "$(ls -d $3 2>/dev/null)" ] && [ $n -lt 3000 ]; do n=$((n + 1)); done
        kill -s "$1" $pid 2>/dev/null
        { wait $pid; } 2>/dev/null
        stopped=$?
        [ $stopped -eq "$2" ] && break
    done
    claim "stopped by $1 at $3: status $stopped, expected $2" test $stopped -eq "$2"
    claim "stopped by $1 at $3: nothing half-written" test -z "$(ls -A "$T/w/m" 2>/dev/null | grep -v config)"
}
stop TERM 143 "$T/w"
stop TERM 143 "$T/w/m/model.safetensors.*.tmp"
stop HUP 129 "$T/w/m/model.safetensors.*.tmp"
(
    trap '' HUP # as nohup does
    exec "$V" init -c "$T/big.json" -o "$T/w/hup" -q
) 2>"$T/err" &
pid=$!
sleep 0.2
kill -HUP $pid
wait $pid
claim "a signal that was ignored stays ignored" test $? -eq 0 -a -s "$T/w/hup/model.safetensors"

printf '%d passed, %d failed\n' $passed $failed
[ $failed -eq 0 ]
