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
run 3 "a configuration that is not there" init -c pico -o "$T/w/m"
says pico.json
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
run 3 "parts that the configuration lacks" init -c odd -o "$T/w/m" --parts vision,text
says odd.json "a language model (text_config)"
run 3 "a head that it lacks" init -c odd -o "$T/w/m" --parts mask
says odd.json "a segmentation head (mask_head)"
for bad in vision,dept ,vision "vision depth" all ""; do
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
