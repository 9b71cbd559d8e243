#!/bin/sh
# What xs does on a real Xen host or guest, over the kernel's device. Expects the program as ./xs;
# XEN_VM says domu in a guest, dom0 on the host, where the xenstore tools are there to compare with.
set -eu

check() { # WHAT WANTED FOUND
    if [ "$2" != "$3" ]; then
        printf 'FAILED: %s\n wanted: %s\n found:  %s\n' "$1" "$2" "$3"
        exit 1
    fi
    echo "ok: $1"
}

export XENSTORED_PATH=/dev/xen/xenbus
./xs info
check "values" '1|x\ny|' "$(./xs write data/a 1 data/b 'x\ny' && ./xs read data/a data/b | tr '\n' '|')"
check "a transaction" '1' "$(printf 'write data/t 1\nread data/t\n' | ./xs transaction)"
check "a failed one leaves nothing" '1 no' \
    "$(printf 'write data/n 1\nread data/no/such\n' | ./xs transaction 2>/dev/null || echo "$?" \
        "$(./xs exists data/n 2>/dev/null || echo no)")"
./xs dump data > dump
./xs rm data/a
./xs restore dump
check "dump and restore" "$(cat dump | sort)" "$(./xs dump data | sort)"
check "a watch" 'data' "$(./xs watch -n 1 data)"
check "a wait in vain" '1' "$(./xs wait -T 0.1 data/never 2>/dev/null || echo $?)"
mkdir links
./xs install-links links > /dev/null
check "the links" 'data/a: 1' "$(links/xenstore-read -p data/a)"
if [ "$XEN_VM" = dom0 ]; then
    for options in '' -f -p -fp; do
        check "xenstore-ls $options" "$(xenstore-ls $options)" "$(links/xenstore-ls $options)"
    done
    check "the socket" "$(./xs ls -fp)" "$(./xs --socket /run/xenstored/socket ls -fp)"
fi
./xs rm data/a data/b data/t
