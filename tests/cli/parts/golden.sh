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
run 3 "a golden file that changed since it was made" diff "$T/nan.safetensors" "$T/nan.safetensors"
says nan.safetensors visual.blocks.0 damaged sha256
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
