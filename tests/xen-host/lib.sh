# Functions of the scripts for a host. They run in dom0.
#
# shellcheck shell=dash # busybox's shell has `local`

fail() {
    echo "FAILED: $*"
    exit 1
}

# eventually COMMAND...: waits until a command succeeds, for 60 s. Its output is dropped.
eventually() {
    local i=0
    until "$@" >/dev/null 2>&1; do
        i=$((i + 1))
        [ $i -lt 600 ] || fail "not within 60 s: $*"
        sleep 0.1
    done
}

daemon() {
    cat /run/xenstored.pid
}

# Prints what the daemon and the store have: descriptors, threads, mappings of other domains, nodes, and
# domains.
left() {
    echo "descriptors: $(find "/proc/$(daemon)/fd" -type l | wc -l)"
    echo "threads: $(find "/proc/$(daemon)/task" -mindepth 1 -maxdepth 1 | wc -l)"
    echo "mappings: $(grep -c gntdev "/proc/$(daemon)/maps" || true)"
    /job/xs find / | grep -v '^/tool' || true
    xl list | awk 'NR > 1 { print "domain:", $1 }'
}

is_as_before() {
    left >/run/after
    cmp -s /run/before /run/after
}

# all_given_back: waits until nothing is left of the domains since `left >/run/before`.
all_given_back() {
    local i=0
    until is_as_before; do
        i=$((i + 1))
        [ $i -lt 100 ] || fail "not everything is given back: $(diff /run/before /run/after)"
        sleep 0.1
    done
}

# Prints the memory of the daemon in KiB.
memory() {
    awk '/^VmRSS/ { print $2 }' "/proc/$(daemon)/status"
}

# create NAME WORDS [OPTION...]: starts the guest without an operating system, with words on its command
# line. Without the option -e, a process of xl stays to watch the guest.
create() {
    local name=$1 words=$2
    shift 2
    printf '%s\n' "name=\"$name\"" 'type="pvh"' 'kernel="/job/bare-guest"' memory=32 vcpus=1 \
        'on_crash="destroy"' "extra=\"nonce=$name $words\"" >"/run/$name.cfg"
    xl create -q "$@" "/run/$name.cfg" || fail "cannot create $name"
}

# started NAME: waits until a guest has written to the store, and prints its id.
started() {
    local id
    id=$(xl domid "$1")
    /job/xs wait -T 60 "/local/domain/$id/data/nonce" "$1" >/dev/null || fail "$1 did not start"
    echo "$id"
}

is_gone() {
    ! xl list "$1"
}

# destroy NAME: destroys a domain, and waits until it is gone, which takes a moment.
destroy() {
    local id
    id=$(xl domid "$1")
    xl destroy "$id"
    eventually is_gone "$id"
}
