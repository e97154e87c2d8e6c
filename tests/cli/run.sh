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
help_of golden list
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
prints "58896 parameters in 282 tensors"
run 0 "init again" init -c micro --seed 5 -o "$T/m2" --threads 2
run 0 "init with another seed" init -c micro --seed 6 -o "$T/m3" -q
claim "--quiet prints nothing" test ! -s "$T/out"
for f in config.json preprocessor_config.json model.safetensors; do claim "the same seed, the same $f" cmp "$T/m/$f" "$T/m2/$f"; done
claim "another seed, other weights" test "$(cmp -s "$T/m/model.safetensors" "$T/m3/model.safetensors"; echo $?)" -eq 1
run 0 "init in bf16 and shards" init -c micro -o "$T/m4" --dtype BF16 --max-shard-bytes 20000
claim "an index" test -s "$T/m4/model.safetensors.index.json"
run 0 "info of shards" info "$T/m4" --tensors
prints BF16 visual.merger.mlp.2.bias 34928 # the tower's sum
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
run 0 "only two parts" init -c micro -o "$T/vd" --parts vision,depth
prints "39809 parameters in 107 tensors"
claim "no tokenizer without text" test ! -e "$T/vd/tokenizer.json"
run 0 "the language model" init -c micro -o "$T/lm" --parts text --seed 5
prints "12904 parameters in 24 tensors"
for f in tokenizer.json tokenizer_config.json generation_config.json; do claim "text brings $f" cmp "$T/lm/$f" "data/tokenizer/$f"; done
for bad in vision,dept ,vision "vision depth" all; do
    run 2 "parts that are none: $bad" init -c micro -o "$T/w/m" --parts "$bad"
    says --parts "expected vision, projector, text, depth or mask" "found \""
done
nothing

# ---- info
run 0 "info of a configuration" info paper
prints 675759104 644.45 36709888 35.009 38812097 37.014 918528 6476 4058340 1048832
run 0 "info as JSON" info micro --json
prints '"parameters": 58896'
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

# ---- pictures of the heads
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

# ---- depth
dep() {
    status=$1 what=$2
    shift 2
    run "$status" "$what" depth --model "$T/m" "$@"
}
dep 0 "two maps" "$S/shapes.png" "$S/street.png" -o "$T/d" --npy --colormap
prints "shapes.png: 448x336, seen at 252x168, disparity" "street.png: 360x480, seen at 168x252"
claim "four files a picture" test "$(ls "$T/d" | tr '\n' ' ')" = "shapes.depth-color.png shapes.depth.json shapes.depth.npy shapes.depth.png street.depth-color.png street.depth.json street.depth.npy street.depth.png "
for f in depth depth-color; do
    side 448x336 "$T/d/shapes.$f.png"
    side 360x480 "$T/d/street.$f.png"
done
bytes $((128 + 4 * 448 * 336)) "$T/d/shapes.depth.npy"
bytes $((128 + 4 * 360 * 480)) "$T/d/street.depth.npy"
floats "$T/d/shapes.depth.npy" >"$T/numbers"
awk 'NR == FNR { if (NR == 1) lo = hi = $1; if ($1 < lo) lo = $1; if ($1 > hi) hi = $1; next }
     { print int(int(65535 * ($1 - lo) / (hi - lo) + 0.5) / 256) }' "$T/numbers" "$T/numbers" >"$T/want"
