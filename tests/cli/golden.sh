#!/bin/sh
# The verbs of `versavit golden` that judge, and `versavit diff`, from outside. From the project's root:
#   tests/cli/golden.sh PATH/TO/versavit
. tests/cli/shared.sh
# ---- a truth and its floors. The float build's own recording serves as the truth; floors come from one of half its digits.
run 0 "a truth" golden make tower-micro -o "$T/truth"
run 0 "a candidate" golden make tower-micro -o "$T/mine.safetensors"
for where in operands outputs both; do
    run 0 "tf32, $where" golden make tower-micro -o "$T/tf32-$where.safetensors" --precision tf32 --placement $where
    run 0 "bf16, $where" golden make tower-micro -o "$T/bf16-$where.safetensors" --precision bf16 --placement $where
done
run 0 "bf16, layer by layer" golden make tower-micro -o "$T/local.safetensors" --precision bf16 --resync "$T/truth"
run 0 "floors" golden floors "$T/truth" "$T"/mine.safetensors "$T"/tf32-*.safetensors "$T"/bf16-*.safetensors "$T/local.safetensors" -o "$T/g.safetensors"
cp "$T/truth/model.safetensors" "$T/model.safetensors"
run 2 "floors without -o" golden floors "$T/truth" "$T/mine.safetensors"
says -o
run 3 "floors of nothing" golden floors "$T/truth" "$T/none.safetensors" -o "$T/x"
says none.safetensors
claim "and no file" test ! -e "$T/x"

# ---- verdicts
run 0 "itself" golden check "$T/g.safetensors" "$T/mine.safetensors"
prints "equal:"
run 0 "a folder" golden check "$T/g.safetensors" "$T/truth"
run 1 "bf16 is not float" golden check "$T/g.safetensors" "$T/bf16-both.safetensors"
prints "DIFFERENT" "first to diverge, in the order of execution: u1/vision/act/visual.patch_embed" "precision: behaves like BF16"
run 0 "but it is bf16" golden check "$T/g.safetensors" "$T/bf16-both.safetensors" --precision bf16
prints "precision: behaves like BF16"
run 0 "tf32" golden check "$T/g.safetensors" "$T/tf32-operands.safetensors" -p tf32
prints "behaves like TF32"
run 0 "layer by layer, by local bands" golden check "$T/g.safetensors" "$T/local.safetensors" -p bf16
run 3 "no band of fp16" golden check "$T/g.safetensors" "$T/mine.safetensors" --precision fp16
says g.safetensors "fp16" "--limit"
run 0 "a limit of one's own" golden check "$T/g.safetensors" "$T/bf16-both.safetensors" --limit 1
run 0 "floors of one's own" golden check "$T/truth" "$T/mine.safetensors" --floors "$T/g.safetensors"
run 3 "and none" golden check "$T/truth" "$T/mine.safetensors"
says golden.safetensors floor
for option in precision scope format; do
    run 2 "a wrong --$option" golden check "$T/g.safetensors" "$T/mine.safetensors" --$option none
    says "--$option" "none"
done
run 3 "a mapping that is not there" golden check "$T/g.safetensors" "$T/mine.safetensors" --map none
says none.json
for map in transformers onnx llama.cpp; do run 0 "names that are right pass through $map" golden check "$T/g.safetensors" "$T/mine.safetensors" --map $map; done

