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

median() { sort -n | sed -n "$(((rounds + 1) / 2))p"; }

compare() { # THEIRS -- OURS
    local theirs=() start first lines=""
    while [ "$1" != -- ]; do
        theirs+=("$1")
        shift
    done
    shift
    for _ in $(seq "$rounds"); do
        start=$(now) && "${theirs[@]}" > /dev/null && first=$(($(now) - start))
        start=$(now) && "$@" > /dev/null
        lines+="$first $(($(now) - start))"$'\n'
    done
    lines=$(printf %s "$lines" | awk '{ print $1 / 1e6, $2 / 1e6, $2 / $1 }')
    printf '%-24s %-20s %6.0f ms %6.0f ms %6.2f\n' "${theirs[*]}" "xs ${*:2}" \
        "$(cut -d' ' -f1 <<< "$lines" | median)" "$(cut -d' ' -f2 <<< "$lines" | median)" \
        "$(cut -d' ' -f3 <<< "$lines" | median)"
}

compare xenstore-ls /xs-bench -- "$xs" ls /xs-bench
compare xenstore-ls -p /xs-bench -- "$xs" ls -p /xs-bench
compare xenstore-ls -fp /xs-bench -- "$xs" dump /xs-bench
compare xenstore-ls /xs-bench -- "$xs" dump /xs-bench
