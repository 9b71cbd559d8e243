# Guests that attack the daemon, while dom0 and a guest measure how long requests take: without another
# guest, beside guests that only take processor time, and beside the attacks.
#
# shellcheck shell=dash
left >/run/before

new_victim() {
    create victim "only=latency" -e
    victim=$(started victim)
}
new_victim

# QEMU sometimes ends a PVH guest with a triple fault where a hypercall returns, and may leave it the registers
# of Xen. What the daemon does wrong ends the guest with a panic, which is no triple fault.
is_lost_to_emulator() { # ID
    xl dmesg | grep -q "d${1}v0 Triple fault"
}

# measure WHAT: prints the medians and the 95th percentiles of round trips of the victim and of dom0.
measure() {
    local from to
    from=$(/job/xs read "/local/domain/$victim/data/latency" 2>/dev/null | cut -d ' ' -f 1)
    # The report that is under way began before.
    to=$((${from:-0} + 2))
    has_reported() {
        is_lost_to_emulator "$victim" || [ "$(/job/xs read "/local/domain/$victim/data/latency" | cut -d ' ' -f 1)" -ge $to ]
    }
    eventually has_reported
    if is_lost_to_emulator "$victim"; then
        echo "$1: not measured, QEMU has ended the victim"
        destroy victim
        new_victim
        return
    fi
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
    id=$(xl domid "$attack-1")
    if [ "$attack" = watches ]; then
        has_counted() {
            is_lost_to_emulator "$id" || /job/xs exists "/local/domain/$id/data/held"
        }
        eventually has_counted
        echo "watches and transactions held: $(/job/xs read "/local/domain/$id/data/held" || true)"
    fi
    measure "beside $attack"
    ! is_lost_to_emulator "$id" || echo "QEMU has ended the guest that attacks"
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
