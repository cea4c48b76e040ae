/* test_text.c - what is plain text, where it can be cut, and how the rest is shown. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/text.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* As the standard has it, whatever text.c would accept. Returns the length. */
static size_t encode(uint32_t character, char out[5])
{
	size_t n = 0;

	if (character < 0x80) {
		out[n++] = (char)character;
	} else if (character < 0x800) {
		out[n++] = (char)(0xc0 | character >> 6);
	} else if (character < 0x10000) {
		out[n++] = (char)(0xe0 | character >> 12);
		out[n++] = (char)(0x80 | (character >> 6 & 0x3f));
	} else {
		out[n++] = (char)(0xf0 | character >> 18);
		out[n++] = (char)(0x80 | (character >> 12 & 0x3f));
		out[n++] = (char)(0x80 | (character >> 6 & 0x3f));
	}
	if (character >= 0x80)
		out[n++] = (char)(0x80 | (character & 0x3f));
	out[n] = 0;
	return n;
}

static void text_decodes_every_character(void **state)
{
	char bytes[5];
	uint32_t character;

	for (uint32_t c = 1; c <= 0x10ffff; c++) {
		size_t n = encode(c, bytes);

		if (c >= 0xd800 && c <= 0xdfff) {
			assert_int_equal(text_decode(bytes, &character), -1);
			continue;
		}
		if (text_decode(bytes, &character) != (int)n || character != c)
			fail_msg("U+%04X", c);
	}
	assert_int_equal(text_decode("", &character), 0);
}

static const char *const not_utf8[] = {
	"\x80", /* a byte in the middle of nothing */
	"\xbf",
	"\xff",
	"\xfe",
	"\xc0\x80", /* NUL in two bytes */
	"\xc0\xaf",
	"\xc1\xbf", /* overlong */
	"\xe0\x80\xaf",
	"\xe0\x9f\xbf",
	"\xf0\x80\x80\xaf",
	"\xf0\x8f\xbf\xbf",
	"\xed\xa0\x80",
	"\xed\xbf\xbf", /* surrogates */
	"\xf4\x90\x80\x80",
	"\xf5\x80\x80\x80",
	"\xf8\x88\x80\x80\x80", /* past U+10FFFF */
	"\xc3",
	"\xe2\x82",
	"\xf0\x9f\x92", /* cut off */
	"\xc3(",
	"\xe2\x82(",
	"\xf0\x9f\x92(",
	"\xe2(\xa1",
};

static void text_refuses_what_is_not_utf8(void **state)
{
	for (size_t i = 0; i < N(not_utf8); i++) {
		char word[16] = "x";
		uint32_t character;

		assert_int_equal(text_decode(not_utf8[i], &character), -1);
		strcat(word, not_utf8[i]);
		assert_false(text_is_plain(word));
	}
}

static void text_refuses_characters_that_are_not_plain(void **state)
{
	static const uint32_t bad[] = {
		1,      0x07,   0x08,   0x09,    0x0a,    0x0d,    0x1b,   0x1f,   0x7f,   0x80,
		0x85,   0x9b,   0x9f,   0xad,    0x61c,   0x180e,  0x200b, 0x200c, 0x200d, 0x200e,
		0x200f, 0x2028, 0x2029, 0x202a,  0x202b,  0x202c,  0x202d, 0x202e, 0x2060, 0x2061,
		0x2064, 0x2066, 0x2067, 0x2068,  0x2069,  0x206a,  0x206f, 0x3164, 0xfeff, 0xfff9,
		0xfffb, 0xfffe, 0xffff, 0xe0001, 0xe0020, 0xe007f,
	};
	static const uint32_t good[] = {' ',    '~',    '\\',   0xa0,   0xa1,    0xdf,    0x3b1,  0x627,
					0x5d0,  0x2010, 0x2027, 0x202f, 0x205f,  0x20ac,  0x4e2d, 0xd7ff,
					0xe000, 0xfffd, 0x301,  0xfe0f, 0x1f600, 0x10fffd};
	char bytes[5];

	for (size_t i = 0; i < N(bad); i++) {
		encode(bad[i], bytes);
		if (text_is_plain(bytes) || text_is_plain_character(bad[i]))
			fail_msg("U+%04X is plain", bad[i]);
	}
	for (size_t i = 0; i < N(good); i++) {
		encode(good[i], bytes);
		if (!text_is_plain(bytes) || !text_is_plain_character(good[i]))
			fail_msg("U+%04X is not plain", good[i]);
	}
	assert_true(text_is_plain(""));
	assert_false(text_is_plain_character(0x110000));
	assert_false(text_is_plain_character(0xd800));
}

static void text_is_cut_between_characters(void **state)
{
	static const char euros[] = "\xe2\x82\xac\xe2\x82\xac";

	for (size_t max = 0; max <= 6; max++)
		assert_int_equal(text_fit(euros, max), max / 3 * 3);
	assert_int_equal(text_fit("abc", 100), 3);
	assert_int_equal(text_fit("a\xff\xff", 2), 2);
	/* e, and two accents upon it: together or not at all */
	assert_int_equal(text_fit("xe\xcc\x81\xcc\x82y", 6), 6);
	for (size_t max = 1; max < 6; max++)
		assert_int_equal(text_fit("xe\xcc\x81\xcc\x82y", max), 1);
}

