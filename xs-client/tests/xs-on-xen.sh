#!/bin/sh
# Tests xs on a real Xen host or guest, through the kernel's device. The program is ./xs. XEN_VM is
# domu in a guest, and dom0 on the host, which has the xenstore tools to compare with.
set -eu

check() { # NAME EXPECTED ACTUAL
    if [ "$2" != "$3" ]; then
        printf 'FAILED: %s\n expected: %s\n actual:   %s\n' "$1" "$2" "$3"
        exit 1
    fi
    echo "ok: $1"
}

export XENSTORED_PATH=/dev/xen/xenbus
./xs info
check "write and read values" '1|x\ny|' "$(./xs write data/a 1 data/b 'x\ny' && ./xs read data/a data/b | tr '\n' '|')"
check "committed transaction" '1' "$(printf 'write data/t 1\nread data/t\n' | ./xs transaction)"
check "failed transaction changes nothing" '1 no' \
    "$(printf 'write data/n 1\nread data/no/such\n' | ./xs transaction 2>/dev/null || echo "$?" \
        "$(./xs exists data/n 2>/dev/null || echo no)")"
./xs dump data > dump
./xs rm data/a
./xs restore dump
check "dump and restore" "$(cat dump | sort)" "$(./xs dump data | sort)"
check "watch" 'data' "$(./xs watch -n 1 data)"
check "wait times out" '1' "$(./xs wait -T 0.1 data/never 2>/dev/null || echo $?)"
mkdir links
./xs install-links links > /dev/null
check "link to xenstore-read" 'data/a: 1' "$(links/xenstore-read -p data/a)"
if [ "$XEN_VM" = dom0 ]; then
    for options in '' -f -p -fp; do
        check "xenstore-ls $options" "$(xenstore-ls $options)" "$(links/xenstore-ls $options)"
    done
    check "socket and device list the same nodes" "$(./xs ls -fp)" "$(./xs --socket /run/xenstored/socket ls -fp)"
fi
./xs rm data/a data/b data/t
