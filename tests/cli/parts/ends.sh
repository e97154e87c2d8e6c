# ---- standard output that cannot be written
to_closed() { "$V" "$@" >&- 2>"$T/err"; }
to_closed info micro
claim "closed stdout: status 3" test $? -eq 3
claim "closed stdout: one line" test "$(wc -l <"$T/err")" -eq 1
to_closed encode --model "$T/m" "$S/street.png" -o "$T/closed.safetensors" --layers 0,2 --pca "$T/closed.png"
claim "encode with a closed stdout: status 3" test $? -eq 3
claim "and the file is not damaged by it" cmp "$T/closed.safetensors" "$T/one.safetensors"
to_closed golden make tower-micro -o "$T/closed.safetensors"
claim "golden make has nothing to print" test $? -eq 0
claim "and writes the same" cmp "$T/closed.safetensors" "$T/a.safetensors"
if [ -c /dev/full ]; then
    for c in "info micro" "info micro --json" "--version" "--help" "golden check $T/f.safetensors $T/a.safetensors --all"; do
        # shellcheck disable=SC2086
        "$V" $c >/dev/full 2>"$T/err"
        claim "full stdout: $c" test $? -eq 3
    done
fi

# ---- signals
printf '{"vision_config": {"embed_dim": 512, "num_heads": 8, "depth": 4, "hidden_size": 64}}' >"$T/big.json"
# stop SIGNAL STATUS FILE: init is stopped when FILE (a pattern) exists
stop() {
    for attempt in 1 2 3 4 5; do
        rm -rf "$T/w"
        mkdir "$T/w"
        "$V" init -c "$T/big.json" -o "$T/w/m" --dtype F64 >/dev/null 2>"$T/err" &
        pid=$!
        n=0
        # shellcheck disable=SC2086
        while [ -z "$(ls -d $3 2>/dev/null)" ] && [ $n -lt 3000 ]; do n=$((n + 1)); done
        kill -s "$1" $pid 2>/dev/null
        { wait $pid; } 2>/dev/null
        stopped=$?
        [ $stopped -eq "$2" ] && break
    done
    claim "stopped by $1 at $3: status $stopped, expected $2" test $stopped -eq "$2"
    claim "stopped by $1 at $3: nothing half-written" test -z "$(ls -A "$T/w/m" 2>/dev/null | grep -v config)"
}
stop TERM 143 "$T/w"
stop TERM 143 "$T/w/m/model.safetensors.*.tmp"
stop HUP 129 "$T/w/m/model.safetensors.*.tmp"
(
    trap '' HUP # as nohup does
    exec "$V" init -c "$T/big.json" -o "$T/w/hup" -q
) 2>"$T/err" &
pid=$!
sleep 0.2
kill -HUP $pid
wait $pid
claim "a signal that was ignored stays ignored" test $? -eq 0 -a -s "$T/w/hup/model.safetensors"
