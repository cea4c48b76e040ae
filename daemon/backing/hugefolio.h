/* hugefolio.h - whether the kernel would put a plain memfd's pages into larger folios.
 *
 * A file of 4 KiB can then take 2 MiB, which nobody is charged for, and its count of blocks changes when the
 * kernel splits the folio. fallocate() cannot be told otherwise; a fault of a mapping with MADV_NOHUGEPAGE
 * can.
 */
#pragma once

#include <stdbool.h>

/* Asks /sys/kernel/mm/transparent_hugepage: an operator may change it at any time. `root` stands before that
 * path: "" but in tests. */
bool hugefolio_possible(const char *root);