channel "$T/d/shapes.depth.png" $((448 * 336)) >"$T/grey"
# the numbers are printed with eight digits
claim "linear from the least to the greatest" test "$(paste "$T/want" "$T/grey" | awk '$1 != $2' | wc -l)" -le 15
claim "16 bits of grey" test "$(od -An -tu1 -j24 -N2 "$T/d/shapes.depth.png" | tr -d ' ')" = 160
claim "the limits" grep -qE '^\{"min": 0\.0[0-9]+, "max": 0\.[0-9]+, "size": \[336, 448\], "seen_at": \[168, 252\]\}$' "$T/d/shapes.depth.json"
dep 0 "one map, one thread" "$S/street.png" -o "$T/d1/" --threads 1 -q
claim "--quiet prints nothing" test ! -s "$T/out"
claim "two files, without being asked for more" test "$(ls "$T/d1" | tr '\n' ' ')" = "street.depth.json street.depth.png "
for f in json png; do claim "the same $f alone and with one thread" cmp "$T/d/street.depth.$f" "$T/d1/street.depth.$f"; done
dep 0 "squashed" "$S/shapes.png" -o "$T/d2" --size 112
prints "448x336, seen at 112x112"
side 448x336 "$T/d2/shapes.depth.png"
claim "another map" test "$(cmp -s "$T/d/shapes.depth.png" "$T/d2/shapes.depth.png"; echo $?)" -eq 1
dep 0 "over an older one" "$S/street.png" -o "$T/d2"
for bad in 100 27 65536; do
    dep 2 "a size that is none: $bad" "$S/shapes.png" -o "$T/w/d" --size $bad
    says --size "multiple of 28" "found $bad"
done
mkdir "$T/same"
cp "$S/shapes.png" "$T/same/street.jpg" # what is in it decides, not its name
dep 2 "two of one name" "$S/shapes.png" "$S/street.png" "$T/same/street.jpg" -o "$T/w/d"
says "$S/street.png" "$T/same/street.jpg" "different names"
dep 2 "the same picture twice" "$S/street.png" "$S/street.png" -o "$T/w/d"
says "different names"
for f in cut hurt text empty none; do
    dep 3 "one of three is bad: $f" "$S/shapes.png" "$T/$f.png" "$S/street.png" -o "$T/w/d"
    says "$f.png"
done
run 2 "no model" depth "$S/shapes.png" -o "$T/w/d"
says --model
dep 2 "no folder" "$S/shapes.png"
says -o
dep 2 "no picture" -o "$T/w/d"
says "depth IMAGE"
run 3 "a model without the head" depth "$S/shapes.png" -m "$T/lm" -o "$T/w/d"
says "$T/lm" "vision tower"
dep 3 "a folder in no folder" "$S/shapes.png" -o "$T/w/no/d"
says "$T/w/no/d"
dep 3 "a file in the place of the folder" "$S/shapes.png" -o "$T/cut.png"
says "$T/cut.png" "expected a folder"
mkdir "$T/d3" "$T/d3/street.depth.png"
dep 3 "a folder in the place of a file" "$S/shapes.png" "$S/street.png" -o "$T/d3" --colormap
says "$T/d3/street.depth.png"
claim "and the other picture's files are gone again" test "$(ls "$T/d3")" = street.depth.png
cp -r "$T/m" "$T/dead"
poke "$T/dead/model.safetensors" $bias '\000\000\200\277' # -1: the last ReLU is shut
"$V" depth "$S/shapes.png" -m "$T/dead" -o "$T/d4" --colormap >"$T/out" 2>"$T/err"
claim "a map that is the same everywhere" test $? -eq 0
claim "is warned about" grep -q "warning: .*shapes.png: the disparity is 0 everywhere" "$T/err"
claim "and its limits are equal" grep -qF '"min": 0.0, "max": 0.0' "$T/d4/shapes.depth.json"
run 0 "it is" pixels "$T/d4/shapes.depth-color.png" -o "$T/p.safetensors"
run 0 "mid grey" pixels "$T/d4/shapes.depth.png" -o "$T/p2.safetensors"
claim "in both pictures" cmp "$T/p.safetensors" "$T/p2.safetensors"
poke "$T/dead/model.safetensors" $bias '\000\000\300\177' # NaN
run 5 "a map that is not finite" depth "$S/shapes.png" -m "$T/dead" -o "$T/w/d"
says shapes.png disparity nan
nothing

