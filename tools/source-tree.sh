# source-tree.sh - a snapshot of the sources to build from. Sourced by ./check and ./demo.
# shellcheck shell=bash

# What git knows or would add, in its working tree, as a tar archive.
source_tree_pack_git()
{
	local list status=1

	list=$(mktemp) || return
	if git ls-files -z --cached --others --exclude-standard >"$list" 2>/dev/null; then
		tar -c --ignore-failed-read --null --verbatim-files-from --files-from "$list"
		status=$?
	fi
	rm -f "$list"
	return $status
}

# The same without git: tar understands most patterns of .gitignore, but not which results of a build they mean.
source_tree_pack()
{
	if [ -e config.status ]; then
		echo "this tree has been built in, and git is not there to tell what is not a source: make distclean" >&2
		return 1
	fi
	tar -c --exclude=./build --exclude=./build-\* --exclude=./autom4te.cache --exclude-vcs --exclude-vcs-ignores .
}

# source_tree_copy DIRECTORY - what is in the tree but not ignored by git, and ./configure made there, so that the
# tree itself stays clean, and builds under way do not mind edits.
source_tree_copy()
{
	local pack=source_tree_pack

	[ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$(pwd -P)" ] || pack=source_tree_pack_git
	rm -rf "$1" && mkdir -p "$1" &&
		$pack | tar -x -C "$1" &&
		(cd "$1" && autoreconf -fi)
}
