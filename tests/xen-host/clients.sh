# Clients of the daemon, in dom0 and in a guest: xs, and if they are there, Xen's test-xenstore and the
# suite of the client library.
#
# shellcheck shell=dash
sh /job/xs-on-xen.sh
if [ "$XEN_VM" = dom0 ]; then
    /job/xs info | grep '^Daemon: *xs serve' || fail "xs info does not name the daemon"
    if [ -e /job/test-xenstore ]; then
        # It prints the time of each of its tests.
        for path in /run/xenstored/socket /dev/xen/xenbus; do
            XENSTORED_PATH=$path /job/test-xenstore >/run/test-xenstore || fail "test-xenstore: $(cat /run/test-xenstore)"
            [ "$(grep -c . /run/test-xenstore)" = 12 ] || fail "test-xenstore: $(cat /run/test-xenstore)"
            echo "test-xenstore has passed on $path"
        done
    fi
fi
if [ -e /job/suite ]; then
    case $XEN_VM in
        dom0) set -- ::device ::c_dom0 ;;
        *) set -- ::device ;;
    esac
    export XS_TEST_DEVICE=/dev/xen/xenbus XS_TEST_C_SOCKET=/run/xenstored/socket XS_TEST_REQUESTS=200
    /job/suite --test-threads=4 "$@"
fi
