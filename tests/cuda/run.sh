#!/bin/sh
# The stand-in finds planted mistakes: sh tests/cuda/run.sh PATH/mistakes   (make BACKEND=cuda-standin check-standin)
# With SAN=1 AddressSanitizer is the one that finds some of them.
program=$1
failed=0
expect() { # settings, name, exit statuses, words: one of them on a line of the output
    out=$(env $1 "$program" "$2" 2>&1)
    status=$?
    case " $3 " in *" $status "*) good=1 ;; *) good=0 ;; esac
    if [ -n "$4" ]; then printf '%s' "$out" | grep -qE "$4" || good=0; fi
    if [ $good = 1 ]; then echo "PASS $2 $1"; else
        failed=1
        printf 'FAIL %s %s: exit %s, expected %s and "%s"; found:\n%s\n' "$2" "$1" "$status" "$3" "$4" "$out"
    fi
}
for s in A=b VVSI_ORDER=reversed VVSI_ORDER=shuffled:7 VVSI_ASYNC=1; do expect $s nothing_wrong 0 ''; done
for s in A=b VVSI_ASYNC=1; do
    expect $s beyond_the_end "70 1" 'start, kernel count: wrote beyond the end|use-after-poison'
    expect $s before_the_start "70 1" 'kernel one_before: wrote before|use-after-poison'
    expect $s use_after_free 70 'start, kernel count.*memory that was freed'
    expect $s freed_in_a_struct 70 'count_held, argument 1.*memory that was freed'
    expect $s write_after_free "70 1" 'memory that had been freed|use-after-poison'
    expect $s leak 70 'leak: 1 allocations, 256 bytes'
    expect $s double_free 70 'freed twice'
    expect $s uninitialised 1 'wrong result'
    expect $s host_reads 70 'host code: touched device memory'
    expect $s wrong_direction 70 'source of an upload is device memory'
    expect $s long_download 70 'source of a download: bytes 0 to 260 of an allocation of 256'
    expect $s host_pointer 70 'count, argument 1: .* is not device memory'
    expect $s host_pointer_in_a_struct 70 'a struct that holds an address of the host'
    expect $s short_matrix 70 'cublasGemmEx: a: bytes 0 to 256 of an allocation of 252'
    expect $s missing_barrier 1 'wrong result'
    expect $s divergent_barrier 70 'kernel half_barrier: divergent: of block 0,0,0 thread 0 waits at a barrier.* and thread 32 ended'
    expect $s different_barriers 70 'kernel two_barriers: divergent'
    expect $s divergent_shuffle 70 'kernel half_shuffle: divergent'
    expect $s uninitialised_shared 1 'wrong result'
    expect $s large_block 70 'cannot be launched'
done
expect A=b early_change 0 ''
expect VVSI_ASYNC=1 early_change 1 'wrong result'
for of in race race_of_blocks; do
    expect A=b $of 0 ''
    expect VVSI_ORDER=reversed $of 1 'wrong result'
done
expect VVSI_DEVICES=0 uninitialised 1 ''
exit $failed
