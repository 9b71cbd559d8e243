# Functions for packages of a given Debian release, which the harnesses unpack but do not install.
# Sourced by daemons/run and xen-vm/images.
# shellcheck shell=bash

# debian_apt RELEASE DIR: prepares package lists of Debian 12 or 13 in the directory. They are
# independent of the machine's own lists, of which only the address of the mirror is taken. Sets the
# array `apt` to the options with which apt-get and apt-cache use these lists.
debian_apt() {
    local dir=$2 suite mirror security keys=/usr/share/keyrings/debian-archive-keyring.gpg
    case $1 in
        12) suite=bookworm ;;
        13) suite=trixie ;;
        *) echo "no Debian release is called $1" >&2; return 1 ;;
    esac
    mirror=$(machine_mirror debian)
    security=$(machine_mirror debian-security)
    mkdir -p "$dir"/{lists,cache/archives}/partial || return
    {
        echo "deb [signed-by=$keys] ${mirror:-http://deb.debian.org/debian} $suite main"
        echo "deb [signed-by=$keys] ${security:-http://deb.debian.org/debian-security} $suite-security main"
    } >"$dir/sources.list"
    apt=(
        -qq -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=root
    )
    apt-get "${apt[@]}" update >&2
}

# machine_mirror NAME: prints the first address in the machine's package sources that ends in NAME.
machine_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null \
        | sed -nE "s,^(URIs:|deb( \[[^]]*\])?) +([^ ]*/$1)/?( .*)?\$,\3,p" | head -n 1
}

# debian_unpack DIR PACKAGE...: downloads packages with the lists of `apt`, and unpacks them into the
# directory. The file `packages` in it names them with their versions.
debian_unpack() {
    local dir=$1 deb debs
    shift
    debs=$(mktemp -d) && mkdir -p "$dir" || return
    (cd "$debs" && apt-get "${apt[@]}" download "$@" >&2) || { rm -rf "$debs"; return 1; }
    for deb in "$debs"/*.deb; do
        dpkg-deb -x "$deb" "$dir" || return
    done
    ls "$debs" >"$dir/packages"
    rm -rf "$debs"
}
