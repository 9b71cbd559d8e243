# Guests that attack the daemon, while dom0 and a guest measure how long requests take: without another
# guest, beside guests that only take processor time, and beside the attacks.
#
# shellcheck shell=dash
left >/run/before

create victim "only=latency" -e
victim=$(started victim)

# measure WHAT: prints the medians and the 95th percentiles of round trips of the victim and of dom0.
measure() {
    local from to
    from=$(/job/xs read "/local/domain/$victim/data/latency" 2>/dev/null | cut -d ' ' -f 1)
    # The report that is under way began before.
    to=$((${from:-0} + 2))
    has_reported() {
        [ "$(/job/xs read "/local/domain/$victim/data/latency" | cut -d ' ' -f 1)" -ge $to ]
    }
    eventually has_reported
    /job/xs ping -n 200 --json | sed 's/[^0-9]//g' | sort -n >/run/times
    echo "$1: victim $(/job/xs read "/local/domain/$victim/data/latency" | cut -d ' ' -f 2,3 | tr ' ' /) us, dom0 $(sed -n 100p /run/times)/$(sed -n 190p /run/times) us (median/95%)"
}

attack() {
    create "$1-$2" "hostile=$1" -e
    started "$1-$2" >/dev/null
}

measure "alone"
attack spin 1
measure "beside spin"
destroy spin-1
for attack in ${ATTACKS:-indices headers connection deaf flood watches}; do
    attack "$attack" 1
    if [ "$attack" = watches ]; then
        id=$(xl domid "$attack-1")
        eventually /job/xs exists "/local/domain/$id/data/held"
        echo "watches and transactions held: $(/job/xs read "/local/domain/$id/data/held")"
    fi
    measure "beside $attack"
    destroy "$attack-1"
done
for attack in ${ATTACKS:-indices headers connection deaf flood watches}; do
    attack "$attack" 2
done
echo "memory beside all: $(memory) KiB"
measure "beside all"
for attack in ${ATTACKS:-indices headers connection deaf flood watches}; do
    destroy "$attack-2"
done
measure "alone again"
destroy victim
all_given_back
