#!/bin/sh
# Runs in dom0 beside the guest: writes nodes for it, beyond the quotas of guests, and asks it to shut
# down when it waits for that. DOMID is set.
data=/local/domain/$DOMID/data
until nonce=$(xenstore-read "$data/nonce" 2>/dev/null); do sleep 0.2; done
echo "dom0: the guest has written $nonce"
value=$(head -c 4064 /dev/zero | tr '\0' v)
# oxenstored refuses the last ones, even from dom0.
for len in 1009 1024 2000 4000 4064; do
    xenstore-write "$data/large/$len" "$(printf %s "$value" | cut -c "1-$len")" 2>/dev/null
done
i=0
while [ $i -lt 300 ]; do
    set -- "$@" "$data/many/a-child-with-a-long-name-$i" ""
    i=$((i + 1))
done
xenstore-write "$@"
xenstore-write "$data/ready" ""
until [ "$(xenstore-read "$data/waits" 2>/dev/null)" = yes ]; do sleep 0.2; done
xenstore-write "/local/domain/$DOMID/control/shutdown" poweroff