# ---- embed-text
emb() {
    status=$1 what=$2
    shift 2
    run "$status" "$what" embed-text --model "$T/lm" "$@"
}
printf 'the red ball\n\ncaf\303\251\n' >"$T/texts"
emb 0 "three texts" --texts "$T/texts" -o "$T/e.safetensors"
prints "e.safetensors: 3 texts, 16 numbers each"
run 0 "what is in it" info "$T/e.safetensors" --tensors
prints embeddings "[3,16]"
claim "the texts are in it" grep -qF '"texts":"[\"the red ball\",\"\",\"café\"]"' "$T/e.safetensors"
emb 0 "cut" --texts "$T/texts" -o "$T/e6.safetensors" --dim 6 --threads 1
prints "6 numbers each"
emb 0 "with an instruction" --texts "$T/texts" -o "$T/ei.safetensors" --instruct "Find it"
run 1 "which changes them" diff "$T/e.safetensors" "$T/ei.safetensors"
emb 2 "wider than the model" --texts "$T/texts" -o "$T/w/e" --dim 17
says --dim "1 to 16" "found 17"
emb 3 "texts that are not there" --texts "$T/none" -o "$T/w/e"
says "$T/none"
run 3 "a model without language" embed-text -m "$T/vd" --texts "$T/texts" -o "$T/w/e"
says "$T/vd" "a language model (text_config)"
emb 2 "no texts" -o "$T/w/e"
says --texts
emb 2 "no output" --texts "$T/texts"
says -o
nothing

# ---- segment
seg() {
    status=$1 what=$2
    shift 2
    run "$status" "$what" segment --model "$T/m" "$@"
}
seg 0 "two pictures, two texts" "$S/shapes.png" "$S/street.png" --text "the red ball" -t café -o "$T/s" --overlay --npy
prints "shapes.png: 448x336, seen at 252x168" "0:" "%  the red ball" "1:" "%  café" "street.png: 360x480, seen at 168x252"
claim "five files a picture" test "$(ls "$T/s" | tr '\n' ' ')" = "shapes.0.logits.npy shapes.0.mask.png shapes.1.logits.npy shapes.1.mask.png shapes.overlay.png street.0.logits.npy street.0.mask.png street.1.logits.npy street.1.mask.png street.overlay.png "
for f in 0.mask 1.mask overlay; do
    side 448x336 "$T/s/shapes.$f.png"
    side 360x480 "$T/s/street.$f.png"
done
bytes $((128 + 4 * 448 * 336)) "$T/s/shapes.1.logits.npy"
floats "$T/s/shapes.0.logits.npy" | awk '{ print ($1 > 0 ? 255 : 0) }' >"$T/want"
channel "$T/s/shapes.0.mask.png" $((448 * 336)) >"$T/grey"
claim "the mask is where the logit is above 0" cmp "$T/want" "$T/grey"
claim "8 bits of grey" test "$(od -An -tu1 -j24 -N2 "$T/s/shapes.0.mask.png" | tr -d ' ')" = 80
claim "another text, other logits" test "$(cmp -s "$T/s/shapes.0.logits.npy" "$T/s/shapes.1.logits.npy"; echo $?)" -eq 1
seg 0 "the same by a file, the other way round" "$S/street.png" -e "$T/e.safetensors" -t café -t "the red ball" -o "$T/s1" --npy --threads 1 -q
claim "--quiet prints nothing" test ! -s "$T/out"
claim "no overlay without being asked" test "$(ls "$T/s1" | tr '\n' ' ')" = "street.0.logits.npy street.0.mask.png street.1.logits.npy street.1.mask.png "
for k in 0 1; do # the model's own language model is lm
    claim "mask $k" cmp "$T/s1/street.$k.mask.png" "$T/s/street.$((1 - k)).mask.png"
