# Creates and destroys CYCLES times two guests, one after the other, and looks at what the daemon has left
# of them.
#
# shellcheck shell=dash
cycles=${CYCLES:-10}
left >/run/before
echo "memory: $(memory) KiB"
i=0
while [ $i -lt "$cycles" ]; do
    i=$((i + 1))
    create "first$i" "only=identity wait" -e
    create "second$i" "only=identity wait" -e
    for name in "first$i" "second$i"; do
        started "$name" >/dev/null
        destroy "$name"
    done
done
all_given_back
echo "memory: $(memory) KiB"
echo "$cycles times two guests were created and destroyed"
