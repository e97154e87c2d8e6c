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
