# hugepages.sh - borrow hugepages from the kernel and give them back. Sourced by ./check and ./demo.
# shellcheck shell=bash
#
# Several of us may run on one host, and the tests raise nr_hugepages too: everything is relative to what is there
# now, and done under the lock that the tests take (tests/support/hugetlb.h).

hugepages_lock_path=/tmp/hugepool-tests.lock
declare -A hugepages_borrowed=() # by page size in KiB

# hugepages_lock [SECONDS] - wait for our turn; descriptor 9 is the lock. Children must not inherit it: 9>&-
hugepages_lock()
{
	# Without O_CREAT if it is there: in a sticky directory the kernel may refuse it for somebody else's file. Noclobber is
	# O_EXCL: a symlink that somebody has put there is not followed.
	[ -e $hugepages_lock_path ] || (umask 022 && set -o noclobber && : >$hugepages_lock_path) 2>/dev/null || :
	[ -f $hugepages_lock_path ] && [ ! -L $hugepages_lock_path ] || return 1
	exec 9<$hugepages_lock_path
	flock -w "${1:-120}" 9
}

hugepages_unlock()
{
	exec 9<&-
}

# hugepages_count KIB COUNTER - such as: hugepages_count 2048 free
hugepages_count()
{
	local file=/sys/kernel/mm/hugepages/hugepages-${1}kB/${2}_hugepages

	if [ -r "$file" ]; then cat "$file"; else echo 0; fi
}

# What was set; the total as it is read has the surplus in it.
hugepages_persistent()
{
	echo $(($(hugepages_count "$1" nr) - $(hugepages_count "$1" surplus)))
}

# hugepages_borrow KIB N - with the lock held. All or nothing; fails if the kernel has not that many.
hugepages_borrow()
{
	local size=$1 n=$2 total before added
	local file=/sys/kernel/mm/hugepages/hugepages-${size}kB/nr_hugepages

	[ -w "$file" ] || return 1
	total=$(hugepages_count "$size" nr)
	before=$(hugepages_persistent "$size")
	echo $((total + n)) 2>/dev/null >"$file" || return 1
	# The kernel adopts surplus pages first, so that more may have been added than n.
	added=$(($(hugepages_persistent "$size") - before))
	hugepages_borrowed[$size]=$((${hugepages_borrowed[$size]:-0} + added))
	[ "$(hugepages_count "$size" nr)" -ge $((total + n)) ] && return 0
	hugepages_give_back "$size"
	return 1
}

# hugepages_give_back KIB - all that was borrowed. With the lock held if it can be had.
hugepages_give_back()
{
	local size=$1 now
	local n=${hugepages_borrowed[$size]:-0}

	[ "$n" -gt 0 ] || return 0
	now=$(hugepages_persistent "$size")
	echo $((now > n ? now - n : 0)) >"/sys/kernel/mm/hugepages/hugepages-${size}kB/nr_hugepages"
	hugepages_borrowed[$size]=0
}
