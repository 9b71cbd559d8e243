#!/bin/sh
# Runs in dom0 and then in a guest of a host whose xenstored is `xs serve --xen`. PARTS are the scripts
# beside this one that run in dom0; the guest runs clients.sh only.
#
# shellcheck shell=dash # busybox's shell has `local`
set -eu
export XENSTORED_PATH=/dev/xen/xenbus
cd /job
# shellcheck source=tests/xen-host/lib.sh
. /job/host/lib.sh

if [ "$XEN_VM" = domu ]; then
    # A guest of save.sh has a word on its command line.
    ! grep -q saved /proc/cmdline || exec sh /job/host/saved.sh
    PARTS=clients
else
    # libxl waits until it has answered for the console of a new guest.
    xenconsoled --pid-file=/run/console-of-host.pid
    /job/xs mkdir /vm /libxl
fi
for part in ${PARTS:-clients cycles ends restart}; do
    echo "--- $part"
    # shellcheck source=/dev/null
    . "/job/host/$part.sh"
done
[ "$XEN_VM" = domu ] || kill "$(cat /run/console-of-host.pid)"
