# The ways in which a guest ends: shutdown, reboot and crash.
#
# shellcheck shell=dash
left >/run/before

create quiet "only=identity wait"
id=$(started quiet)
/job/xs wait -T 60 "/local/domain/$id/data/waits" yes || fail "the guest does not wait"
xl shutdown -w quiet || fail "xl shutdown failed"
eventually is_gone "$id"
all_given_back
echo "xl shutdown: the guest is gone"

create again "only=identity wait"
id=$(started again)
/job/xs wait -T 60 "/local/domain/$id/data/waits" yes || fail "the guest does not wait"
xl reboot again || fail "xl reboot failed"
eventually is_gone "$id"
has_rebooted() {
    new=$(xl domid again) && [ "$new" != "$id" ]
}
eventually has_rebooted
started again >/dev/null
echo "xl reboot: domain $id is now domain $new"
destroy again
all_given_back

create crash "only=identity wait"
id=$(started crash)
/job/xs wait -T 60 "/local/domain/$id/data/waits" yes || fail "the guest does not wait"
/job/xs write "/local/domain/$id/control/shutdown" crash
eventually is_gone "$id"
all_given_back
echo "crash: the guest is gone"

# Not an end: the toolstack introduces a guest again, with its port.
create anew "only=second" -e
id=$(started anew)
/job/xs wait -T 60 "/local/domain/$id/data/waits" introduce || fail "the guest does not wait"
/job/xs domain introduce "$id" 1 "$(/job/xs read "/local/domain/$id/store/port")"
/job/xs wait -T 60 "/local/domain/$id/data/is-back" yes || fail "the guest is lost"
destroy anew
all_given_back
echo "second INTRODUCE: the guest has gone on"
