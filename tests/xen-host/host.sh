#!/bin/sh
# Runs in dom0 and then in a guest of a host whose xenstored is `xs serve --xen`. In dom0: creates and
# destroys guests, and looks at what the daemon has left of them. In both: the tests of `xs`.
#
# shellcheck shell=dash # busybox's shell has `local`
set -eu
cycles=${CYCLES:-10}
export XENSTORED_PATH=/dev/xen/xenbus
fail() {
    echo "FAILED: $*"
    exit 1
}

if [ "$XEN_VM" = domu ]; then
    exec sh /job/xs-on-xen.sh
fi
sh /job/xs-on-xen.sh
/job/xs info | grep '^Daemon: *xs serve' || fail "xs info does not name the daemon"

# Prints descriptors, threads, mappings of other domains, nodes, and domains.
daemon=$(cat /run/xenstored.pid)
left() {
    echo "descriptors: $(find "/proc/$daemon/fd" -type l | wc -l)"
    echo "threads: $(find "/proc/$daemon/task" -mindepth 1 -maxdepth 1 | wc -l)"
    echo "mappings: $(grep -c gntdev "/proc/$daemon/maps" || true)"
    /job/xs find / | grep -v '^/tool' || true
    xl list | awk 'NR > 1 { print "domain:", $1 }'
}

create() {
    printf '%s\n' "name=\"$1\"" 'type="pvh"' 'kernel="/job/bare-guest"' memory=32 vcpus=1 \
        "extra=\"only=identity wait nonce=$1\"" >"/run/$1.cfg"
    # -e: no process of xl stays to watch the guest.
    xl create -q -e "/run/$1.cfg" || fail "cannot create $1"
}

# destroyed ID: waits until nothing of a domain is left, which takes a moment.
destroyed() {
    local i=0
    until ! xl list "$1" >/dev/null 2>&1; do
        i=$((i + 1))
        [ $i -lt 100 ] || fail "domain $1 is still there: $(xl list)"
        sleep 0.1
    done
}

# libxl waits until it has answered for the console of a new guest.
xenconsoled --pid-file=/run/console-of-host.pid
/job/xs mkdir /vm /libxl
left >/run/before
grep VmRSS "/proc/$daemon/status"
i=0
while [ $i -lt "$cycles" ]; do
    i=$((i + 1))
    create "first$i"
    create "second$i"
    for name in "first$i" "second$i"; do
        id=$(xl domid "$name")
        /job/xs wait -T 60 "/local/domain/$id/data/nonce" "$name" || fail "$name did not start"
        xl destroy "$id"
        destroyed "$id"
    done
done
grep VmRSS "/proc/$daemon/status"
i=0
until left >/run/after && cmp -s /run/before /run/after; do
    i=$((i + 1))
    [ $i -lt 50 ] || fail "not everything is given back: $(diff /run/before /run/after)"
    sleep 0.1
done

# The daemon is stopped and started again under a guest and under the kernel of dom0, which notice
# nothing: the watches of both still fire.
/job/xs write data/restart before
/job/xs watch -n 2 data/restart >/run/events &
watcher=$!
until [ -s /run/events ]; do sleep 0.1; done
create restart
id=$(xl domid restart)
/job/xs wait -T 60 "/local/domain/$id/data/waits" yes || fail "the guest does not wait"
kill "$daemon"
while grep -qs '^State:[[:space:]]*[^XZ]' "/proc/$daemon/status"; do sleep 0.1; done
[ -s /run/xenstored.state ] || fail "no state was kept"
/job/xenstored.sh >/dev/console 2>&1 &
until [ -e /run/xenstored.pid ]; do sleep 0.1; done
[ ! -e /run/xenstored.state ] || fail "the state was not taken up"
/job/xs write data/restart after
wait "$watcher"
/job/xs write "/local/domain/$id/control/shutdown" poweroff
/job/xs wait -T 60 "/local/domain/$id/control/shutdown" '' || fail "the watch of the guest is lost"
xl destroy "$id"
destroyed "$id"
echo "a guest and the kernel have survived a restart"
kill "$(cat /run/console-of-host.pid)"
echo "$cycles times two guests were created and destroyed"
