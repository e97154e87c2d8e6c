# ---- probe, eval, report: what they are to write is tried before anything is measured
run 3 "probe: a file in no folder" probe depth --model "$T/none" -o "$T/w/no/p.json"
says "$T/w/no/p.json"
run 3 "eval: a folder in the place of the file" eval --model "$T/none" -o "$T/w"
says "$T/w"
run 3 "report: a page in no folder" report "$T/none" -o "$T/w/no/r.html"
says "$T/w/no/r.html"
run 3 "embed-text: a file in no folder" embed-text --model "$T/none" --texts "$T/texts" -o "$T/w/no/e"
says "$T/w/no/e"
nothing
run 0 "a probe" probe segmentation --model "$T/m" --train 10 --test 2 --size 56 --tower-only -o "$T/w/p.json" -q
claim "its file alone" test "$(ls -A "$T/w")" = p.json
run 3 "an evaluation without a model" eval --model "$T/none" -o "$T/w/p.json"
says "$T/none"
claim "leaves the older file as it was" grep -q '"probe": "segmentation"' "$T/w/p.json"
rm "$T/w/p.json"
nothing