# ---- a fault: one byte of one number of each kind
size=$(wc -c <"$T/mine.safetensors")
cp "$T/mine.safetensors" "$T/tampered.safetensors"
last=$(tail -c 1 "$T/mine.safetensors" | od -An -tu1 | tr -d ' ')
printf "\\$(printf %o $(((last + 1) % 256)))" | dd of="$T/tampered.safetensors" bs=1 seek=$((size - 1)) conv=notrunc 2>/dev/null
run 1 "one byte is enough" golden check "$T/g.safetensors" "$T/tampered.safetensors"
prints "first to diverge"
cp "$T/g.safetensors" "$T/damaged.safetensors"
last=$(tail -c 1 "$T/g.safetensors" | od -An -tu1 | tr -d ' ') size=$(wc -c <"$T/g.safetensors")
printf "\\$(printf %o $(((last + 1) % 256)))" | dd of="$T/damaged.safetensors" bs=1 seek=$((size - 1)) conv=notrunc 2>/dev/null
run 3 "one byte of the golden file itself" golden check "$T/damaged.safetensors" "$T/mine.safetensors"
says damaged.safetensors damaged sha256
run 1 "and for diff" diff "$T/mine.safetensors" "$T/tampered.safetensors"
prints "first to diverge"
run 0 "diff of equals" diff "$T/mine.safetensors" "$T/mine.safetensors"
run 0 "diff, other precision" diff "$T/mine.safetensors" "$T/bf16-both.safetensors" --limit 1
head -c 5000 "$T/mine.safetensors" >"$T/short.safetensors"
run 3 "a candidate cut short" golden check "$T/g.safetensors" "$T/short.safetensors"
says short.safetensors
printf 'PK\003\004 no archive' >"$T/bad.npz"
run 3 "an archive that is none" golden check "$T/g.safetensors" "$T/bad.npz"
says bad.npz
sed 's/"versavit_golden":"2"/"versavit_golden":"1"/' "$T/g.safetensors" >"$T/old.safetensors"
run 3 "another format" golden check "$T/old.safetensors" "$T/mine.safetensors"
says old.safetensors versavit_golden "format 2" '"1"'

# ---- what programs read
run 1 "as JSON" golden check "$T/g.safetensors" "$T/bf16-both.safetensors" --format json
prints '"equal": false' '"first": "u1/vision/act/visual.patch_embed"' '"precision": "behaves like BF16"' '"floors":' '"ulp":'
run 0 "the short word" golden check "$T/g.safetensors" "$T/mine.safetensors" --json
prints '"equal": true' '"failed": 0' '"first": ""'
run 1 "as CSV" golden check "$T/g.safetensors" "$T/bf16-both.safetensors" -f csv
prints 'key,verdict,floors,rel_rms' '"u1/vision/act/visual.patch_embed",FAIL,'
claim "a line a tensor, 14 columns" awk -F'"' 'NR > 1 { n++ } END { exit n < 100 }' "$T/out"
run 1 "as JUnit" golden check "$T/g.safetensors" "$T/bf16-both.safetensors" --format junit
prints '<testsuite name=' '<testcase classname="u1.vision.act" name="visual.patch_embed"><failure type="FAIL"'
run 1 "as a page" golden check "$T/g.safetensors" "$T/bf16-both.safetensors" --html "$T/page.html"
claim "it is drawn" grep -q 'class="fail"' "$T/page.html"
claim "and closed" grep -q '</html>' "$T/page.html"
if command -v xmllint >/dev/null 2>&1; then
    claim "the page is well-formed" xmllint --noout "$T/page.html"
    claim "JUnit is well-formed" sh -c "'$V' golden check '$T/g.safetensors' '$T/bf16-both.safetensors' -f junit | xmllint --noout -"
fi
run 3 "a page in no folder" golden check "$T/g.safetensors" "$T/mine.safetensors" --html "$T/no/page.html"
says "$T/no/page.html"
run 1 "all tensors" golden check "$T/g.safetensors" "$T/bf16-both.safetensors" --all
prints "u1/vision/in/image.0" "ulp max"
run 0 "quietly" golden check "$T/g.safetensors" "$T/mine.safetensors" -q
if [ -c /dev/full ]; then
    for f in text json csv junit; do
        "$V" golden check "$T/g.safetensors" "$T/mine.safetensors" --all -f $f >/dev/full 2>"$T/err"
        claim "full stdout, $f" test $? -eq 3
    done
fi

finish
