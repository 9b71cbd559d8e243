# Saves a PV guest whose client holds watches, and restores it: on the same host it is another domain
# then. A checkpoint lets it go on in place.
#
# shellcheck shell=dash
left >/run/before
printf '%s\n' 'name="saved"' 'type="pv"' 'kernel="/guest/vmlinux"' 'ramdisk="/guest/initrd"' memory=256 vcpus=1 \
    'extra="console=hvc0 panic=-1 loglevel=4 saved"' >/run/saved.cfg
xl create -q -e /run/saved.cfg || fail "cannot create the guest"

# ask WORD: a change that the client in the guest confirms, if its watch fires.
ask() {
    id=$(xl domid saved)
    /job/xs write "/local/domain/$id/data/question" "$1"
    /job/xs wait -T 120 "/local/domain/$id/data/answer" "$1" >/dev/null || fail "no answer to $1"
    echo "domain $id has answered: $1"
}

is_writable() {
    /job/xs exists "/local/domain/$(xl domid saved)/data"
}
eventually is_writable
ask "before"
xl save -c saved /run/saved.image || fail "cannot save a checkpoint"
ask "after the checkpoint"
rm /run/saved.image
xl save saved /run/saved.image || fail "cannot save"
eventually is_gone saved
xl restore -e /run/saved.image || fail "cannot restore"
rm /run/saved.image
ask "after the restore"
destroy saved
all_given_back
