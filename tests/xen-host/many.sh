# Creates and destroys MANY guests, four at a time. Afterwards nothing is left of them, and the daemon has
# the memory that it had after the first ones.
#
# shellcheck shell=dash
left >/run/before
many=${MANY:-100} at_once=4
round=0
while [ $((round * at_once)) -lt "$many" ]; do
    names=''
    for member in $(seq $at_once); do
        names="$names many-$round-$member"
    done
    # The daemon may be a process of this shell as well: `wait` needs the processes to wait for.
    pids=''
    for name in $names; do
        create "$name" "only=identity,watches wait" -e &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid"; done
    for name in $names; do started "$name" >/dev/null; done
    pids=''
    for name in $names; do
        destroy "$name" &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid"; done
    round=$((round + 1))
    # The first guests warm up the allocator.
    if [ $round = 5 ] || [ $((round * at_once)) -ge "$many" ]; then
        all_given_back
        echo "after $((round * at_once)) guests: $(memory) KiB"
        : "${warm:=$(memory)}"
    fi
done
# What a guest has taken would be at least a page of each.
limit=$((warm + (many - 20) * 2))
[ "$(memory)" -le $limit ] || fail "the daemon has $(memory) KiB, more than $limit KiB"
