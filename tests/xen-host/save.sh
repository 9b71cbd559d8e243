# Saves a PV guest whose client holds watches, and restores it: on the same host it is another domain
# then. A checkpoint lets it go on in place.
#
# shellcheck shell=dash
left >/run/before
# Where libxl looks for its helper.
version=$(cat /sys/hypervisor/version/major /sys/hypervisor/version/minor | paste -sd. -)
mkdir -p "/usr/lib/xen-$version/bin"
ln -s /usr/lib/xen/bin/libxl-save-helper "/usr/lib/xen-$version/bin/"
# The root file system may take up half of the memory only.
mkdir /run/images
mount -t tmpfs -o size=200m images /run/images
printf '%s\n' 'name="saved"' 'type="pv"' 'kernel="/guest/vmlinux"' 'ramdisk="/guest/initrd"' memory=160 vcpus=1 \
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
xl save -c saved /run/images/saved || fail "cannot save a checkpoint"
ask "after the checkpoint"
rm /run/images/saved
xl save saved /run/images/saved || fail "cannot save"
eventually is_gone saved
xl restore -e /run/images/saved || fail "cannot restore"
rm /run/images/saved
ask "after the restore"
destroy saved
all_given_back