static void text_clean_leaves_what_is_plain(void **state)
{
	static const char *const rows[][2] = {
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"x\xff", "x?"},
		{"\x1b[31mred", "?[31mred"},
		{"a\xc2\x9b"
		 "31m",
		 "a?31m"},
		{"a\xe2\x80\xae"
		 "b",
		 "a?b"},
		{"\xe2\x82", "??"},
		{"line\nline", "line?line"},
		{"", ""},
	};

	for (size_t i = 0; i < N(rows); i++) {
		char text[32];

		strcpy(text, rows[i][0]);
		assert_string_equal(text_clean(text), rows[i][1]);
	}
}

static void text_format_never_cuts_a_character(void **state)
{
	static const char grin[] = "\xf0\x9f\x98\x80";
	char buffer[16];

	for (size_t room = 1; room <= 12; room++) {
		memset(buffer, 'Z', sizeof(buffer));
		text_format(buffer, room, "a%s%s", grin, grin);
		assert_true(text_is_plain(buffer));
		assert_int_equal(strlen(buffer), room < 2                     ? 0
						 : 1 + (room - 2) / 4 * 4 > 9 ? 9
									      : 1 + (room - 2) / 4 * 4);
		assert_int_equal(buffer[room], 'Z');
	}
	assert_string_equal(text_format(buffer, sizeof(buffer), "%s|%.2s", "\xff", "\xe2\x82\xac"), "?|??");
}

static void text_show_says_that_it_was_cut(void **state)
{
	char shown[TEXT_SHOWN_MAX], name[256];

	for (size_t first = 0; first < 4; first++) {
		size_t n = first;

		memset(name, 'x', first);
		while (n + 4 < sizeof(name))
			n += encode(0x1f600, name + n);
		text_show(name, shown);
		assert_true(text_is_plain(shown));
		assert_in_range(strlen(shown), TEXT_SHOWN_MAX - 8, TEXT_SHOWN_MAX - 1);
		assert_string_equal(shown + strlen(shown) - 3, "...");
		assert_null(strchr(shown, '?'));
	}
	memset(name, 'x', TEXT_SHOWN_MAX - 1);
	name[TEXT_SHOWN_MAX - 1] = 0;
	assert_string_equal(text_show(name, shown), name);
}

static void text_escape_loses_nothing(void **state)
{
	char out[64];

	assert_int_equal(text_escape("a\x1b\xff\xe2\x80\xaez\xc3\xbc", out, sizeof(out)),
			 1 + 6 + 4 + 8 + 1 + 2);
	assert_string_equal(out, "a\\u{1b}\\xff\\u{202e}z\xc3\xbc");
	assert_int_equal(text_escape("a\x1b\xff", NULL, 0), 11);
	for (size_t room = 1; room < 12; room++) {
		memset(out, 'Z', sizeof(out));
		assert_int_equal(text_escape("a\x1b\xff", out, room), 11);
		assert_in_range(strlen(out), 0, room - 1);
		assert_true(strcmp(out, "") == 0 || strcmp(out, "a") == 0 || strcmp(out, "a\\u{1b}") == 0);
		assert_int_equal(out[room], 'Z');
	}
}

/* Any bytes: what comes out is plain, and what was plain is untouched. */
static void text_functions_hold_for_random_bytes(void **state)
{
	unsigned seed = 1;

	for (unsigned round = 0; round < 20000; round++) {
		char text[41], copy[41], shown[TEXT_SHOWN_MAX];
		char escaped[40 * TEXT_ESCAPE_MAX + 1];
		size_t n = (size_t)rand_r(&seed) % 40;

		for (size_t i = 0; i < n; i++)
			text[i] = (char)(rand_r(&seed) % 255 + 1);
		text[n] = 0;
		strcpy(copy, text);
		assert_true(text_fit(text, 7) <= 7);
		text_escape(text, escaped, sizeof(escaped));
		assert_true(text_is_plain(escaped));
		text_show(text, shown);
		assert_true(text_is_plain(shown));
		text_clean(copy);
		assert_true(text_is_plain(copy));
		assert_true(!text_is_plain(text) || strcmp(text, copy) == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_decodes_every_character),
		cmocka_unit_test(text_refuses_what_is_not_utf8),
		cmocka_unit_test(text_refuses_characters_that_are_not_plain),
		cmocka_unit_test(text_is_cut_between_characters),
		cmocka_unit_test(text_clean_leaves_what_is_plain),
		cmocka_unit_test(text_format_never_cuts_a_character),
		cmocka_unit_test(text_show_says_that_it_was_cut),
		cmocka_unit_test(text_escape_loses_nothing),
		cmocka_unit_test(text_functions_hold_for_random_bytes),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
