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
