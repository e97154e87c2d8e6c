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
