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
mkdir "$T/q"
cp "$S/shapes.png" "$T/q"
printf '{"image": "shapes.png", "question": "How many?"}\n{"image": "%s", "question": "Is it red?"}\n' "$PWD/$S/street.png" >"$T/q/q.jsonl"
ask 0 "two questions, seen from their folder" --batch "$T/q/q.jsonl" --json
claim "two lines" test "$(wc -l <"$T/out")" -eq 2
prints '{"image":"shapes.png","question":"How many?"' '"question":"Is it red?"'
(cd "$T/q" && "$V" ask --model ../m --max-tokens 4 --batch q.jsonl --json) >"$T/there" 2>"$T/err"
claim "and from there" cmp "$T/there" "$T/out"
ask 0 "two questions in words" --batch "$T/q/q.jsonl"
prints "$S/street.png: "
ask 2 "questions and a picture" "$S/shapes.png" --batch "$T/q/q.jsonl"
says --batch
ask 2 "questions and a question" --batch "$T/q/q.jsonl" -q x
says --batch --question
ask 2 "a picture and no question" "$S/shapes.png"
says --question
ask 2 "no picture" -q x
says IMAGE --batch
ask 2 "two pictures" "$S/shapes.png" "$S/street.png" -q x
says "ask IMAGE"
for bad in '{"image": 3, "question": "b"}' '{"image": "x.png"}' '{"question": "b"}' '{"image": ' '[]' '{"image": "x.png", "question": 1}' '{"image": "x", "image": "y", "question": "b"}'; do
    printf '{"image": "%s", "question": "a?"}\n%s\n' "$PWD/$S/shapes.png" "$bad" >"$T/bad.jsonl"
    ask 3 "a line that is none: $bad" --batch "$T/bad.jsonl" --json
    says "bad.jsonl:2: "
    claim "nothing is said" test ! -s "$T/out"
done
printf '{"image": "%s", "question": "a?"}\n{"image": "%s", "question": "a?"}\n' "$PWD/$S/shapes.png" "$T/none.png" >"$T/bad.jsonl"
ask 3 "a picture of a line is not there" --batch "$T/bad.jsonl" --json
says none.png
claim "nothing is said" test ! -s "$T/out"
ask 3 "questions that are not there" --batch "$T/none"
says "$T/none"
ask 2 "no tokens" "$S/shapes.png" -q x --max-tokens 0
says --max-tokens "at least 1" 0
ask 2 "too much of the mass" "$S/shapes.png" -q x --top-p 2
says --top-p "at most 1" 2
ask 2 "a penalty of nothing" "$S/shapes.png" -q x --repetition-penalty 0
says --repetition-penalty "more than 0"
ask 2 "a temperature below 0" "$S/shapes.png" -q x --temperature -1
says --temperature -1
run 3 "a model without language" ask "$S/shapes.png" -m "$T/vd" -q x
says "$T/vd" "a language model (text_config)"
run 3 "a model without a tower" caption "$S/shapes.png" -m "$T/lm"
says "$T/lm" "vision tower"

# ---- adapters
# repeat N BYTES
repeat() { for i in $(seq "$1"); do printf "$2"; done; }
# adapter DIR B: rank 1 on q_proj and v_proj of micro's two layers; lora_A is 1 everywhere, lora_B is B (four bytes)
adapter() {
    mkdir "$1"
    printf '{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj", "v_proj"]}' >"$1/adapter_config.json"
    at=0 names=''
    for l in 0 1; do for m in q_proj:24 v_proj:12; do for w in A:1,16 B:${m#*:},1; do
        shape=${w#*:}
        n=$((4 * ${shape%,*} * ${shape#*,}))
        names="$names${names:+,}\"base_model.model.model.layers.$l.self_attn.${m%:*}.lora_${w%:*}.weight\":{\"dtype\":\"F32\",\"shape\":[$shape],\"data_offsets\":[$at,$((at + n))]}"
        at=$((at + n))
    done; done; done
    names="{$names}"
    while [ $((${#names} % 8)) -ne 0 ]; do names="$names "; done
    {
        printf "\\$(printf %o $((${#names} % 256)))\\$(printf %o $((${#names} / 256)))\\0\\0\\0\\0\\0\\0"
        printf %s "$names"
        for l in 0 1; do repeat 16 '\000\000\200\077'; repeat 24 "$2"; repeat 16 '\000\000\200\077'; repeat 12 "$2"; done
    } >"$1/adapter_model.safetensors"
}
adapter "$T/zero" '\000\000\000\000'
adapter "$T/one" '\000\000\200\077'
emb 0 "adapters of nothing" --texts "$T/texts" -o "$T/ez.safetensors" --adapter "$T/zero"
run 0 "change nothing" diff "$T/e.safetensors" "$T/ez.safetensors"
emb 0 "adapters" --texts "$T/texts" -o "$T/ea.safetensors" --adapter "$T/one"
run 1 "change the embeddings" diff "$T/e.safetensors" "$T/ea.safetensors"
claim "and are named in the file" grep -qF "\"adapter\":\"$T/one\"" "$T/ea.safetensors"
ask 0 "a question" "$S/shapes.png" -q x --temperature 1
cp "$T/out" "$T/plain"
ask 0 "with adapters of nothing" "$S/shapes.png" -q x --temperature 1 --adapter "$T/zero"
claim "the same answer" cmp "$T/out" "$T/plain"
cap 0 "a caption" "$S/shapes.png" --temperature 1 --max-tokens 40
cp "$T/out" "$T/plain"
cap 0 "with adapters" "$S/shapes.png" --temperature 1 --max-tokens 40 -a "$T/one"
claim "another caption" test "$(cmp -s "$T/out" "$T/plain"; echo $?)" -eq 1
ask 3 "adapters that are not there" "$S/shapes.png" -q x --adapter "$T/none"
says "$T/none/adapter_config.json"
sed 's/"r": 1/"r": 2/' "$T/one/adapter_config.json" >"$T/zero/adapter_config.json"
emb 3 "adapters of another rank" --texts "$T/texts" -o "$T/w/e" --adapter "$T/zero"
says zero/adapter_model.safetensors lora_A "[2,16]"
nothing
