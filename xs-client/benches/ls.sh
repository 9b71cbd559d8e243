#!/bin/bash
# Usage: ls.sh XS SOCKET [ROUNDS]
#
# Compares `xs ls` and `xs dump` with xenstore-ls on 10,000 nodes. XS is the path of the program,
# SOCKET that of the daemon's socket. The programs take turns in each round.
#
# The column "bare" is the time of the daemon: a Python program sends the same requests at once and
# only counts the bytes of the replies. Without python3 the column is empty.
set -euo pipefail
xs=$1 rounds=${3:-21}
export XENSTORED_PATH=$2

nodes() {
    for directory in {0..99}; do
        printf '%s\n' "/xs-bench/$directory" "/xs-bench/$directory/"{0..98}
    done
}

nodes | sed 's/.*/& = "a value of the node"/' | "$xs" restore
trap '"$xs" rm /xs-bench' EXIT

bare() { # TYPE... (1: DIRECTORY, 2: READ, 3: GET_PERMS); prints nanoseconds
    command -v python3 > /dev/null || { echo nan; return; }
    nodes | python3 -c '
import os, socket, struct, sys, threading, time
paths = ["/xs-bench"] + sys.stdin.read().split()
pairs = [(path.encode() + b"\0", int(type)) for path in paths for type in sys.argv[1:]]
requests = b"".join(struct.pack("<4I", type, 0, 0, len(path)) + path for path, type in pairs)
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["XENSTORED_PATH"])
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
start = time.monotonic_ns()
threading.Thread(target=connection.sendall, args=[requests]).start()
replies, at = bytearray(), 0
for _ in pairs:
    while True:
        end = at + 16 + (struct.unpack_from("<I", replies, at + 12)[0] if at + 16 <= len(replies) else 0)
        if at + 16 <= len(replies) and end <= len(replies):
            break
        replies += connection.recv(1 << 20)
    at = end
print(time.monotonic_ns() - start)' "$@"
}

now() { date +%s%N; }

median() { sort -n | sed -n "$(((rounds + 1) / 2))p"; }

compare() { # THEIRS -- OURS -- TYPE...
    local theirs=() ours=() start first second lines="" column
    while [ "$1" != -- ]; do theirs+=("$1"); shift; done; shift
    while [ "$1" != -- ]; do ours+=("$1"); shift; done; shift
    for _ in $(seq "$rounds"); do
        start=$(now) && "${theirs[@]}" > /dev/null && first=$(($(now) - start))
        start=$(now) && "$xs" "${ours[@]}" > /dev/null && second=$(($(now) - start))
        lines+="$first $second $(bare "$@")"$'\n'
    done
    lines=$(printf %s "$lines" | awk '{ print $1 / 1e6, $2 / 1e6, $3 / 1e6, $2 / $1, $3 / $1 }')
    for column in 1 2 3 4 5; do cut -d' ' -f$column <<< "$lines" | median; done | {
        mapfile -t m
        printf '%-24s %-17s %6.0f ms %6.0f ms %6.2f   %6.0f ms %6.2f\n' \
            "${theirs[*]}" "xs ${ours[*]}" "${m[@]:0:2}" "${m[3]}" "${m[2]}" "${m[4]}"
    }
}

printf '%-24s %-17s %9s %9s %6s   %9s %6s\n' theirs ours theirs ours ratio bare ratio
compare xenstore-ls /xs-bench -- ls /xs-bench -- 1 2
compare xenstore-ls -p /xs-bench -- ls -p /xs-bench -- 1 2 3
compare xenstore-ls -fp /xs-bench -- dump /xs-bench -- 1 2 3
compare xenstore-ls /xs-bench -- dump /xs-bench -- 1 2 3
