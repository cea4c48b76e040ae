/* clear.c - see clear.h. The compiler dispatches nothing here: we ask the CPU, once. */
#include <config.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "daemon/backing/clear.h"
#include "daemon/base/assert.h"

#define CLEAR_ALIGN 4096

static clear_way *ways[4];

static void clear_plain(void *memory, size_t bytes)
{
	memset(memory, 0, bytes);
}

#ifdef __x86_64__

__attribute__((target("avx512f"))) static void clear_avx512(void *memory, size_t bytes)
{
	const __m512i zero = _mm512_setzero_si512();
	char *to = memory, *end = to + bytes;

	for (; to < end; to += 256) {
		_mm512_stream_si512((__m512i *)to, zero);
		_mm512_stream_si512((__m512i *)(to + 64), zero);
		_mm512_stream_si512((__m512i *)(to + 128), zero);
		_mm512_stream_si512((__m512i *)(to + 192), zero);
	}
	_mm_sfence();
}

__attribute__((target("avx2"))) static void clear_avx2(void *memory, size_t bytes)
{
	const __m256i zero = _mm256_setzero_si256();
	char *to = memory, *end = to + bytes;

	for (; to < end; to += 128) {
		_mm256_stream_si256((__m256i *)to, zero);
		_mm256_stream_si256((__m256i *)(to + 32), zero);
		_mm256_stream_si256((__m256i *)(to + 64), zero);
		_mm256_stream_si256((__m256i *)(to + 96), zero);
	}
	_mm_sfence();
}

static void find_ways(void)
{
	clear_way **way = ways;

	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f"))
		*way++ = clear_avx512;
	if (__builtin_cpu_supports("avx2"))
		*way++ = clear_avx2;
	*way = clear_plain;
}
#else
static void find_ways(void)
{
	ways[0] = clear_plain;
}
#endif

clear_way *const *clear_ways(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_ways);
	return ways;
}

void clear_pages(void *memory, size_t bytes)
{
	hp_assert((uintptr_t)memory % CLEAR_ALIGN == 0 && bytes % CLEAR_ALIGN == 0);
	clear_ways()[0](memory, bytes);
}