done
seg 0 "all texts of the file" "$S/street.png" --text-embedding "$T/e.safetensors" -o "$T/s2"
prints "2:" "%  café"
claim "three masks" test "$(ls "$T/s2" | tr '\n' ' ')" = "street.0.mask.png street.1.mask.png street.2.mask.png "
seg 0 "texts by another folder, squashed" "$S/street.png" -t café --text-encoder "$T/lm" -o "$T/s3" --size 56
prints "seen at 56x56"
seg 2 "no text" "$S/street.png" -o "$T/w/s"
says --text --text-embedding
seg 2 "two ways to embed" "$S/street.png" -t x -e "$T/e.safetensors" --text-encoder "$T/lm" -o "$T/w/s"
says --text-embedding --text-encoder
seg 3 "a text that the file has not" "$S/street.png" -t café -t "a tree" -e "$T/e.safetensors" -o "$T/w/s"
says e.safetensors "a tree"
seg 3 "embeddings that are too short" "$S/street.png" -e "$T/e6.safetensors" -o "$T/w/s"
says e6.safetensors "[3, 16 or more]"
seg 3 "a file without texts" "$S/street.png" -e "$T/m/model.safetensors" -o "$T/w/s"
says model.safetensors "metadata texts"
: >"$T/notexts"
emb 0 "no text at all" --texts "$T/notexts" -o "$T/e0.safetensors"
seg 3 "a file of no texts" "$S/street.png" -e "$T/e0.safetensors" -o "$T/w/s"
says e0.safetensors "a text at least"
run 3 "a model without the head" segment "$S/street.png" -m "$T/vd" -t x -o "$T/w/s"
says "$T/vd" "a segmentation head (mask_head)"
run 0 "a tower and a segmentation head" init -c micro -o "$T/vm" --parts vision,mask
run 3 "and no language model" segment "$S/street.png" -m "$T/vm" -t x -o "$T/w/s"
says "$T/vm" "a language model"
seg 3 "an encoder that is not there" "$S/street.png" -t x --text-encoder "$T/none" -o "$T/w/s"
says "$T/none"
seg 2 "two of one name" "$S/street.png" "$T/same/street.jpg" -t x -o "$T/w/s"
says "$T/same/street.jpg"
seg 2 "a size that is none" "$S/street.png" -t x -o "$T/w/s" --size 30
says --size "multiple of 28"
seg 2 "a text without its value" "$S/street.png" -o "$T/w/s" --text
says --text
for f in cut hurt text empty none; do
    seg 3 "one of three is bad: $f" "$S/shapes.png" "$T/$f.png" "$S/street.png" -t x -o "$T/w/s" --overlay
    says "$f.png"
done
mkdir "$T/s4" "$T/s4/street.1.mask.png"
seg 3 "a folder in the place of a file" "$S/shapes.png" "$S/street.png" -t x -t y -o "$T/s4" --overlay
says "$T/s4/street.1.mask.png"
claim "and all that was written is gone again" test "$(ls "$T/s4")" = street.1.mask.png
nothing

# ---- caption and ask
cap() {
    status=$1 what=$2
    shift 2
    run "$status" "$what" caption --model "$T/m" --max-tokens 4 "$@"
}
ask() {
    status=$1 what=$2
    shift 2
    run "$status" "$what" ask --model "$T/m" --max-tokens 4 "$@"
}
cap 0 "two captions" "$S/shapes.png" "$S/street.png" --temperature 1 --seed 3
prints "$S/shapes.png: " "$S/street.png: "
cp "$T/out" "$T/captions"
cap 0 "the same seed, one thread" "$S/shapes.png" "$S/street.png" --temperature 1 --seed 3 --threads 1
claim "says the same" cmp "$T/out" "$T/captions"
cap 0 "another seed" "$S/shapes.png" "$S/street.png" --temperature 1 --seed 4
claim "says something else" test "$(cmp -s "$T/out" "$T/captions"; echo $?)" -eq 1
cap 0 "a caption as JSON" "$S/shapes.png" --json --prompt "What is this?"
prints "{\"image\":\"$S/shapes.png\",\"question\":\"What is this?\",\"answer\":\"" '"tokens":4,"stopped":false}'
claim "one line" test "$(wc -l <"$T/out")" -eq 1
cap 3 "one of two is bad" "$S/shapes.png" "$T/cut.png"
says cut.png
claim "and nothing is said" test ! -s "$T/out"
ask 0 "a question" "$S/shapes.png" --question "How many?" --json --temperature 1 --top-k 20 --top-p 0.9 --repetition-penalty 1.1
prints '"question":"How many?"' '"tokens":4'
printf '{"image": "%s", "question": "How many?"}\n{"image": "%s", "question": "Is it red?"}\n' "$S/shapes.png" "$S/street.png" >"$T/q.jsonl"
ask 0 "two questions" --batch "$T/q.jsonl" --json
claim "two lines" test "$(wc -l <"$T/out")" -eq 2
prints '"question":"Is it red?"'
ask 0 "two questions in words" --batch "$T/q.jsonl"
prints "$S/street.png: "
ask 2 "questions and a picture" "$S/shapes.png" --batch "$T/q.jsonl"
says --batch
ask 2 "questions and a question" --batch "$T/q.jsonl" -q x
says --batch --question
ask 2 "a picture and no question" "$S/shapes.png"
says --question
ask 2 "no picture" -q x
says IMAGE --batch
ask 2 "two pictures" "$S/shapes.png" "$S/street.png" -q x
says "ask IMAGE"
for bad in '{"image": 3, "question": "b"}' '{"image": "x.png"}' '{"question": "b"}' '{"image": ' '[]' '{"image": "x.png", "question": 1}' '{"image": "x", "image": "y", "question": "b"}'; do
    printf '{"image": "%s", "question": "a?"}\n%s\n' "$S/shapes.png" "$bad" >"$T/bad.jsonl"
    ask 3 "a line that is none: $bad" --batch "$T/bad.jsonl" --json
    says "bad.jsonl:2: "
    claim "nothing is said" test ! -s "$T/out"
