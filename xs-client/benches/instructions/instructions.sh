#!/bin/bash
# Instructions (of user space) and allocations of one operation, counted by valgrind:
#
#     xs-client/benches/instructions/instructions.sh [SOCKET [JOB…]]
#
# Without a SOCKET, on an in-memory xenstored. Each job runs some times and twice as often: the
# difference is what the operations cost, whatever else the process does. With libxen-dev
# installed, the same is counted of libxenstore. LTO=fat builds as some users do.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
count=${COUNT:-1000}
socket=${1:-}
shift $(($# > 0))

if [ -n "${LTO:-}" ]; then
    export CARGO_PROFILE_BENCH_LTO=$LTO CARGO_PROFILE_BENCH_CODEGEN_UNITS=1
fi
ours=$(cargo bench --manifest-path "$here/../../Cargo.toml" --features futures,mio --bench instructions --no-run --message-format=json \
    | sed -n 's/.*"name":"instructions".*"executable":"\([^"]*\)".*/\1/p')

dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$dir"' EXIT
if [ -z "$socket" ]; then
    socket=$dir/socket
    "$ours" serve "$socket" &
    server=$!
    until [ -S "$socket" ]; do sleep 0.1; done
fi
export XENSTORED_PATH=$socket
"$ours" prepare "$socket"

counted() { # PATTERN COMMAND…
    local pattern=$1
    shift
    if ! "$@" >"$dir/said" 2>&1; then
        cat "$dir/said" >&2
        return 1
    fi
    sed -n "s/.*$pattern.*/\\1/p" "$dir/said" | tr -d ,
}

instructions() { # COMMAND…
    counted 'Collected : \([0-9]*\)' valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@"
}

allocations() { # COMMAND…
    counted 'total heap usage: \([0-9,]*\) allocs' valgrind --tool=memcheck "$@"
}

per_operation() { # COUNTER COMMAND…
    local less more
    less=$("$@" "$count") && more=$("$@" $((2 * count))) || return
    awk "BEGIN { printf \"%14.2f\", ($more - $less) / $count }"
}

show() { # NAME COMMAND…
    local name=$1 instructions allocations
    shift
    instructions=$(per_operation instructions "$@") && allocations=$(per_operation allocations "$@") || exit
    printf '%-28s%s%s\n' "$name" "$instructions" "$allocations"
}

printf '%-28s%14s%14s\n' "" instructions allocations
if [ $# = 0 ]; then
    set -- read write read-in-batch read-with-watch read-with-callback read-without-timeout \
        read-short-timeout read-async bare bare-matched machine-1 machine-4096
fi
for job in "$@"; do
    show "$job" "$ours" "$job" "$socket"
done
if cc -O2 -o "$dir/libxenstore" "$here/libxenstore.c" -lxenstore 2>/dev/null; then
    show "libxenstore, xs_read" "$dir/libxenstore" read
    show "libxenstore, xs_write" "$dir/libxenstore" write
else
    echo "without libxen-dev there is no libxenstore to compare with"
fi
