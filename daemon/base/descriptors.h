/* descriptors.h - how many descriptors can still be opened: for those who call what cannot cope without.
 */
#pragma once

/* Opens and closes that many at most. Returns how many there were. Others may take them at any time. */
unsigned descriptors_count_free(unsigned most);