done
printf '{"image": "%s", "question": "a?"}\n{"image": "%s", "question": "a?"}\n' "$S/shapes.png" "$T/none.png" >"$T/bad.jsonl"
ask 3 "a picture of a line is not there" --batch "$T/bad.jsonl" --json
says none.png
claim "nothing is said" test ! -s "$T/out"
ask 3 "questions that are not there" --batch "$T/none"
says "$T/none"
ask 2 "no tokens" "$S/shapes.png" -q x --max-tokens 0
says "at least 1" 0
ask 2 "too much of the mass" "$S/shapes.png" -q x --top-p 2
says "at most 1" 2
ask 2 "a temperature below 0" "$S/shapes.png" -q x --temperature -1
says --temperature -1
run 3 "a model without language" ask "$S/shapes.png" -m "$T/vd" -q x
says "$T/vd" "a language model (text_config)"
run 3 "a model without a tower" caption "$S/shapes.png" -m "$T/lm"
says "$T/lm" "vision tower"

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
for g in tower-micro layers pixels; do
    run 0 "make $g" golden make "$g" -o "$T/mine"
    run 0 "check $g against the committed folder" golden check "golden/$g" "$T/mine"
done
run 0 "golden make, every layer on golden inputs" golden make tower-micro -o "$T/layer.safetensors" --resync golden/tower-micro
run 0 "and its check" golden check golden/tower-micro "$T/layer.safetensors"
run 0 "golden make in bf16" golden make tower-micro -o "$T/bf16.safetensors" --precision bf16 --placement outputs
run 0 "is right as bf16" golden check golden/tower-micro "$T/bf16.safetensors" --precision bf16
run 1 "and wrong as float" golden check golden/tower-micro "$T/bf16.safetensors"
run 2 "a precision that is none" golden make tower-micro -o "$T/w/x" --precision fp8
says --precision tf32 fp8
run 2 "a placement alone" golden make tower-micro -o "$T/w/x" --placement both
says --placement --precision
run 0 "golden list" golden list
prints tower-micro "every operation alone"
run 0 "golden list as JSON" golden list golden --json
prints '"format": 2' '"sha256"'
run 3 "golden list of nothing" golden list "$T/none"
says "$T/none"
sed "s|\"seed\": 1|\"seed\": 2|; s|\.\./configs|$PWD/data/configs|" data/cases/tower-micro.json >"$T/other.json"
run 0 "another seed" golden make "$T/other.json" -o "$T/other.safetensors"
run 1 "another seed differs" diff "$T/a.safetensors" "$T/other.safetensors"
prints "first to diverge, in the order of execution: u1/vision/w/visual.patch_embed.proj.weight"
run 1 "golden check of another seed" golden check "$T/f.safetensors" "$T/other.safetensors"
prints "first to diverge, in the order of execution: u1/vision/w/visual.patch_embed.proj.weight" "DIFFERENT"
run 1 "and as JSON" golden check "$T/f.safetensors" "$T/other.safetensors" --json
prints '"equal": false' '"first": "u1/vision/w/visual.patch_embed.proj.weight"'
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
