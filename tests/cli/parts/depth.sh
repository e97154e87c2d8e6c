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
