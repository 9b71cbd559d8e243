#!/bin/bash
# xs beside xenstore-ls on 10,000 nodes, round by round: ls.sh XS SOCKET [ROUNDS]
set -euo pipefail
xs=$1 rounds=${3:-21}
export XENSTORED_PATH=$2

for directory in {0..99}; do
    for node in {0..98}; do
        echo "/xs-bench/$directory/$node = value $node"
    done
done | "$xs" restore
trap '"$xs" rm /xs-bench' EXIT

now() { date +%s%N; }

compare() { # THEIRS -- OURS
    local theirs=() ours start=
    while [ "$1" != -- ]; do theirs+=("$1"); shift; done
    shift
    ours=("$@")
    for _ in $(seq "$rounds"); do
        start=$(now); "${theirs[@]}" > /dev/null; local first=$(($(now) - start))
        start=$(now); "${ours[@]}" > /dev/null; echo "$first $(($(now) - start))"
    done | awk -v what="${theirs[*]}, xs ${ours[*]:1}" '
        function median(a, n) { asort(a); return a[int((n + 1) / 2)] }
        { theirs[NR] = $1 / 1e6; ours[NR] = $2 / 1e6; ratio[NR] = $2 / $1 }
        END { printf "%-52s %6.0f ms %6.0f ms %6.2f\n", what,
              median(theirs, NR), median(ours, NR), median(ratio, NR) }'
}

compare xenstore-ls /xs-bench -- "$xs" ls /xs-bench
compare xenstore-ls -p /xs-bench -- "$xs" ls -p /xs-bench
compare xenstore-ls -fp /xs-bench -- "$xs" dump /xs-bench
compare xenstore-ls /xs-bench -- "$xs" dump /xs-bench
