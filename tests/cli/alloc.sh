#!/bin/sh
# No memory at any moment: every single allocation of a command fails once. From the project's root:
#   tests/cli/alloc.sh PATH/TO/versavit [all]
# The command must end with status 4 and one line on stderr, and leave no file. Without `all`: encode and golden make, each
# of the first 300 allocations and every 13th after them; with `all` every one, and of the other commands too, some of them
# with the leak sanitizer.
V=${1:?usage: tests/cli/alloc.sh PATH/TO/versavit [all]}
all=${2:-}
case $V in /*) ;; *) V=$PWD/$V ;; esac
if [ "$(uname)" != Linux ]; then
    echo "0 passed, 0 failed (needs Linux and glibc)"
    exit 0
fi
T=$(mktemp -d "${TMPDIR:-/tmp}/vv-alloc-XXXXXX") || exit 1
trap 'rm -rf "$T"' EXIT
trap 'exit 1' INT TERM
: >"$T/passed" && : >"$T/failed"
${CC:-cc} -std=c99 -Wextra -pedantic -O2 -Wall -shared -fPIC tests/cli/failing_malloc.c -o "$T/failing.so" -ldl || exit 1
if ldd "$V" | grep -q libasan; then # its allocator stands in front of ours
    echo "0 passed, 0 failed (not with the address sanitizer)"
    exit 0
fi

# one DIR N COMMAND...: the N-th allocation of versavit COMMAND fails; @ in it is DIR/w, where it may write
one() {
    dir=$1 at=$2
    shift 2
    VVT_FAIL_AT=$at LD_PRELOAD=$preload "$V" "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    why=
    [ $got -eq 4 ] || why="status $got"
    { read -r line && ! read -r more; } <"$dir/err" || why="$why; not one line on stderr"
    case $line in versavit:*memory*) ;; *) why="$why; says '$line'" ;; esac
    for left in "$dir"/w/* "$dir"/w/m/*; do
        case $left in */w/m | */config.json | */*_config.json | */tokenizer.json) continue ;; esac # a folder without weights is no model
        [ ! -e "$left" ] || why="$why; left $left"
    done
    if [ -z "$why" ]; then
        echo . >>"$T/passed"
    else
        echo "FAILED: allocation $at of '$*': $why" | tee -a "$T/failed"
        rm -rf "$dir/w" && mkdir "$dir/w"
    fi
}
# every K WORKERS WORKER TOTAL COMMAND...: a worker's share of the allocations
every() {
    k=$1 workers=$2 worker=$3 total=$4
    shift 4
    n=$((worker + 1))
    while [ $n -le "$total" ]; do
        if [ $n -le 300 ] || [ $((n % k)) -lt "$workers" ]; then one "$T/$worker" $n "$@"; fi
        n=$((n + workers))
    done
}
# sweep COMMAND...: @ stands for the folder to write in
sweep() {
    mkdir -p "$T/count/w" "$T/0/w" "$T/1/w"
    VVT_COUNT_TO=$T/total LD_PRELOAD=$preload "$V" $(echo "$*" | sed "s|@|$T/count/w|g") >/dev/null 2>"$T/err"
    status=$?
    total=$(cat "$T/total")
    if [ $status -gt 1 ] || [ "$total" -lt 5 ]; then
        echo "FAILED: '$*' without a failure: status $status, $total allocations: $(cat "$T/err")" | tee -a "$T/failed"
        return
    fi
    rm -rf "$T/count"
    for worker in 0 1; do
        every "$stride" 2 $worker "$total" $(echo "$*" | sed "s|@|$T/$worker/w|g") &
    done
    wait
    echo "$total allocations: $*" | sed "s|$T/||g"
}
# sanitized: a command of its own, built with the leak sanitizer, into whose allocations ours are linked
sanitized() {
    ${CC:-cc} -std=c99 -O1 -DVVT_WRAP -c tests/cli/failing_malloc.c -o "$T/wrap.o" &&
        make -s -j2 SAN=1 BLAS=none CFLAGS='-O1 -g' "BUILD=$T/san" \
            "LDFLAGS=$T/wrap.o -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign" build >"$T/log" 2>&1 &&
        V=$T/san/versavit preload=
}

