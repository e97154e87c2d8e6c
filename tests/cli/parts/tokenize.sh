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
