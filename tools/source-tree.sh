# source-tree.sh - a snapshot of the sources to build from. Sourced by ./check and ./demo.
# shellcheck shell=bash

# source_tree_copy DIRECTORY - what is in the tree but not ignored by git, and ./configure made there, so that the
# tree itself stays clean, and builds under way do not mind edits. Needs no git.
source_tree_copy()
{
	rm -rf "$1" && mkdir -p "$1" &&
		tar -c --exclude=./build --exclude=./build-\* --exclude=./autom4te.cache --exclude-vcs --exclude-vcs-ignores . | tar -x -C "$1" &&
		(cd "$1" && autoreconf -fi)
}
