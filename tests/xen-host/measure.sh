# Measures the daemon, which may be any. One line each: NAME VALUE.
#
# shellcheck shell=dash

# Prints the milliseconds since the kernel has started.
now() {
    awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime
}

# Prints the processor time of the daemon in microseconds.
processor_time() {
    cat /proc/"$(daemon)"/task/*/schedstat | awk '{ sum += $1 } END { printf "%d\n", sum / 1000 }'
}

used=$(processor_time)
begin=$(now)
create first "only=round,10" -e
id=$(started first)
echo "create-to-first-request-ms $(($(now) - begin))"
echo "boot-to-first-request-ms $(($(/job/xs read "/local/domain/$id/data/time") / 1000))"
/job/xs wait -T 300 "/local/domain/$id/data/pipelined" >/dev/null || fail "the guest does not measure"
used=$(($(processor_time) - used))
echo "guest-round-trip-us $(/job/xs read "/local/domain/$id/data/round-trip")"
echo "guest-pipelined-us $(/job/xs read "/local/domain/$id/data/pipelined")"
echo "processor-time-of-first-guest-us $used"
echo "dom0-socket-round-trip-us $(/job/xs --socket /run/xenstored/socket ping -n 300 --json | sed 's/[^0-9]//g' | sort -n | sed -n 150p)"
destroy first

used=0
for number in 1 2 3 4 5 6 7 8 9 10; do
    begin=$(processor_time)
    create "measured$number" "only=identity wait" -e
    started "measured$number" >/dev/null
    used=$((used + $(processor_time) - begin))
    destroy "measured$number"
done
echo "processor-time-of-xl-create-us $((used / 10))"
echo "memory-kib $(memory)"