preload=$T/failing.so
"$V" init -c micro --seed 1 -o "$T/m" -q || exit 1
picture=data/samples/stripes.png
stride=13
[ -n "$all" ] && stride=1
sweep encode --model "$T/m" $picture -o @/x --layers 0,2 --pca @/y.png --threads 1
sweep golden make tower-micro -o @/x.safetensors --threads 1
if [ -n "$all" ]; then
    "$V" golden make tower-micro -o "$T/a.safetensors"
    "$V" golden floors "$T/a.safetensors" "$T/a.safetensors" -o "$T/f"
    sweep encode --model "$T/m" $picture data/samples/street.png -o @/x --raster --threads 1
    sweep golden make tower-odd -o @/x.safetensors --checkpoint --threads 1
    sweep golden record --model golden/torch/tall --recording golden/torch/tall/recording.safetensors -o @/x --threads 1
    sweep golden check "$T/f" "$T/a.safetensors" --json --threads 1
    sweep golden check "$T/f" "$T/a.safetensors" --map data/mappings/transformers.json --html @/page.html --threads 1
    sweep golden make tower-micro -o @/m --threads 1
    sweep golden floors "$T/a.safetensors" "$T/a.safetensors" -o @/x --threads 1
    sweep diff "$T/a.safetensors" "$T/a.safetensors" --all --threads 1
    sweep info micro --json --threads 1
    sweep info "$T/m" --tensors --threads 1
    sweep pixels $picture -o @/x --model "$T/m" --threads 1
    printf '"two red spheres\\n e\\u0301 <|im_end|>"\n"%0300d"\n' 0 >"$T/texts"
    printf 'e\314\201 \377 %%0300d' >"$T/text"
    sweep tokenize --tokenizer data/tokenizer --json --special "$T/texts" --threads 1
    sweep tokenize --tokenizer data/tokenizer --whole "$T/text" --threads 1
    echo '[84, 486, 300, 127]' >"$T/ids"
    sweep tokenize --tokenizer data/tokenizer --json --decode "$T/ids" --threads 1
    sweep init -c micro -o @/m --force --max-shard-bytes 40000 --threads 1
    printf 'red\nblue ball\n' >"$T/lines"
    printf '{"image": "%s", "question": "How many?"}\n' $picture >"$T/questions"
    "$V" embed-text --model "$T/m" --texts "$T/lines" -o "$T/e" -q
    sweep depth --model "$T/m" $picture data/samples/street.png -o @/d --npy --colormap --threads 1
    sweep segment --model "$T/m" $picture data/samples/street.png -o @/d --text red --text blue --npy --overlay --threads 1
    sweep segment --model "$T/m" $picture -o @/d --text-embedding "$T/e" --overlay --size 56 --threads 1
    sweep caption --model "$T/m" $picture --max-tokens 3 --threads 1
    sweep ask --model "$T/m" --batch "$T/questions" --json --max-tokens 3 --threads 1
    sweep embed-text --model "$T/m" --texts "$T/lines" -o @/x --threads 1
    sweep init -c micro --parts text -o @/m --force --threads 1
    stride=13
    if sanitized; then
        sweep encode --model "$T/m" $picture -o @/x --layers 0,2 --pca @/y.png --threads 1
        sweep golden make tower-micro -o @/x.safetensors --threads 1
        sweep golden check "$T/f" "$T/a.safetensors" --json --threads 1
        sweep init -c micro -o @/m --force --max-shard-bytes 40000 --threads 1
        sweep tokenize --tokenizer data/tokenizer --json --special "$T/texts" --threads 1
        sweep tokenize --tokenizer data/tokenizer --whole "$T/text" --threads 1
        sweep depth --model "$T/m" $picture data/samples/street.png -o @/d --npy --colormap --threads 1
        sweep segment --model "$T/m" $picture -o @/d --text red --text blue --npy --overlay --threads 1
        sweep segment --model "$T/m" $picture -o @/d --text-embedding "$T/e" --overlay --size 56 --threads 1
        sweep ask --model "$T/m" --batch "$T/questions" --json --max-tokens 3 --threads 1
        sweep embed-text --model "$T/m" --texts "$T/lines" -o @/x --threads 1
    else
        echo "FAILED: a command with sanitizers: $(tail -n 3 "$T/log")" | tee -a "$T/failed"
    fi
fi
passed=$(wc -l <"$T/passed") failed=$(wc -l <"$T/failed")
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
