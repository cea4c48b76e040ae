# packages.sh - the Debian 12 packages that hugepool needs, and how they get there. Sourced by ./check and ./demo.
# shellcheck shell=bash

# To build the daemon, the library and the tests.
# shellcheck disable=SC2034  # used by those who source this
build_packages=(
	autoconf automake gcc libc6-dev libtool m4 make pkgconf
	libevent-dev libjansson-dev libprotobuf-c-dev libsystemd-dev protobuf-c-compiler
)
# To run them: ./check adds these.
# shellcheck disable=SC2034
check_packages=(
	libcmocka-dev
	redis-tools libjemalloc2 libmimalloc2.0
	clang clang-tidy cppcheck mandoc shellcheck
	xz-utils
	busybox-static cpio qemu-system-x86
)

# packages_require LOG PACKAGE... - install what is missing, if we are root. Else say what is missing and fail.
packages_require()
{
	local log=$1 package status missing=()
	shift

	if ! command -v dpkg-query >/dev/null; then
		echo "not a Debian: hoping that these are there: $*"
		return 0
	fi
	for package; do
		# One that dpkg has never heard of is missing too.
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=unknown
		[ "$status" = installed ] || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" != 0 ]; then
		echo "packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
		return 1
	fi
	echo "installing ${missing[*]} (log: $log)"
	# Somebody else may be installing: wait for the lock.
	if ! { apt-get -q update &&
		DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
			install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
		tail -n 20 "$log" >&2
		echo "could not install: ${missing[*]}" >&2
		return 1
	fi
}

# The package itself, or the one that it stands for.
packages_download()
{
	local real

	real=$(apt-cache depends "$1" | sed -n 's/^ *Depends: \([^<]*\)$/\1/p' | head -n 1)
	apt-get -q download "${real:-$1}"
}

# packages_unpack DIRECTORY PACKAGE - what is in a package, without installing it. All or nothing.
packages_unpack()
{
	local new=$1.new

	rm -rf "$new" && mkdir -p "$new" || return 1
	# What apt knows may be out of date.
	(cd "$new" && { packages_download "$2" || { apt-get -q update && packages_download "$2"; }; }) &&
		dpkg -x "$new"/*.deb "$new" && rm "$new"/*.deb && mv "$new" "$1"
}
